package view_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/registry"
)

var (
	shop = registry.App{Namespace: "shop", Name: "inventory"}
	noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)
)

func instance(name string, change func(*registry.Instance)) registry.Instance {
	i := registry.Instance{
		ID: "uid-" + name, Name: name, Host: netip.MustParseAddr("10.0.0.1"), Health: registry.Ready, Revision: "r1",
		Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}},
		Metadata:  map[string]string{"dubbo.metadata.revision": "r1"},
	}
	if change != nil {
		change(&i)
	}
	return i
}

func snapshot(instances ...registry.Instance) registry.Snapshot {
	return registry.Snapshot{
		App: shop, Mode: registry.ModePod, Observed: noon, Instances: instances,
		Service: registry.Service{Host: "inventory.shop.svc", Ports: []registry.ServicePort{{Name: "dubbo", Port: 80, Target: 20000}}},
	}
}

func TestListTellsWhyInstancesAreHeldBack(t *testing.T) {
	s := snapshot(
		instance("a", nil),
		instance("b", func(i *registry.Instance) { i.Health = registry.NotReady }),
		instance("c", func(i *registry.Instance) { i.Health = registry.NotReady }),
		instance("d", func(i *registry.Instance) { i.Problem = "metadata is no JSON" }),
		instance("e", func(i *registry.Instance) { i.Health, i.Kept = registry.NotReady, &registry.Kept{} }),
	)
	var out strings.Builder
	list := []registry.Snapshot{s, {App: registry.App{Namespace: "x", Name: "y"}, Mode: registry.ModeService}}
	header, rows := view.AppTable(list, nil)
	if err := view.WriteTable(&out, header, rows); err != nil {
		t.Fatal(err)
	}
	want := `APPLICATION      CALLABLE          MODE      SPEAKS        HELD BACK
shop/inventory   2 of 5 (1 kept)   pod       dubbo:20000   1 metadata is no JSON, 2 not ready
x/y              0 of 0            service   -             -
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// By which registry an application is called first is said of all where it is of one.
func TestListTellsOfTheChoiceBetweenRegistries(t *testing.T) {
	chosen := snapshot(instance("a", func(i *registry.Instance) { i.Cluster = "east" }))
	chosen.Choice, chosen.ChoiceFrom = registry.ChooseZooKeeper, "DiscoveryPolicy shop/moving"
	for want, clusters := range map[string][]string{
		`APPLICATION      CALLABLE   MODE      REGISTRY    SPEAKS        HELD BACK
shop/inventory   1 of 1     pod       zookeeper   dubbo:20000   -
x/y              0 of 0     service   -           -             -
`: nil,
		`APPLICATION      CALLABLE   CLUSTERS      MODE      REGISTRY    SPEAKS        HELD BACK
shop/inventory   1 of 1     east 1 of 1   pod       zookeeper   dubbo:20000   -
x/y              0 of 0     -             service   -           -             -
`: {"east"},
	} {
		var out strings.Builder
		header, rows := view.AppTable([]registry.Snapshot{chosen, {App: registry.App{Namespace: "x", Name: "y"}, Mode: registry.ModeService}}, clusters)
		if err := view.WriteTable(&out, header, rows); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	}
}

func TestSnapshotTellsAll(t *testing.T) {
	s := snapshot(
		instance("inventory-a", func(i *registry.Instance) {
			i.Node, i.Zone, i.Details = "node1", "z1", registry.Details{Weight: 50, Tag: "v2"}
			i.Warning = "details cannot be read; defaults stand in for them"
		}),
		instance("inventory-b", func(i *registry.Instance) {
			i.Metadata, i.Endpoints, i.Revision, i.Host = nil, nil, "", netip.Addr{}
			i.Health = registry.NotReady
		}),
		instance("inventory-c", func(i *registry.Instance) {
			i.Health = registry.NotReady
			i.Kept = &registry.Kept{Because: registry.KeptNotReady, Lost: 2, Of: 3, Since: noon, Until: noon.Add(10 * time.Minute)}
		}),
	)
	s.StaleSince = noon
	var out strings.Builder
	if err := view.WriteSnapshot(&out, s); err != nil {
		t.Fatal(err)
	}
	want := `shop/inventory   2 of 3 callable (1 kept), mode pod
service   inventory.shop.svc (dubbo 80→20000)
stale     since 12:00:00: the API server does not answer; this is the last state known

INSTANCE      ADDRESS    SPEAKS        HEALTH      CALLED   WHY NOT     NODE
inventory-a   10.0.0.1   dubbo:20000   ready       yes      -           node1
inventory-b   -          -             not-ready   no       not ready   -
inventory-c   10.0.0.1   dubbo:20000   not-ready   kept     -           -

inventory-a
  id         uid-inventory-a
  revision   r1
  weight     50
  tag        v2
  zone       z1
  warning    details cannot be read; defaults stand in for them
  metadata   1 keys
    dubbo.metadata.revision = r1

inventory-b
  id         uid-inventory-b
  metadata   none: the instance has registered nothing

inventory-c
  id         uid-inventory-c
  revision   r1
  kept       it is not ready, and is called all the same until 2026-11-20T12:10:00Z at the latest: 2 of 3 instances were lost at once, and nothing proves that they are gone
  metadata   1 keys
    dubbo.metadata.revision = r1
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestChanges(t *testing.T) {
	ready := instance("a", nil)
	for name, c := range map[string]struct {
		old, now registry.Snapshot
		want     string
	}{
		"nothing": {snapshot(ready), snapshot(ready), ""},
		"joined": {
			snapshot(ready), snapshot(ready, instance("b", func(i *registry.Instance) { i.Health = registry.NotReady })),
			"+ b 10.0.0.1  not called: not ready  (1 of 2 callable)",
		},
		"became ready": {
			snapshot(instance("a", func(i *registry.Instance) { i.Health = registry.NotReady })), snapshot(ready),
			"~ a 10.0.0.1  called  (1 of 1 callable)",
		},
		"terminating": {
			snapshot(ready), snapshot(instance("a", func(i *registry.Instance) { i.Health = registry.Terminating })),
			"~ a 10.0.0.1  not called: terminating  (0 of 1 callable)",
		},
		"kept": {
			snapshot(ready), snapshot(instance("a", func(i *registry.Instance) {
				i.Health, i.Kept = registry.NotReady, &registry.Kept{Because: registry.KeptNotReady, Lost: 1, Of: 1}
			})),
			"~ a 10.0.0.1  kept: called though it is not ready, since 1 of 1 was lost at once  (1 of 1 callable)",
		},
		"left": {snapshot(ready), snapshot(), "- a 10.0.0.1  gone  (0 of 0 callable)"},
		"new revision and port": {
			snapshot(ready), snapshot(instance("a", func(i *registry.Instance) {
				i.Revision, i.Endpoints = "r2", []registry.Endpoint{{Protocol: "tri", Port: 20001}}
			})),
			"~ a 10.0.0.1  speaks dubbo:20000 → tri:20001, revision r1 → r2  (1 of 1 callable)",
		},
		"metadata only": {
			snapshot(ready), snapshot(instance("a", func(i *registry.Instance) { i.Metadata = map[string]string{"k": "v"} })),
			"~ a 10.0.0.1  metadata changed: dubbo.metadata.revision, k  (1 of 1 callable)",
		},
		"mode": {
			snapshot(ready), func() registry.Snapshot { s := snapshot(ready); s.Mode = registry.ModeService; return s }(),
			"= mode pod → service",
		},
		"stale": {
			snapshot(ready), func() registry.Snapshot { s := snapshot(ready); s.StaleSince = noon; return s }(),
			"! stale since 12:00:00: the API server does not answer; the last state known stands",
		},
		"fresh": {
			func() registry.Snapshot { s := snapshot(ready); s.StaleSince = noon; return s }(), snapshot(ready),
			"! the API server answers again; this is the present state",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, c := range view.Changes(&c.old, c.now) {
				lines = append(lines, strings.TrimPrefix(c.Line(), "12:00:00  shop/inventory     "))
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestFirstSightOfAnApplication(t *testing.T) {
	changes := view.Changes(nil, snapshot(instance("b", nil), instance("a", nil)))
	var kinds []string
	for _, c := range changes {
		kinds = append(kinds, c.Kind+" "+c.Instance)
	}
	if got, want := strings.Join(kinds, ", "), "app , joined a, joined b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEncode(t *testing.T) {
	for format, want := range map[view.Format]string{
		view.JSON: "{\n  \"a\": 1\n}\n",
		view.YAML: "a: 1\n",
	} {
		var out strings.Builder
		if err := view.Encode(&out, format, map[string]int{"a": 1}); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%s: got %q", format, out.String())
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB", 1 << 50: "1024.0 TiB"} {
		if got := view.Bytes(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestAnExplanationBeginsWithTheOutcome(t *testing.T) {
	tell := func(change func(*registry.Instance)) string {
		s := snapshot(instance("inventory-a", change))
		i := &s.Instances[0]
		var out strings.Builder
		e := view.Explanation{App: s.App, Instance: i.Name, ID: i.ID, Callable: i.Callable(), Why: i.Why(), Explain: s.Explain(i, nil)}
		if err := view.WriteExplanation(&out, e); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for want, change := range map[string]func(*registry.Instance){
		"inventory-a of shop/inventory is called\n\nCHECK                           HOLDS   SAYS\nin touch with the API server    yes     -\n": nil,
		"inventory-a of shop/inventory is not called: not ready\n":                                                                             func(i *registry.Instance) { i.Health = registry.NotReady },
		"inventory-a of shop/inventory is called over HTTP; Dubbo consumers leave it out\n":                                                    func(i *registry.Instance) { i.Metadata = nil },
	} {
		if got := tell(change); !strings.HasPrefix(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}
