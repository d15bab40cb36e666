package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/api"
	"github.com/weirmesh/weir/registry/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	inventory = registry.App{Namespace: "shop", Name: "inventory"}
	vault     = registry.App{Namespace: "bank", Name: "vault"}
)

// auth knows a viewer of everything, and one of the namespace shop.
type auth struct{}

func (auth) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	p := access.Principal{Kind: access.KindToken, Name: c.Bearer, Role: access.Viewer}
	if c.Bearer == "shop" {
		p.Namespaces = []string{"shop"}
	}
	return p, nil
}

// control serves the API of a registry.
func control(t testing.TB, d api.Deps) (get func(who, path string, into any) int) {
	t.Helper()
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: auth{}})
	api.Register(h, d)
	handler := h.Handler()
	return func(who, path string, into any) int {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("Authorization", "Bearer "+who)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
		}
		return w.Code
	}
}

// provider is an instance that has registered itself.
func provider(id, revision string, change func(*registry.Instance)) registry.Instance {
	i := registry.Instance{ID: "uid-" + id, Name: id, Host: memory.Address(7), Metadata: map[string]string{
		registry.KeyEndpoints: `[{"port":20000,"protocol":"dubbo"},{"port":20001,"protocol":"tri"}]`, registry.KeyRevision: revision,
	}}
	if change != nil {
		change(&i)
	}
	return i
}

const document = `{"app":"inventory","services":{
	"org.example.Stock:1.0.0:dubbo":{"name":"org.example.Stock","version":"1.0.0","protocol":"dubbo","params":{"methods":"reserve,get"}},
	"org.example.Stock:1.0.0:tri":{"name":"org.example.Stock","version":"1.0.0","protocol":"tri","params":{"methods":"reserve,get"}},
	"b/org.example.Price:dubbo":{"name":"org.example.Price","group":"b","protocol":"dubbo","methods":[{"name":"of","parameterTypes":["java.lang.String"]}]}}}`

// shop is a world with two applications, of which one is well described.
func shop(t testing.TB) (*memory.Registry, *memory.Client) {
	t.Helper()
	world := memory.New()
	world.PutService(inventory, registry.Service{Ports: []registry.ServicePort{{Name: "dubbo", Port: 20000, Target: 20000}}})
	world.PutInstance(inventory, provider("inventory-b", "r1", nil))
	world.PutInstance(inventory, provider("inventory-a", "r1", func(i *registry.Instance) { i.Warning = "its weight is wrong" }))
	world.PutInstance(inventory, provider("inventory-c", "r2", func(i *registry.Instance) { i.Health = registry.NotReady }))
	world.PutInstance(inventory, registry.Instance{ID: "uid-d", Name: "inventory-d", Problem: "its annotation cannot be read"})
	world.PutService(vault, registry.Service{Headless: true})
	c := world.Join(memory.Config{})
	t.Cleanup(c.Close)
	if err := c.PutMetadata(t.Context(), inventory, "r1", []byte(document)); err != nil {
		t.Fatal(err)
	}
	return world, c
}

