package dubbo

import (
	"context"
	"strings"
	"sync"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/cluster/cluster"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/filter"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/protocolwrapper"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// Kit is what this package needs of an *sdk.Kit.
type Kit interface {
	App() governance.App
	Breakers() *breaker.Set
	Tracer() *trace.Tracer
	Calls(app governance.App)
}

// Option changes what WithGovernance does.
type Option func(*governed)

// WithClassify says what an error means, on both sides; it is asked about errors
// that are answers of methods or of dubbo-go, before Classify, and not about
// refusals. Classify is what holds without.
func WithClassify(classify func(error) breaker.Outcome) Option {
	return func(g *governed) {
		g.classify = func(err error) breaker.Outcome {
			if _, refused := Refused(err); refused {
				return Classify(err)
			}
			return classify(err)
		}
	}
}

// WithPeer names the application that provides an interface, for references with
// direct URLs.
func WithPeer(iface string, app governance.App) Option {
	return func(g *governed) { g.named[iface] = app }
}

// Names of the filters, as dubbo-go knows them. WithGovernance puts them where
// they belong; a program that gives a reference with a direct URL a list of filters
// of its own adds CallerFilter to it.
const (
	ProviderFilter = "weir-provider"
	CallerFilter   = "weir-caller"
)

// WithGovernance governs and traces every call that the instance's servers serve
// and its clients make. dubbo-go keeps extensions in package variables: a process
// with several instances gives each a kit of its own, told apart by the name of
// the application, which dubbo.WithName and the kit have to agree on.
func WithGovernance(kit Kit, opts ...Option) dubbogo.InstanceOption {
	g := &governed{
		kit: kit, classify: Classify, named: make(map[string]governance.App),
		learned: make(map[string]governance.App),
	}
	for _, o := range opts {
		o(g)
	}
	install.Do(extend)
	processes.add(g)
	return func(o *dubbogo.InstanceOptions) {
		if o.Consumer == nil {
			o.Consumer = global.DefaultConsumerConfig()
		}
		o.Consumer.Filter = withFilter(o.Consumer.Filter, CallerFilter)
		for _, app := range g.named {
			kit.Calls(app)
		}
	}
}

var install sync.Once

// extend makes the parts known to dubbo-go.
func extend() {
	extension.SetFilter(ProviderFilter, func() filter.Filter { return provider{} })
	extension.SetFilter(CallerFilter, func() filter.Filter { return attempt{} })
	cluster.SetClusterInterceptor(CallerFilter, func() cluster.Interceptor { return caller{} })
	extension.SetProtocol(protocolwrapper.FILTER, func() base.Protocol {
		return &filters{Protocol: protocolwrapper.GetProtocol()}
	})
}

// filters adds this package's filters to every service that is exported and every
// provider that is referred to. Options cannot: a server takes a list of filters
// in place of dubbo-go's own, and NewServer knows no list of the instance.
type filters struct{ base.Protocol }

// Export implements base.Protocol.
func (f *filters) Export(invoker base.Invoker) base.Exporter {
	if url := invoker.GetURL(); !own(url.Interface()) && processes.of(url) != nil {
		url.SetParam(constant.ServiceFilterKey, withFilter(url.GetParam(constant.ServiceFilterKey, ""), ProviderFilter))
	}
	return f.Protocol.Export(invoker)
}

// Refer implements base.Protocol.
func (f *filters) Refer(url *common.URL) base.Invoker {
	invoker := f.Protocol.Refer(url)
	g := processes.of(url)
	if g == nil || own(url.Interface()) {
		return invoker
	}
	g.learn(url)
	if list := url.GetParam(constant.ReferenceFilterKey, ""); invoker != nil && list != withFilter(list, CallerFilter) {
		// Not by the list in the URL: that is compared with later URLs of the same
		// provider, which would be referred to again.
		return attempted{invoker}
	}
	return invoker
}

// attempted is an invoker with the filter of attempts before it.
type attempted struct{ base.Invoker }

// Invoke implements base.Invoker.
func (a attempted) Invoke(ctx context.Context, inv base.Invocation) result.Result {
	return attempt{}.Invoke(ctx, a.Invoker, inv)
}

// withFilter appends a name to a list that lacks it.
func withFilter(list, name string) string {
	for n := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(n) == name {
			return list
		}
	}
	return strings.TrimPrefix(list+","+name, ",")
}

