package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

func TestParseApp(t *testing.T) {
	for text, want := range map[string]registry.App{
		"inventory":      {Namespace: "shop", Name: "inventory"},
		"other/stock-v2": {Namespace: "other", Name: "stock-v2"},
	} {
		got, err := registry.ParseApp(text, "shop")
		if err != nil || got != want {
			t.Errorf("ParseApp(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for text, words := range map[string]string{
		"":             "application name is empty",
		"shop/":        "application name is empty",
		"/inventory":   "namespace is empty",
		"a/b/c":        `holds '/'`,
		"Inventory":    "does not start with a lower-case letter",
		"in_ventory":   `holds '_'`,
		"inventory-":   "starts or ends with '-'",
		"9lives":       "does not start with a lower-case letter",
		"com.example":  `holds '.'`,
		"9ns/ok":       "", // a namespace may start with a digit
		"9ns/Not":      "lower-case letter",
		"x\u00e9y":     "holds",
		"shop/in\x00v": "holds",
	} {
		_, err := registry.ParseApp(text, "shop")
		if words == "" {
			if err != nil {
				t.Errorf("ParseApp(%q): %v", text, err)
			}
			continue
		}
		if registry.CodeOf(err) != registry.Invalid || !strings.Contains(err.Error(), words) {
			t.Errorf("ParseApp(%q): %v, want words %q", text, err, words)
		}
	}
}

func TestErrors(t *testing.T) {
	err := fmt.Errorf("start: %w", &registry.Error{Code: registry.Forbidden, Message: "may not", Err: fs.ErrPermission, Fix: "ask"})
	if got, want := err.Error(), "start: registry: may not: permission denied; ask"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if registry.CodeOf(err) != registry.Forbidden || !errors.Is(err, fs.ErrPermission) {
		t.Error("the code or the cause is lost in the chain")
	}
	if registry.CodeOf(nil) != "" || registry.CodeOf(errors.New("x")) != registry.Internal {
		t.Error("codes of no error, and of a foreign one")
	}
}

func TestCallable(t *testing.T) {
	for why, i := range map[string]registry.Instance{
		"":            {Health: registry.Ready},
		"not ready":   {Health: registry.NotReady},
		"terminating": {Health: registry.Terminating, Details: registry.Details{State: registry.Draining}},
		"draining":    {Health: registry.Ready, Details: registry.Details{State: registry.Draining}},
		"broken":      {Health: registry.NotReady, Problem: "broken"},
	} {
		if i.Why() != why || i.Callable() != (why == "") {
			t.Errorf("%+v: why %q, callable %v; want %q", i, i.Why(), i.Callable(), why)
		}
	}
	warned := registry.Instance{Health: registry.Ready, Warning: "odd weight"}
	if !warned.Callable() {
		t.Error("a warning stands in the way of calls")
	}
	kept := registry.Instance{Health: registry.NotReady, Kept: &registry.Kept{Because: registry.KeptNotReady}}
	if !kept.Callable() || kept.Why() != "" {
		t.Errorf("an instance that is kept is not called: %s", kept.Why())
	}
	for why, change := range map[string]func(*registry.Instance){
		"terminating": func(i *registry.Instance) { i.Health = registry.Terminating },
		"draining":    func(i *registry.Instance) { i.Details.State = registry.Draining },
		"broken":      func(i *registry.Instance) { i.Problem = "broken" },
	} {
		i := kept
		if change(&i); i.Callable() || i.Why() != why {
			t.Errorf("kept and %s: why %q, callable %v", why, i.Why(), i.Callable())
		}
	}
}

func TestSnapshotEqual(t *testing.T) {
	sample := func() registry.Snapshot {
		return registry.Snapshot{
			App: registry.App{Namespace: "shop", Name: "inventory"}, Mode: registry.ModePod,
			Service: registry.Service{Host: "inventory.shop.svc", Ports: []registry.ServicePort{{Port: 80, Target: 8080}}},
			Instances: []registry.Instance{{
				ID: "1", Name: "a", Host: netip.MustParseAddr("10.0.0.1"), Health: registry.Ready,
				Endpoints: []registry.Endpoint{{Protocol: "tri", Port: 1}}, Metadata: map[string]string{"k": "v"},
				Details: registry.Details{Weight: 100, Started: time.Unix(1, 0)},
			}},
			Generation: 1, Observed: time.Unix(2, 0),
		}
	}
	one := sample()
	for what, change := range map[string]func(*registry.Snapshot){
		"generation": func(s *registry.Snapshot) { s.Generation = 9 },
		"observed":   func(s *registry.Snapshot) { s.Observed = time.Now() },
		"staleness":  func(s *registry.Snapshot) { s.StaleSince = time.Now() },
		"time zone":  func(s *registry.Snapshot) { s.Instances[0].Details.Started = time.Unix(1, 0).UTC() },
	} {
		if other := sample(); func() bool { change(&other); return !one.Equal(other) }() {
			t.Errorf("%s makes a difference to a receiver", what)
		}
	}
	for what, change := range map[string]func(*registry.Snapshot){
		"app":      func(s *registry.Snapshot) { s.App.Name = "x" },
		"mode":     func(s *registry.Snapshot) { s.Mode = registry.ModeService },
		"host":     func(s *registry.Snapshot) { s.Service.Host = "x" },
		"headless": func(s *registry.Snapshot) { s.Service.Headless = true },
		"ports":    func(s *registry.Snapshot) { s.Service.Ports[0].Target = 1 },
		"count":    func(s *registry.Snapshot) { s.Instances = nil },
		"id":       func(s *registry.Snapshot) { s.Instances[0].ID = "x" },
		"name":     func(s *registry.Snapshot) { s.Instances[0].Name = "x" },
		"address":  func(s *registry.Snapshot) { s.Instances[0].Host = netip.MustParseAddr("10.0.0.2") },
		"endpoint": func(s *registry.Snapshot) { s.Instances[0].Endpoints[0].Port = 2 },
		"metadata": func(s *registry.Snapshot) { s.Instances[0].Metadata = map[string]string{"k": "w"} },
		"revision": func(s *registry.Snapshot) { s.Instances[0].Revision = "x" },
		"weight":   func(s *registry.Snapshot) { s.Instances[0].Details.Weight = 1 },
		"tag":      func(s *registry.Snapshot) { s.Instances[0].Details.Tag = "x" },
		"state":    func(s *registry.Snapshot) { s.Instances[0].Details.State = registry.Draining },
		"started":  func(s *registry.Snapshot) { s.Instances[0].Details.Started = time.Unix(2, 0) },
		"health":   func(s *registry.Snapshot) { s.Instances[0].Health = registry.NotReady },
		"kept":     func(s *registry.Snapshot) { s.Instances[0].Kept = &registry.Kept{} },
		"node":     func(s *registry.Snapshot) { s.Instances[0].Node = "x" },
		"zone":     func(s *registry.Snapshot) { s.Instances[0].Zone = "x" },
		"problem":  func(s *registry.Snapshot) { s.Instances[0].Problem = "x" },
		"warning":  func(s *registry.Snapshot) { s.Instances[0].Warning = "x" },
	} {
		if other := sample(); func() bool { change(&other); return one.Equal(other) }() {
			t.Errorf("%s makes no difference to a receiver", what)
		}
	}
}

func FuzzDubboEndpoints(f *testing.F) {
	f.Add(`[{"port":20000,"protocol":"tri"},{"port":20000,"protocol":"tri"}]`)
	f.Add(`[{"port":-1}]`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		endpoints, err := registry.DubboEndpoints(map[string]string{registry.KeyEndpoints: text})
		if err != nil {
			return
		}
		for i, e := range endpoints {
			if e.Port == 0 || e.Protocol == "" || i > 0 && endpoints[i-1] == e {
				t.Fatalf("%q gives %v", text, endpoints)
			}
		}
		if text == "" {
			return
		}
		written, err := json.Marshal(endpoints)
		if err != nil {
			t.Fatal(err)
		}
		again, err := registry.DubboEndpoints(map[string]string{registry.KeyEndpoints: string(written)})
		if err != nil || len(again) != len(endpoints) {
			t.Fatalf("%s gives %v, %v", written, again, err)
		}
	})
}

func ExampleSnapshot_Callable() {
	s := registry.Snapshot{Instances: []registry.Instance{
		{Name: "inventory-1", Health: registry.Ready},
		{Name: "inventory-2", Health: registry.Terminating},
		{Name: "inventory-3", Health: registry.Ready, Details: registry.Details{State: registry.Draining}},
	}}
	for _, i := range s.Callable() {
		fmt.Println(i.Name)
	}
	fmt.Println(s.Instances[2].Why())
	// Output:
	// inventory-1
	// draining
}

func ExampleParseApp() {
	app, err := registry.ParseApp("inventory", "shop")
	fmt.Println(app, err)
	_, err = registry.ParseApp("shop/Inventory", "")
	fmt.Println(err)
	// Output:
	// shop/inventory <nil>
	// registry: application name "Inventory" does not start with a lower-case letter: use lower-case letters, digits and '-', as Kubernetes does for Services
}

func ExampleInterface_String() {
	fmt.Println(registry.Interface{Name: "org.example.InventoryService", Group: "blue", Version: "1.0.0"})
	// Output: blue/org.example.InventoryService:1.0.0
}

func TestDubboMetadataService(t *testing.T) {
	for text, want := range map[string]registry.Endpoint{
		`{"version":"1.0.0","port":"20880","protocol":"dubbo"}`: {Protocol: "dubbo", Port: 20880}, // of Java
		`{"port":50051,"protocol":"tri"}`:                       {Protocol: "tri", Port: 50051},
	} {
		if got, err := registry.DubboMetadataService(map[string]string{registry.KeyMetadataService: text}); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                                    "names no metadata service",
		"{":                                   "no JSON map",
		`{"port":"0","protocol":"tri"}`:       "no port and protocol",
		`{"port":"70000","protocol":"tri"}`:   "no port and protocol",
		`{"port":"20880"}`:                    "no port and protocol",
		`{"port":{"a":1},"protocol":"dubbo"}`: "no port and protocol",
	} {
		if _, err := registry.DubboMetadataService(map[string]string{registry.KeyMetadataService: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWeightOf(t *testing.T) {
	own := func(n int) *int { return &n }
	for _, c := range []struct {
		instance int
		service  *int
		want     int
	}{{100, nil, 100}, {0, nil, 100}, {30, nil, 30}, {100, own(50), 50}, {30, own(50), 30}, {100, own(0), 0}} {
		i := registry.Instance{Details: registry.Details{Weight: c.instance}}
		if got := i.WeightOf(c.service); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	for _, c := range []struct {
		params map[string]string
		want   int
		named  bool
	}{
		{nil, 100, false},
		{map[string]string{"weight": "0", "release": "dubbo-golang-3.3.2"}, 100, false},
		{map[string]string{"weight": "0", "release": "3.3.6"}, 0, true},
		{map[string]string{"weight": "30", "release": "dubbo-golang-3.3.2"}, 30, true},
		{map[string]string{"weight": "-1"}, 100, false},
		{map[string]string{"weight": "much"}, 100, false},
	} {
		if got, named := registry.DubboWeight(c.params); got != c.want || named != c.named {
			t.Errorf("%v: %d %v", c.params, got, named)
		}
	}
}

// What is kept is told in the grammar of how many there are.
func TestKeptSaysHowManyWereLost(t *testing.T) {
	for want, k := range map[string]registry.Kept{
		"it is not ready, and is called all the same until 1970-01-01T00:00:00Z at the latest: 2 of 3 instances were lost at once, and nothing proves that they are gone":                      {Because: registry.KeptNotReady, Lost: 2, Of: 3},
		"it is not ready, and is called all the same until 1970-01-01T00:00:00Z at the latest: it is the only instance, and nothing proves that it is gone":                                    {Because: registry.KeptNotReady, Lost: 1, Of: 1},
		"it left the endpoints of its Service, and is called all the same until 1970-01-01T00:00:00Z at the latest: it is the only instance, and nothing proves that it is gone":               {Because: registry.KeptUnlisted, Lost: 1, Of: 1},
		"it left the endpoints of its Service, and is called all the same until 1970-01-01T00:00:00Z at the latest: 2 of 2 instances were lost at once, and nothing proves that they are gone": {Because: registry.KeptUnlisted, Lost: 2, Of: 2},
	} {
		k.Until = time.Unix(0, 0)
		if got := k.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
