package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/internal/httpapi"
)

func timeout(app governance.App, command string, d time.Duration) governance.Policy {
	return governance.Policy{Target: governance.Target{App: app, Command: command}, Rules: governance.Rules{Timeout: governance.Duration(d)}}
}

// put writes a policy by the API.
func (k *control) put(p governance.Policy) governance.Version {
	k.t.Helper()
	p = p.WithDefaults()
	var got api.PolicyAnswer
	k.want(200, k.do(http.MethodPut, "/api/v1/policies/"+p.Key().String(), "operator", p)).into(k.t, &got)
	return got.Version
}

// until reads sets until one has a version of the whole at least that high.
func (i *inst) until(version int64) governance.PolicySet {
	i.k.t.Helper()
	for {
		if set := i.next(); set.Version >= version {
			return set
		}
	}
}

func TestWhoMayOpenAStream(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	for _, c := range []struct {
		name, app, instance, token string
		status                     int
		says                       string
	}{
		{"its own pod", "shop/inventory", "uid-1", "pod shop uid-1", 200, ""},
		{"an operator outside Kubernetes", "shop/inventory", "laptop", "operator", 200, ""},
		{"an operator of that namespace", "bank/ledger", "laptop", "bank", 200, ""},
		{"an operator of another namespace", "shop/inventory", "laptop", "bank", 403, "operator"},
		{"a pod of another namespace", "shop/inventory", "uid-1", "pod bank uid-1", 403, "may not speak for"},
		{"another pod", "shop/inventory", "uid-2", "pod shop uid-1", 403, "set POD_UID"},
		{"a viewer", "shop/inventory", "uid-1", "viewer", 403, ""},
		{"nobody", "shop/inventory", "uid-1", "x", 401, ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.srv.URL+governance.StreamPath+"?app="+c.app+"&instance="+c.instance, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.token)
		resp, err := k.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status {
			t.Errorf("%s: answered %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if c.status != 200 {
			raw, _ := io.ReadAll(resp.Body)
			if !strings.Contains(string(raw), c.says) || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %s", c.name, raw)
			}
		}
		cancel()
		resp.Body.Close()
	}
	for _, q := range []string{
		"", "app=shop", "app=shop/inventory", "app=shop/inventory&instance=" + strings.Repeat("x", 300), "app=shop/inventory&instance=a%00b",
		"app=shop/inventory&instance=a&wire=x", "app=shop/inventory&instance=a&wire=0", "app=shop/inventory&instance=a&calls=pricing",
		"app=shop/inventory&instance=a&" + strings.Repeat("calls=shop/pricing&", 501), "app=shop%20x/inventory&instance=a",
	} {
		k.want(400, k.do(http.MethodGet, governance.StreamPath+"?"+q, "operator", nil))
	}
}

func TestAStreamBringsWhatItsInstanceHasToEnforce(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	k.put(timeout(inventory, reserve, time.Second))
	caller := timeout(inventory, reserve, 2*time.Second)
	caller.Target.At, caller.Target.From = governance.Caller, []governance.App{orders}
	k.put(caller)
	last := k.put(timeout(governance.App{Namespace: "bank", Name: "ledger"}, "", time.Second))

	names := func(set governance.PolicySet) (out []string) {
		for _, v := range set.Policies {
			out = append(out, v.Policy.Name)
		}
		return out
	}
	// The last change concerns none of them: a stream that is open before it is told
	// has the newest set already, by a lower version, and hears nothing more.
	k.until("all is published", func() bool { return api.Published(k.api) >= last.Version })
	i := k.instance(inventory, "i").open()
	set := i.until(last.Version)
	if got := names(set); fmt.Sprint(got) != "[inventory.InventoryService.reserve]" {
		t.Fatalf("inventory enforces %v", got)
	}
	o := k.instance(orders, "o", inventory).open()
	if got := names(o.until(last.Version)); fmt.Sprint(got) != "[inventory.InventoryService.reserve.caller.orders]" {
		t.Fatalf("orders enforces %v", got)
	}
	p := k.instance(governance.App{Namespace: "shop", Name: "pricing"}, "p", inventory).open()
	if got := names(p.until(last.Version)); len(got) != 0 {
		t.Fatalf("pricing enforces %v", got)
	}

	// Who comes back with the newest is told nothing, and who has another is.
	i.close()
	i.open()
	k.put(timeout(orders, "", time.Second)) // does not concern inventory
	next := k.put(timeout(inventory, "", 3*time.Second))
	if set := i.next(); set.Version != next.Version || len(set.Policies) != 2 {
		t.Fatalf("after its return came %+v, want version %d at once", set, next.Version)
	}
	i.close()
	i.has = "1:sha256:other"
	if set := i.open().next(); len(set.Policies) != 2 {
		t.Fatalf("got %+v", set)
	}

	// An instance that calls more than it said at first is told more.
	k.want(202, p.report(func(r *governance.Report) { r.Calls = []governance.App{inventory, orders} }))
	open := timeout(orders, "", 4*time.Second)
	open.Target.At = governance.Caller
	open.Name = "for-callers"
	v := k.put(open)
	if got := names(p.until(v.Version)); fmt.Sprint(got) != "[for-callers]" {
		t.Fatalf("pricing, which calls orders now, enforces %v", got)
	}
	k.want(200, k.do(http.MethodDelete, "/api/v1/policies/shop/for-callers", "operator", nil))
	if set := p.until(v.Version + 1); len(set.Policies) != 0 {
		t.Fatalf("got %+v", set)
	}
}

