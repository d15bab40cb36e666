package hystrix

import (
	"context"
	"strings"
	"time"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/sdk/trace"
)

// trace begins the span of a call, as a part of the one in ctx; without one, or
// before Adopt, it returns nil and ctx.
func (c *command) trace(ctx context.Context) (zipkin.Span, context.Context) {
	if c.tracer == nil {
		return nil, ctx
	}
	span, ctx := c.tracer.StartWithin(ctx, c.name)
	trace.Governed(span, c.circuit.Series())
	return span, ctx
}

func (u under) tellRefusal() {
	if u.span != nil {
		u.span.Annotate(time.Now(), "refused: "+strings.TrimPrefix(u.refused.Error(), "breaker: "))
		trace.Refused(u.span, u.refused)
	}
}

func (u under) tellError(err error) {
	if u.span != nil {
		zipkin.TagError.Set(u.span, err.Error())
	}
}