func TestTheListTellsHowManyAreCalledAndWhyTheOthersAreNot(t *testing.T) {
	t.Parallel()
	_, c := shop(t)
	get := control(t, api.Deps{Registry: c})
	var all api.List
	if status := get("all", "/api/v1/registry", &all); status != 200 || len(all.Items) != 2 || all.Unknown != "" || !all.Stale.IsZero() {
		t.Fatalf("%d %+v", status, all)
	}
	two := 2
	want := api.App{
		App: inventory, Mode: registry.ModePod, Host: "inventory.shop.svc", Interfaces: &two,
		Counts: api.Counts{
			Instances: 4, Callable: 2, Held: 2, Warnings: 1, Protocols: []string{"dubbo", "tri"},
			HeldBack: []registry.Held{{Why: "its annotation cannot be read", Instances: 1}, {Why: "not ready", Instances: 1}},
		},
	}
	if got := all.Items[1]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := all.Items[0]; got.App != vault || !got.Headless || got.Interfaces != nil || got.HeldBack == nil || got.Protocols == nil {
		t.Errorf("got %+v", got)
	}

	// Each sees what is theirs.
	var mine api.List
	if get("shop", "/api/v1/registry", &mine); len(mine.Items) != 1 || mine.Items[0].App != inventory {
		t.Errorf("bounded to shop: %+v", mine)
	}
	if get("all", "/api/v1/registry?namespace=bank", &mine); len(mine.Items) != 1 || mine.Items[0].App != vault {
		t.Errorf("of bank: %+v", mine)
	}
	var problem httpapi.Problem
	if status := get("shop", "/api/v1/registry?namespace=bank", &problem); status != 403 {
		t.Errorf("bank, asked for by one of shop: %d", status)
	}
	if status := get("shop", "/api/v1/registry/bank/vault", &problem); status != 403 {
		t.Errorf("bank/vault, asked for by one of shop: %d", status)
	}
}

