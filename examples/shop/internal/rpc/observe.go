package rpc

import (
	"context"
	"math"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/cluster/router"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/filter"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"

	"shop.example/internal/fault"
	"shop.example/internal/tally"
)

// Names under which dubbo-go finds the parts below.
const (
	servedFilter  = "shop-served"
	attemptFilter = "shop-attempt"
	listRouter    = "shop-list"
)

// shopInterfaces begin the names of the shop's own interfaces.
const shopInterfaces = "org.example.shop."

// Observer counts what passes through dubbo-go. Its parts are for one process:
// dubbo-go keeps extensions in package variables.
type Observer struct {
	Served    *tally.Calls     // calls this process answered
	Attempts  *tally.Calls     // each attempt of a call that this process made
	Providers *tally.Providers // whom it would call
	Metrics   *tally.Metrics
}

// install makes the observer known to dubbo-go. It must run before an instance
// is made.
func (o *Observer) install() {
	extension.SetFilter(servedFilter, func() filter.Filter {
		return counter{calls: o.Served}
	})
	extension.SetFilter(attemptFilter, func() filter.Filter {
		return counter{calls: o.Attempts, outgoing: true}
	})
	extension.SetRouterFactory(listRouter, func() router.PriorityRouterFactory { return listFactory{o} })
}

// counter is a filter that counts what it lets through.
type counter struct {
	calls    *tally.Calls
	outgoing bool
}

func (c counter) Invoke(ctx context.Context, invoker base.Invoker, inv base.Invocation) result.Result {
	if !strings.HasPrefix(invoker.GetURL().GetParam(constant.InterfaceKey, ""), shopInterfaces) {
		return invoker.Invoke(ctx, inv) // dubbo-go's own: health, reflection, metadata
	}
	if c.outgoing {
		tally.Note(ctx, invoker.GetURL().Location)
	}
	done := c.calls.Begin()
	res := invoker.Invoke(ctx, inv)
	class := fault.Answered
	if c.outgoing {
		class = fault.Of
	}
	o := tally.Outcome{Method: inv.ActualMethodName(), Class: string(class(res.Error()))}
	if err := res.Error(); err != nil {
		o.Error = err.Error()
	}
	if c.outgoing {
		o.Address = invoker.GetURL().Location
		if a, ok := inv.Reply().(interface{ GetServedBy() string }); ok && res.Error() == nil {
			o.Instance = a.GetServedBy()
		}
	}
	done(o)
	return res
}

func (counter) OnResponse(_ context.Context, res result.Result, _ base.Invoker, _ base.Invocation) result.Result {
	return res
}

// listFactory makes routers that route nothing: dubbo-go tells every router the
// list of instances whenever it changes, and that is what they are for.
type listFactory struct{ observer *Observer }

func (f listFactory) NewPriorityRouter(url *common.URL) (router.PriorityRouter, error) {
	consumer := url
	if url.SubURL != nil { // under a registry, url is the registry's
		consumer = url.SubURL
	}
	return &list{observer: f.observer, url: url, iface: consumer.GetParam(constant.InterfaceKey, consumer.Service())}, nil
}

type list struct {
	observer *Observer
	url      *common.URL
	iface    string
}

func (l *list) Route(invokers []base.Invoker, _ *common.URL, _ base.Invocation) []base.Invoker {
	return invokers
}

func (l *list) URL() *common.URL { return l.url }

// Priority puts the router last.
func (l *list) Priority() int64 { return math.MaxInt64 }

func (l *list) Notify(invokers []base.Invoker) {
	addresses := make([]string, 0, len(invokers))
	for _, i := range invokers {
		addresses = append(addresses, i.GetURL().Location)
	}
	l.observer.Providers.Set(l.iface, addresses)
	l.observer.Metrics.Providers(l.iface, len(addresses))
}

// refuse answers calls that come after the process has stopped taking them.
// dubbo-go's own handler answers with nothing at all, which callers read as a
// success with an empty result.
type refuse struct{}

func (refuse) RejectedExecution(*common.URL, base.Invocation) result.Result {
	return &result.RPCResult{Err: fault.ErrRefused}
}
