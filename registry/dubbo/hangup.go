package dubbo

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	dubboresult "dubbo.apache.org/dubbo-go/v3/protocol/result"
)

// dubbo-go (v3.3.2) makes an HTTP client for each invoker of Triple, and lets go of
// it without a word: its connections stay open until the other side ends. A lane
// that gives way, an instance whose weight changes and a reference that is destroyed
// would each leave one. hangUp has them closed, for all of Triple in this process:
// whose invoker it was makes no difference to who has to pay for its socket.
//
// The protocol may be replaced only as a whole, and before anything is referred.
func hangUp() {
	hangUpOnce.Do(func() {
		if !slices.Contains(extension.GetAllProtocolNames(), constant.TriProtocol) {
			return // not linked in
		}
		inner := extension.GetProtocol(constant.TriProtocol)
		if host, ok := inner.(base.HTTPHandlerHost); ok {
			outer := &tripleProtocol{Protocol: inner, HTTPHandlerHost: host}
			extension.SetProtocol(constant.TriProtocol, func() base.Protocol { return outer })
		}
	})
}

var hangUpOnce sync.Once

// tripleProtocol is dubbo-go's, all that it can do, with invokers that hang up.
type tripleProtocol struct {
	base.Protocol
	base.HTTPHandlerHost
}

// Refer returns an invoker of dubbo-go's that closes its connections at its end.
func (p *tripleProtocol) Refer(u *common.URL) base.Invoker {
	invoker := p.Protocol.Refer(u)
	setter, ok := invoker.(base.AvailabilitySetter)
	if !ok {
		return invoker
	}
	client := clientOf(invoker)
	if client == nil {
		return invoker
	}
	return &tripleInvoker{Invoker: invoker, AvailabilitySetter: setter, client: client, dual: dualOf(client)}
}

type tripleInvoker struct {
	base.Invoker
	base.AvailabilitySetter
	client   *http.Client
	dual     *dual // nil where HTTP/2 is all it speaks
	streamed atomic.Bool
	once     sync.Once
}

// Invoke is dubbo-go's.
func (i *tripleInvoker) Invoke(ctx context.Context, invocation base.Invocation) dubboresult.Result {
	if kind, _ := invocation.GetAttribute(constant.CallTypeKey); kind != constant.CallUnary && !i.streamed.Load() {
		i.streamed.Store(true)
	}
	return i.Invoker.Invoke(ctx, invocation)
}

// Destroy is dubbo-go's, which waits for calls that run, and then hangs up.
func (i *tripleInvoker) Destroy() {
	i.Invoker.Destroy()
	i.once.Do(func() { closeIdle(i, i.pauses()) })
}

// CloseIdleConnections closes what carries no call, once nobody calls any more.
func (i *tripleInvoker) CloseIdleConnections() {
	i.client.CloseIdleConnections()
	if i.dual != nil {
		i.dual.hangUp(i.streamed.Load())
	}
}

// pauses are those after which something may still be open.
func (i *tripleInvoker) pauses() []time.Duration {
	if i.streamed.Load() {
		return slices.Concat(hangUpPauses, streamPauses)
	}
	return hangUpPauses
}

var (
	// hangUpPauses are for the stream by which dubbo-go hears of an instance's end:
	// that is over a moment after its invoker is.
	hangUpPauses = []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}
	// streamPauses are for streams of the application's own, which outlive their
	// invoker, and whose end nobody tells.
	streamPauses = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
)

// closeIdle closes the connections over which nothing runs, now and after each of
// the pauses.
func closeIdle(client interface{ CloseIdleConnections() }, pauses []time.Duration) {
	client.CloseIdleConnections()
	if len(pauses) > 0 {
		time.AfterFunc(pauses[0], func() { closeIdle(client, pauses[1:]) })
	}
}

// clientOf returns the HTTP client of an invoker of Triple, which dubbo-go keeps to
// itself; nil where this version of it keeps none, or elsewhere. The invoker must be
// new, since nothing guards what is read.
func clientOf(invoker base.Invoker) *http.Client {
	v := reflect.ValueOf(invoker)
	for _, name := range []string{"clientManager", "triClient", "protocolClient", "HTTPClient"} {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil
		}
		v = v.FieldByName(name)
	}
	client, _ := behind(v).(*http.Client)
	return client
}