func TestOneApplicationIsExplained(t *testing.T) {
	t.Parallel()
	_, c := shop(t)
	get := control(t, api.Deps{Registry: c})
	var d api.Detail
	if status := get("shop", "/api/v1/registry/shop/inventory", &d); status != 200 {
		t.Fatalf("%d %+v", status, d)
	}
	var names, wrong []string
	for _, i := range d.Instances {
		names = append(names, i.Name)
		for _, f := range i.Explain {
			if !f.OK {
				wrong = append(wrong, fmt.Sprintf("%s %s: %s", i.Name, f.Effect, f.Check))
			}
		}
		if i.Callable != (i.Why == "") {
			t.Errorf("%s: %+v", i.Name, i)
		}
	}
	if want := []string{"inventory-c", "inventory-d", "inventory-a", "inventory-b"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if want := []string{
		"inventory-c held: ready", "inventory-c none: what it offers is described",
		"inventory-d held: its metadata can be read", "inventory-a none: its details can be read",
	}; !slices.Equal(wrong, want) {
		t.Errorf("got %v, want %v", wrong, want)
	}
	if want := []api.Interface{
		{Interface: registry.Interface{Name: "org.example.Price", Group: "b"}, Protocols: []string{"dubbo"}, Methods: []string{"of(java.lang.String)"}, Instances: 2},
		{Interface: registry.Interface{Name: "org.example.Stock", Version: "1.0.0"}, Protocols: []string{"dubbo", "tri"}, Methods: []string{"get", "reserve"}, Instances: 2},
	}; !reflect.DeepEqual(d.Interfaces, want) {
		t.Errorf("interfaces %+v", d.Interfaces)
	}
	if len(d.Undescribed) != 1 || d.Undescribed[0].Revision != "r2" || !strings.Contains(d.Undescribed[0].Why, "no document") {
		t.Errorf("undescribed %+v", d.Undescribed)
	}
	if d.Counts.Instances != 4 || d.Service.Host != "inventory.shop.svc" || len(d.Service.Ports) != 1 || d.Generation == 0 || d.Observed.IsZero() {
		t.Errorf("got %+v", d)
	}

	for query, want := range map[string][]string{
		"limit=1":              {"inventory-c"},
		"held=true":            {"inventory-c", "inventory-d"},
		"instance=inventory-a": {"inventory-a"},
		"instance=uid-d":       {"inventory-d"},
		"instance=gone":        {},
	} {
		var d api.Detail
		get("all", "/api/v1/registry/shop/inventory?"+query, &d)
		var names []string
		for _, i := range d.Instances {
			names = append(names, i.Name)
		}
		if !slices.Equal(names, want) || (query == "limit=1") != (d.LeftOut == 3) || (query == "instance=gone") != (len(d.Missing) > 0) || d.Counts.Instances != 4 {
			t.Errorf("%s: %v, %+v", query, names, d)
		}
	}
	var problem httpapi.Problem
	if status := get("all", "/api/v1/registry/shop/ledger", &problem); status != 404 || !strings.Contains(problem.Detail, "there is no application shop/ledger") {
		t.Errorf("%d %+v", status, problem)
	}
	if status := get("all", "/api/v1/registry/shop/Ledger", &problem); status != 422 {
		t.Errorf("%d %+v", status, problem)
	}
}

// waiting is a registry that does not know anything yet, as while a cluster starts.
type waiting struct{ api.Registry }

func (waiting) Apps(ctx context.Context, _ string) ([]registry.App, error) {
	<-ctx.Done()
	return nil, &registry.Error{Code: registry.Unavailable, Message: "the cluster is still starting", Fix: "try again in a moment", Err: context.Cause(ctx)}
}

func TestUnknownIsNotEmpty(t *testing.T) {
	t.Parallel()
	world, _ := shop(t)
	refused := world.Join(memory.Config{})
	refused.Refuse(errors.New("ServiceAccount weir/control may not list pods"))
	t.Cleanup(refused.Close)
	for why, r := range map[string]api.Registry{
		"this control plane looks after no cluster":            nil,
		"the cluster is still starting; try again in a moment": waiting{},
		"ServiceAccount weir/control may not list pods":        refused,
	} {
		get := control(t, api.Deps{Registry: r, Patience: time.Millisecond})
		var all api.List
		if status := get("all", "/api/v1/registry", &all); status != 200 || all.Items == nil || len(all.Items) != 0 || !strings.Contains(all.Unknown, why) {
			t.Errorf("%s: %d %+v", why, status, all)
		}
		var problem httpapi.Problem
		if status := get("all", "/api/v1/registry/shop/inventory", &problem); status != 503 || !strings.Contains(problem.Detail, why) {
			t.Errorf("%s: %d %+v", why, status, problem)
		}
	}
}

func TestALostLinkIsTold(t *testing.T) {
	t.Parallel()
	_, c := shop(t)
	get := control(t, api.Deps{Registry: c})
	var all api.List
	get("all", "/api/v1/registry", &all)
	c.Cut()
	if get("all", "/api/v1/registry", &all); len(all.Items) != 2 || all.Stale.IsZero() || all.Unknown != "" {
		t.Errorf("got %+v", all)
	}
	var d api.Detail
	get("all", "/api/v1/registry/shop/inventory", &d)
	if d.Stale.IsZero() || len(d.Instances) != 4 || d.Instances[0].Explain[0].OK {
		t.Errorf("got %+v", d)
	}
}

// The description names every check, so that a console can say them in its language.
func TestTheDescriptionNamesAllChecks(t *testing.T) {
	t.Parallel()
	field, _ := reflect.TypeFor[api.Finding]().FieldByName("Check")
	var names []string
	for _, c := range registry.Checks {
		names = append(names, string(c))
	}
	if got, want := field.Tag.Get("enum"), strings.Join(names, ","); got != want {
		t.Errorf("described are %q, want %q", got, want)
	}
}

// counting counts how often documents are asked for, and how many at once.
type counting struct {
	api.Registry
	mu               sync.Mutex
	reads, now, most int
	fail             error
}

func (c *counting) Metadata(ctx context.Context, app registry.App, revision string) ([]byte, error) {
	c.mu.Lock()
	c.reads, c.now = c.reads+1, c.now+1
	c.most = max(c.most, c.now)
	fail := c.fail
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	}()
	if fail != nil {
		return nil, fail
	}
	return c.Registry.Metadata(ctx, app, revision)
}

