package dubbo

import (
	"context"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/invocation"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"github.com/openzipkin/zipkin-go/reporter/recorder"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// under stands in for what lies below dubbo-go's protocol of filters.
type under struct {
	base.Protocol
	invoker base.Invoker
	order   []string
}

func (u *under) Refer(url *common.URL) base.Invoker {
	u.invoker = &recording{BaseInvoker: *base.NewBaseInvoker(url), under: u}
	return u.invoker
}

func (u *under) Export(invoker base.Invoker) base.Exporter {
	u.invoker = invoker
	return nil
}

type recording struct {
	base.BaseInvoker
	under *under
	err   error
}

func (r *recording) Invoke(context.Context, base.Invocation) result.Result {
	r.under.order = append(r.under.order, "invoked")
	return &result.RPCResult{Err: r.err}
}

// found is the URL of a provider as a registry's directory makes it.
func found(iface, provider, consumer string, params ...string) *common.URL {
	u := common.NewURLWithOptions(
		common.WithProtocol("tri"), common.WithIp("10.0.0.1"), common.WithPort("20000"), common.WithInterface(iface),
		common.WithParamsValue(constant.ApplicationKey, provider),
		common.WithAttribute(constant.ApplicationKey, &global.ApplicationConfig{Name: consumer}),
	)
	for i := 0; i+1 < len(params); i += 2 {
		u.SetParam(params[i], params[i+1])
	}
	return u
}

// alone returns a kit that dubbo-go knows, under a name of its own.
func alone(t *testing.T, name string, opts ...Option) *testKit {
	t.Helper()
	kit, err := newKit(name)
	if err != nil {
		t.Fatal(err)
	}
	WithGovernance(kit, opts...)
	return kit
}

func TestPeersOfURLs(t *testing.T) {
	kit := alone(t, "peers", WithPeer("org.example.Named", governance.App{Namespace: "prod", Name: "named"}))
	alone(t, "another")
	for name, test := range map[string]struct {
		url  *common.URL
		want governance.App
	}{
		"registry":                 {found("org.example.A", "inventory", "peers"), app("inventory")},
		"of another namespace":     {found("org.example.A", "prod/inventory", "peers"), governance.App{Namespace: "prod", Name: "inventory"}},
		"direct":                   {found("org.example.A", "peers", "peers"), governance.App{}},
		"direct with a name":       {found("org.example.A", "peers", "peers", constant.ProvidedBy, "inventory"), app("inventory")},
		"direct with two names":    {found("org.example.A", "peers", "peers", constant.ProvidedBy, "inventory,stock"), governance.App{}},
		"elsewhere, asked for":     {found("org.example.A", "inventory", "peers", constant.ProvidedBy, "stock, prod/inventory"), governance.App{Namespace: "prod", Name: "inventory"}},
		"direct, elsewhere":        {found("org.example.A", "peers", "peers", constant.ProvidedBy, "prod/inventory"), governance.App{Namespace: "prod", Name: "inventory"}},
		"by the option":            {found("org.example.Named", "peers", "peers"), governance.App{Namespace: "prod", Name: "named"}},
		"the registry's is better": {found("org.example.A", "inventory", "peers", constant.ProvidedBy, "stock"), app("inventory")},
	} {
		if got := processes.of(test.url).provider(test.url); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if processes.of(found("org.example.A", "x", "nobody")) != nil {
		t.Error("another instance's reference is ours")
	}
	_ = kit
}

// What a registry finds is learnt before the first call, and the URL stays as it
// was found, as it is compared with the next.
func TestProvidersAreLearntAsTheyAreFound(t *testing.T) {
	kit := alone(t, "learns")
	alone(t, "another")
	u := &under{}
	f := &filters{u}
	for _, list := range []string{"", "cshutdown,mine", "cshutdown," + CallerFilter} {
		url := found("org.example.A", "inventory", "learns", constant.ReferenceFilterKey, list)
		before := url.String()
		invoker := f.Refer(url)
		if got := invoker.GetURL().String(); got != before {
			t.Errorf("%s became %s", before, got)
		}
		if _, wrapped := invoker.(attempted); wrapped == (list == "cshutdown,"+CallerFilter) {
			t.Errorf("with the list %q: %T", list, invoker)
		}
		u.order = nil
		invoker.Invoke(t.Context(), invocation.NewRPCInvocation("a", nil, nil))
		if len(u.order) != 1 {
			t.Errorf("%v", u.order)
		}
	}
	if len(kit.calls) != 1 || kit.calls[0] != app("inventory") {
		t.Errorf("declared %v", kit.calls)
	}
	g := processes.named["learns"]
	if got := g.peer(found("org.example.A", "learns", "learns")); got != app("inventory") {
		t.Errorf("%v", got)
	}
}

func TestExportsAreGuarded(t *testing.T) {
	alone(t, "exports")
	alone(t, "another")
	f := &filters{&under{}}
	for iface, want := range map[string]string{
		"org.example.A": "echo," + ProviderFilter, "org.apache.dubbo.metadata.MetadataService": "echo", "grpc.health.v1.Health": "echo",
	} {
		url := found(iface, "exports", "exports", constant.ServiceFilterKey, "echo")
		for range 2 {
			f.Export(base.NewBaseInvoker(url))
			if got := url.GetParam(constant.ServiceFilterKey, ""); got != want {
				t.Errorf("%s: %q, want %q", iface, got, want)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	a, _ := key([]any{"ab", "c"})
	b, _ := key([]any{"a", "bc"})
	if a == b {
		t.Error("different arguments have one key")
	}
	if _, ok := key([]any{func() {}}); ok {
		t.Error("a function has a key")
	}
}

// What another instance would only repeat is not retried; what a broadcast has to
// reach all instances for still does.
func TestAnswersAreNotRetried(t *testing.T) {
	alone(t, "retries")
	alone(t, "another")
	for name, test := range map[string]struct {
		cluster string
		err     error
		calls   int
	}{
		"an answer":       {"failover", &UnknownSku{}, 1},
		"a failure":       {"failover", errBroken, 3},
		"switched off":    {"", wireError(false, &breaker.Refused{Reason: breaker.ReasonSwitched}), 1},
		"an open circuit": {"", wireError(true, &breaker.Refused{Reason: breaker.ReasonOpen}), 3},
		"broadcast":       {"broadcast", &UnknownSku{}, 3},
	} {
		u := &under{}
		r := &recording{BaseInvoker: *base.NewBaseInvoker(found("org.example.A", "x", "retries", constant.ClusterKey, test.cluster)), under: u, err: test.err}
		inv := invocation.NewRPCInvocation("a", nil, nil)
		inv.SetAttribute(guarded, true)
		rec := recorder.NewReporter()
		tracer, err := trace.New(trace.Config{App: app("orders"), Reporter: rec})
		if err != nil {
			t.Fatal(err)
		}
		span, ctx := tracer.StartClient(t.Context(), "a", app("inventory"))
		for range 3 {
			if err := (attempt{}).Invoke(ctx, r, inv).Error(); err != test.err { //nolint:errorlint // the very error
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(u.order) != test.calls {
			t.Errorf("%s: %d calls, want %d", name, len(u.order), test.calls)
		}
		span.Finish()
		told := rec.Flush()[0]
		if again := map[bool]string{true: "2"}[test.calls == 3 && test.cluster != "broadcast"]; told.Tags["weir.retries"] != again || (len(told.Annotations) == 2) != (again != "") {
			t.Errorf("%s: the span tells of %q retries and %v", name, told.Tags["weir.retries"], told.Annotations)
		}
	}
}