func TestManyStreams(t *testing.T) {
	t.Parallel()
	const n = 600
	k := start(t, api.Config{MaxReports: 10_000, MaxStreams: n})
	all := make([]*inst, n)
	var wg sync.WaitGroup
	for j := range all {
		app := inventory
		if j%3 == 0 {
			app = orders
		}
		all[j] = k.instance(app, fmt.Sprint("i", j)).open()
	}
	if a := k.do(http.MethodGet, k.instance(inventory, "more").query(), "operator", nil); a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "as many as it may") {
		t.Fatalf("one too many is answered %d %s", a.status, a.body)
	}
	var versions []governance.Version
	for j := range 20 {
		versions = append(versions, k.put(timeout(inventory, "", time.Duration(j+1)*time.Second)))
	}
	end := versions[len(versions)-1].Version
	for j, i := range all {
		if j%3 == 0 {
			continue
		}
		wg.Go(func() {
			last := int64(-1)
			for set := i.next(); ; set = i.next() {
				if set.Version <= last {
					t.Errorf("%s: version %d came after %d", i.id, set.Version, last)
				}
				if last = set.Version; last >= end {
					if set.Policies[0].Version != end {
						t.Errorf("%s: the last set holds version %d", i.id, set.Policies[0].Version)
					}
					i.ack(set)
					return
				}
			}
		})
	}
	wg.Wait()
	k.until("all have confirmed", func() bool {
		var c api.Confirmation
		k.want(200, k.do(http.MethodGet, "/api/v1/policies/shop/inventory.all/status", "viewer", nil)).into(t, &c)
		return c.Live == n-n/3 && c.All()
	})
	if first := all[0].next(); len(first.Policies) != 0 {
		t.Fatalf("orders got %+v", first)
	}
	select {
	case set := <-all[0].sets:
		t.Fatalf("orders was told of what it need not enforce: %+v", set)
	default:
	}
}

func TestStreamsEndInTheirOwnTimeWhenTheServerStops(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{DrainOver: 50 * time.Millisecond})
	var all []*inst
	for j := range 20 {
		all = append(all, k.instance(inventory, fmt.Sprint("i", j)).open())
		all[j].next()
	}
	if err := k.api.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if err := <-i.closed; !errors.Is(err, io.EOF) {
			t.Fatalf("a stream ended with %v, want its orderly end", err)
		}
	}
	a := k.want(503, k.do(http.MethodGet, all[0].query(), "operator", nil), "stopping")
	if a.header.Get("Retry-After") == "" {
		t.Fatal("it is not said when to come again")
	}
}

func TestAStreamIsHeardFromAndEndsWhenItIsOld(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{Heartbeat: 20 * time.Millisecond, MaxAge: 300 * time.Millisecond})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.srv.URL+k.instance(inventory, "a").query(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer operator")
	resp, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body) // to its end
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), ": still here\n\n") || !strings.Contains(string(raw), "retry: ") || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream was %q", raw)
	}
}

// slow is a store whose policies cannot be read.
type slow struct{ governance.Store }

func (slow) Since(context.Context, int64) ([]governance.Version, int64, error) {
	return nil, 0, &governance.Error{Code: governance.Unavailable, Message: "the database does not answer"}
}

func TestBeforeThePoliciesAreReadNobodyIsToldThatThereAreNone(t *testing.T) {
	t.Parallel()
	a := api.New(api.Config{Store: slow{memory.New(memory.Options{})}})
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: auth{}, Audit: &journal{}})
	a.Register(h)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, governance.StreamPath+"?app=shop/inventory&instance=a", http.NoBody)
	req.Header.Set("Authorization", "Bearer operator")
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, req)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || a.Ready() == nil {
		t.Fatalf("answered %d %s, ready: %v", w.Code, w.Body, a.Ready())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestMetricsAreNamed(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	k := start(t, api.Config{Metrics: reg})
	k.instance(inventory, "a").open().next()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		if !strings.HasPrefix(f.GetName(), "weir_control_") {
			t.Errorf("metric %s", f.GetName())
		}
		if f.GetMetric()[0].GetGauge() != nil {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	if got["weir_control_streams"] != 1 {
		t.Fatalf("metrics %v", got)
	}
}