// A thousand applications are described little by little, and asked for once.
func TestDocumentsAreReadOnceAndAFewAtATime(t *testing.T) {
	t.Parallel()
	c := large(t, 300, 2)
	for n := range 300 {
		if err := c.PutMetadata(t.Context(), numbered(n), "r", []byte(document)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	counted := &counting{Registry: c}
	get := control(t, api.Deps{Registry: counted, Now: func() time.Time { return now }})
	described := func() (n int) {
		var all api.List
		get("all", "/api/v1/registry", &all)
		for _, a := range all.Items {
			if a.Interfaces != nil && *a.Interfaces == 2 {
				n++
			}
		}
		return n
	}
	if n := described(); n == 0 || n > 64 {
		t.Errorf("the first list describes %d", n)
	}
	for range 300 {
		if described() == 300 {
			break
		}
	}
	if n := described(); n != 300 || counted.reads != 300 || counted.most > 8 {
		t.Errorf("%d are described, after %d reads, %d at once", n, counted.reads, counted.most)
	}
	// What was read is read again after a while, and stands where that fails.
	now = now.Add(time.Hour)
	counted.fail = &registry.Error{Code: registry.Unavailable, Message: "away"}
	if n := described(); n != 300 || counted.reads == 300 {
		t.Errorf("%d are described, after %d reads", n, counted.reads)
	}
}

func numbered(n int) registry.App {
	return registry.App{Namespace: "shop", Name: fmt.Sprintf("app-%04d", n)}
}

func large(t testing.TB, apps, each int) *memory.Client {
	t.Helper()
	world := memory.New()
	for n := range apps {
		world.PutService(numbered(n), registry.Service{})
		for k := range each {
			world.PutInstance(numbered(n), provider(fmt.Sprintf("%d-%d", n, k), "r", nil))
		}
	}
	c := world.Join(memory.Config{})
	t.Cleanup(c.Close)
	return c
}

func BenchmarkListOfAThousand(b *testing.B) {
	c := large(b, 1000, 5)
	get := control(b, api.Deps{Registry: c})
	b.ReportAllocs()
	for b.Loop() {
		var all struct{}
		get("all", "/api/v1/registry", &all)
	}
}

func BenchmarkOneOfFiveThousandInstances(b *testing.B) {
	c := large(b, 1, 5000)
	get := control(b, api.Deps{Registry: c})
	b.ReportAllocs()
	for b.Loop() {
		var all struct{}
		get("all", "/api/v1/registry/shop/app-0000?limit=5000", &all)
	}
}

// What is called though it is not ready is counted, marked and explained.
func TestWhatIsKeptIsTold(t *testing.T) {
	t.Parallel()
	world, c := shop(t)
	kept := &registry.Kept{Because: registry.KeptNotReady, Lost: 3, Of: 4, Since: time.Unix(100, 0).UTC(), Until: time.Unix(700, 0).UTC()}
	world.PutInstance(inventory, provider("inventory-c", "r2", func(i *registry.Instance) { i.Health, i.Kept = registry.NotReady, kept }))
	get := control(t, api.Deps{Registry: c})
	var all api.List
	if get("all", "/api/v1/registry?namespace=shop", &all); len(all.Items) != 1 || all.Items[0].Kept != 1 || all.Items[0].Callable != 3 || all.Items[0].Held != 1 {
		t.Errorf("the list says %+v", all)
	}
	var d api.Detail
	get("shop", "/api/v1/registry/shop/inventory?instance=inventory-c", &d)
	if len(d.Instances) != 1 {
		t.Fatalf("got %+v", d)
	}
	i := d.Instances[0]
	if !i.Callable || i.Health != registry.NotReady || !i.Kept.Equal(kept) || !strings.Contains(i.KeptWhy, "3 of 4 instances were lost at once") {
		t.Errorf("got %+v", i)
	}
	if at := slices.IndexFunc(i.Explain, func(f api.Finding) bool { return f.Check == registry.CheckReady }); at < 0 || i.Explain[at].OK || i.Explain[at].Effect != registry.EffectNone {
		t.Errorf("explained as %+v", i.Explain)
	}
}
