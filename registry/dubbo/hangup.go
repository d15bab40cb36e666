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
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	dubboresult "dubbo.apache.org/dubbo-go/v3/protocol/result"

	gxset "github.com/dubbogo/gost/container/set"
)

// dubbo-go (v3.3.2) makes an HTTP client for each invoker of Triple, and lets go of
// it without a word: its connections stay open until the other side ends. A lane
// that gives way, an instance that starts anew and a reference that is destroyed
// would each leave one. hangUp has them closed, for all of Triple in this process:
// whose invoker it was makes no difference to who has to pay for its socket.
//
// It also makes an invoker anew where a word of its URL changes, such as a weight that
// only balancers read. Those that differ in such words share one, see line.
//
// The protocol may be replaced only as a whole, and before anything is referred.
func hangUp() {
	hangUpOnce.Do(func() {
		if !slices.Contains(extension.GetAllProtocolNames(), constant.TriProtocol) {
			return // not linked in
		}
		inner := extension.GetProtocol(constant.TriProtocol)
		if host, ok := inner.(base.HTTPHandlerHost); ok {
			outer := &tripleProtocol{Protocol: inner, HTTPHandlerHost: host, lines: map[lineKey]*line{}}
			extension.SetProtocol(constant.TriProtocol, func() base.Protocol { return outer })
		}
	})
}

var hangUpOnce sync.Once

// tripleProtocol is dubbo-go's, all that it can do, with invokers that share their
// connections and hang up.
type tripleProtocol struct {
	base.Protocol
	base.HTTPHandlerHost

	mu    sync.Mutex
	lines map[lineKey]*line
}

// line is an invoker of dubbo-go's with its connections, and all that differ from it
// in nothing that it reads.
type line struct {
	base.Invoker
	key      lineKey
	refs     int // guarded by the protocol's mu
	client   *http.Client
	dual     *dual // nil where HTTP/2 is all it speaks
	streamed atomic.Bool
}

// lineKey is what an invoker reads. Another start of an instance is another process,
// with connections of its own.
type lineKey struct {
	url    string
	tls    *global.TLSConfig
	triple *global.TripleConfig
	stubs  bool
}

// unread are the parameters that balancers and routers read, and nobody else.
var unread = gxset.NewSet(paramWeight, paramTag, paramZone, paramCluster, paramEnvironment)

func keyOf(u *common.URL) (k lineKey) {
	k.url = u.CloneExceptParams(unread).String()
	attribute, _ := u.GetAttribute(constant.TLSConfigKey)
	k.tls, _ = attribute.(*global.TLSConfig)
	attribute, _ = u.GetAttribute(constant.TripleConfigKey)
	k.triple, _ = attribute.(*global.TripleConfig)
	_, k.stubs = u.GetAttribute(constant.ClientInfoKey)
	return k
}

// Refer returns an invoker that calls by dubbo-go's. The last one of those that share
// it closes its connections at its end.
func (p *tripleProtocol) Refer(u *common.URL) base.Invoker {
	k := keyOf(u)
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[k]
	if l == nil {
		invoker := p.Protocol.Refer(u.Clone()) // which it takes apart at its end
		client := clientOf(invoker)
		if client == nil {
			return invoker
		}
		l = &line{Invoker: invoker, key: k, client: client, dual: dualOf(client)}
		p.lines[k] = l
	}
	l.refs++
	return &tripleInvoker{BaseInvoker: base.NewBaseInvoker(u), line: l, leave: p.leave}
}

// leave gives back what Refer took.
func (p *tripleProtocol) leave(l *line) {
	p.mu.Lock()
	l.refs--
	last := l.refs == 0
	if last {
		delete(p.lines, l.key)
	}
	p.mu.Unlock()
	if last {
		l.Destroy() // waits for calls that run
		closeIdle(l, l.pauses())
	}
}

// tripleInvoker has a URL and an availability of its own.
type tripleInvoker struct {
	*base.BaseInvoker
	line  *line
	leave func(*line)
	once  sync.Once
}

// Invoke is dubbo-go's.
func (i *tripleInvoker) Invoke(ctx context.Context, invocation base.Invocation) dubboresult.Result {
	if !i.BaseInvoker.IsAvailable() {
		return &dubboresult.RPCResult{Err: base.ErrDestroyedInvoker}
	}
	return i.line.Invoke(ctx, invocation)
}

// IsAvailable reports whether it may be called.
func (i *tripleInvoker) IsAvailable() bool {
	return i.BaseInvoker.IsAvailable() && i.line.IsAvailable()
}

// Destroy ends it. The last that calls so waits for calls that run, and hangs up.
func (i *tripleInvoker) Destroy() {
	i.once.Do(func() {
		i.BaseInvoker.Destroy()
		i.leave(i.line)
	})
}

// Invoke is dubbo-go's.
func (l *line) Invoke(ctx context.Context, invocation base.Invocation) dubboresult.Result {
	if kind, _ := invocation.GetAttribute(constant.CallTypeKey); kind != constant.CallUnary && !l.streamed.Load() {
		l.streamed.Store(true)
	}
	return l.Invoker.Invoke(ctx, invocation)
}

// CloseIdleConnections closes what carries no call, once nobody calls any more.
func (l *line) CloseIdleConnections() {
	l.client.CloseIdleConnections()
	if l.dual != nil {
		l.dual.hangUp(l.streamed.Load())
	}
}

// pauses are those after which something may still be open.
func (l *line) pauses() []time.Duration {
	if l.streamed.Load() {
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