// own reports whether an interface is dubbo-go's own: health, reflection, metadata.
func own(iface string) bool {
	return strings.HasPrefix(iface, "org.apache.dubbo.") || strings.HasPrefix(iface, "grpc.")
}

// governed is one instance of dubbo-go and its kit.
type governed struct {
	kit      Kit
	classify func(error) breaker.Outcome
	named    map[string]governance.App // by interface

	mu      sync.RWMutex
	learned map[string]governance.App // by interface, group and version
}

// circuit returns that of one method on one side.
func (g *governed) circuit(at governance.At, iface, method string, peer governance.App) *breaker.Circuit {
	opts := []breaker.CircuitOption{breaker.WithClassify(g.classify)}
	if at == governance.Provider {
		opts = append(opts, breaker.CountOnly())
	}
	return g.kit.Breakers().Circuit(governance.Series{Command: command(iface, method), At: at, Peer: peer}, opts...)
}

// command is the name of a method for breakers and spans.
func command(iface, method string) string { return governance.ShortCommand(iface + "." + method) }

// learn remembers who provides an interface by the URL of a provider.
func (g *governed) learn(url *common.URL) {
	app := g.provider(url)
	if app == (governance.App{}) {
		return
	}
	key := url.ServiceKey()
	g.mu.RLock()
	known := g.learned[key]
	g.mu.RUnlock()
	if known == app {
		return
	}
	g.mu.Lock()
	g.learned[key] = app
	g.mu.Unlock()
	g.kit.Calls(app)
}

// provider returns the application that a provider's URL names; the zero App for
// none. Parameters of a provider win over those of the reference when dubbo-go
// merges them, so that a foreign name can only be the provider's.
func (g *governed) provider(url *common.URL) governance.App {
	if app, ok := g.named[url.Interface()]; ok {
		return app
	}
	app := governance.App{Namespace: g.kit.App().Namespace, Name: url.GetParam(constant.ApplicationKey, "")}
	if app.Name == consumer(url) {
		app.Name = ""
	}
	if ns, name, ok := strings.Cut(app.Name, "/"); ok {
		app = governance.App{Namespace: ns, Name: name}
	}
	// A provider says its name; its namespace, the reference that asked for it.
	for by := range strings.SplitSeq(url.GetParam(constant.ProvidedBy, ""), ",") {
		ns, name, ok := strings.Cut(strings.TrimSpace(by), "/")
		if !ok {
			ns, name = g.kit.App().Namespace, ns
		}
		if app.Name == "" && strings.TrimSpace(by) == url.GetParam(constant.ProvidedBy, "") || app.Name == name {
			app = governance.App{Namespace: ns, Name: name}
			break
		}
	}
	if app.Name == "" {
		return governance.App{}
	}
	return app
}

// peer returns the application that a reference leads to.
func (g *governed) peer(reference *common.URL) governance.App {
	g.mu.RLock()
	app, ok := g.learned[reference.ServiceKey()]
	g.mu.RUnlock()
	if !ok {
		app = g.provider(reference)
		if app != (governance.App{}) {
			g.learn(reference)
		}
	}
	return app
}

// process holds the instances of this process by the name of their application.
type process struct {
	mu    sync.RWMutex
	named map[string]*governed
	only  *governed // while there is one
}

var processes = process{named: make(map[string]*governed)}

func (p *process) add(g *governed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := g.kit.App().Name
	p.named[name] = g // a later kit of the same application takes over
	p.only = nil
	if len(p.named) == 1 {
		p.only = g
	}
}

// of returns the instance that exports or refers by a URL; nil for none of ours.
func (p *process) of(url *common.URL) *governed {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.only != nil {
		return p.only
	}
	return p.named[consumer(url)]
}

// consumer returns the name of the application whose configuration a URL was made
// by: the exporting one, or the one that refers.
func consumer(url *common.URL) string {
	if url.SubURL != nil { // under a registry
		url = url.SubURL
	}
	if raw, ok := url.GetAttribute(constant.ApplicationKey); ok {
		if app, ok := raw.(*global.ApplicationConfig); ok && app != nil {
			return app.Name
		}
	}
	return url.GetParam(constant.ApplicationKey, "")
}
