package clusters

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

var inventory = registry.App{Namespace: "shop", Name: "inventory"}

// parts reads "east: a/z1 b/z2! | west: c/z1": the clusters with their instances and
// the zones of these. What ends in ! is not ready, in ?! is kept though it is not
// ready, in ~ leaves, in # is dead. A cluster
// that says ? has not spoken.
func parts(text string) (names []string, out []part) {
	for cluster := range strings.SplitSeq(text, "|") {
		name, list, _ := strings.Cut(strings.TrimSpace(cluster), ":")
		p := part{known: true, s: registry.Snapshot{App: inventory, Mode: registry.ModePod}}
		for word := range strings.FieldsSeq(list) {
			if word == "?" {
				p.known = false
				continue
			}
			i := registry.Instance{Health: registry.Ready}
			if rest, ok := strings.CutSuffix(word, "?!"); ok {
				word, i.Health, i.Kept = rest, registry.NotReady, &registry.Kept{}
			}
			for c, health := range map[string]registry.Health{"!": registry.NotReady, "~": registry.Terminating} {
				if rest, ok := strings.CutSuffix(word, c); ok {
					word, i.Health = rest, health
				}
			}
			rest, dead := strings.CutSuffix(word, "#")
			i.ID, i.Zone, _ = strings.Cut(rest, "/")
			if dead {
				if p.dead == nil {
					p.dead = map[string]bool{}
				}
				p.dead[i.ID] = true
			}
			p.s.Instances = append(p.s.Instances, i)
		}
		names, out = append(names, name), append(out, p)
	}
	return names, out
}

func newRegistry(names []string, cfg Config) *Registry {
	r := &Registry{cfg: cfg}
	for n, name := range names {
		r.members = append(r.members, Member{Name: name, Priority: n})
	}
	return r
}

func called(s *registry.Snapshot) string {
	var out []string
	for _, i := range s.Callable() {
		out = append(out, i.ID)
	}
	return strings.Join(out, " ")
}

func TestChoice(t *testing.T) {
	now := time.Unix(1000, 0)
	half, none := 50, 0
	for name, c := range map[string]struct {
		parts  string
		cfg    Config
		prefer *registry.Preference
		zone   string
		want   string
	}{
		"the first cluster is called alone":        {parts: "east: a b | west: c", want: "a b"},
		"also with one instance of many":           {parts: "east: a b! c! d! | west: e", want: "a"},
		"the next where it has none ready":         {parts: "east: a! b! | west: c | north: d", want: "c"},
		"the next where it has none":               {parts: "east: | west: c", want: "c"},
		"the third where two have none":            {parts: "east: | west: c! | north: d", want: "d"},
		"the next where nothing is known of it":    {parts: "east: ? | west: c", want: "c"},
		"helped where it has too few":              {parts: "east: a b! c! | west: d", cfg: Config{ClusterPercent: 50}, want: "a d"},
		"not helped where it has half":             {parts: "east: a b! | west: d", cfg: Config{ClusterPercent: 50}, want: "a"},
		"those that leave are not missed":          {parts: "east: a b~ c~ | west: d", cfg: Config{ClusterPercent: 50}, want: "a"},
		"all where none has enough":                {parts: "east: a b! c! | west: d e! f!", cfg: Config{ClusterPercent: 50}, want: "a d"},
		"a policy's order":                         {parts: "east: a | west: b | north: c", prefer: &registry.Preference{Clusters: []string{"north", "west"}}, want: "c"},
		"others come after a policy's order":       {parts: "east: a | west: b | north: c!", prefer: &registry.Preference{Clusters: []string{"north"}}, want: "a"},
		"a policy's share":                         {parts: "east: a b! c! | west: d", prefer: &registry.Preference{ClusterPercent: &half}, want: "a d"},
		"a policy may ask for none":                {parts: "east: a b! c! | west: d", cfg: Config{ClusterPercent: 50}, prefer: &registry.Preference{ClusterPercent: &none}, want: "a"},
		"the own zone":                             {parts: "east: a/1 b/2 | west: c/1", cfg: Config{ZonePercent: 50}, zone: "1", want: "a"},
		"the cluster comes before the zone":        {parts: "east: a/2 | west: c/1", cfg: Config{ZonePercent: 50}, zone: "1", want: "a"},
		"all zones where the own has too few":      {parts: "east: a/1 b/2 c/2 d/2 e/2", cfg: Config{ZonePercent: 50}, zone: "1", want: "a b c d e"},
		"all zones where the own has none":         {parts: "east: a/2 b/3", cfg: Config{ZonePercent: 50}, zone: "1", want: "a b"},
		"zones by a policy alone":                  {parts: "east: a/1 b/2", prefer: &registry.Preference{ZonePercent: &half}, zone: "1", want: "a"},
		"zones not by a policy":                    {parts: "east: a/1 b/2", cfg: Config{ZonePercent: 50}, prefer: &registry.Preference{ZonePercent: &none}, zone: "1", want: "a b"},
		"a zone over the clusters that are called": {parts: "east: a/1 b/2 c/1! d/1! | west: e/1 f/2", cfg: Config{ClusterPercent: 60, ZonePercent: 50}, zone: "1", want: "a e"},
		"the dead come last":                       {parts: "east: a b# | west: c", want: "a"},
		"the dead make a cluster have none":        {parts: "east: a# b# | west: c", want: "c"},
		"the kept are called":                      {parts: "east: a b?! | west: c", want: "a b"},
		"others help where all are kept":           {parts: "east: a?! b?! | west: c", want: "c"},
		"the kept are better than nothing":         {parts: "east: a?! b?! | west: c!", want: "a b"},
		"the kept do not count":                    {parts: "east: a b?! c?! | west: d", cfg: Config{ClusterPercent: 50}, want: "a d"},
		"the dead are better than nothing":         {parts: "east: a# b# | west: c!", want: "a b"},
		"the kept of all, where all are kept":      {parts: "east: a?! b?! | west: c?!", want: "a b c"},
		"the kept before the dead":                 {parts: "east: a# b# | west: c?!", want: "c"},
		"no kept of the last where others are well": {
			parts: "east: a b?! c?! | west: d e?! f?!", cfg: Config{ClusterPercent: 50}, want: "a d",
		},
		"not the own zone where it is kept alone": {parts: "east: a/1?! b/1?! c/1?! d/2 e/2", cfg: Config{ZonePercent: 50}, zone: "1", want: "a b c d e"},
		"the own zone where all are kept":         {parts: "east: a/1?! b/2?!", cfg: Config{ZonePercent: 50}, zone: "1", want: "a"},
		"the kept of the own zone with the well":  {parts: "east: a/1 b/1?! c/2", cfg: Config{ZonePercent: 50}, zone: "1", want: "a b"},
	} {
		names, ps := parts(c.parts)
		ps[0].s.Prefer = c.prefer
		got := newRegistry(names, c.cfg).choose(inventory, ps, standing{}, c.zone, now).snapshot
		if called(&got) != c.want {
			t.Errorf("%s: %s: %q is called, want %q", name, c.parts, called(&got), c.want)
		}
		for _, i := range got.Instances {
			if i.Cluster == "" || i.Health == registry.Ready && !i.Callable() && (!i.StandsBy() || i.Why() == "") {
				t.Errorf("%s: %+v is neither called nor stands by", name, i)
			}
		}
	}
}

// Clusters of one priority are as one.
func TestClustersThatCountAlike(t *testing.T) {
	names, ps := parts("east: a/1 b/2 | west: c/1 d/2 | north: e/1")
	r := newRegistry(names, Config{ZonePercent: 50})
	r.members[1].Priority = 0
	now := time.Unix(1000, 0)
	for zone, want := range map[string]string{"": "a b c d", "1": "a c"} {
		got := r.choose(inventory, ps, standing{}, zone, now).snapshot
		if called(&got) != want {
			t.Errorf("zone %q: %q is called, want %q", zone, called(&got), want)
		}
	}
}

// More clusters are called at once, less of them when that has lasted.
func TestReturnTakesItsTime(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newRegistry([]string{"east", "west"}, Config{ReturnAfter: 30 * time.Second})
	var at standing
	step := func(after time.Duration, text, want string) {
		t.Helper()
		now = now.Add(after)
		_, ps := parts(text)
		c := r.choose(inventory, ps, at, "", now)
		at = c.standing
		if got := called(&c.snapshot); got != want {
			t.Errorf("%s: %q is called, want %q", text, got, want)
		}
		if waits := strings.Contains(want, "a") && strings.Contains(want, "c"); waits == c.again.IsZero() {
			t.Errorf("%s: looked at again %v", text, c.again)
		}
	}
	step(0, "east: a b | west: c", "a b")
	step(time.Second, "east: a! b! | west: c", "c")
	step(time.Second, "east: a b! | west: c", "a c")
	step(20*time.Second, "east: a! b! | west: c", "c") // it was not to last
	step(20*time.Second, "east: a b | west: c", "a b c")
	step(29*time.Second, "east: a b | west: c", "a b c")
	step(time.Second, "east: a b | west: c", "a b")
	// Another order of the clusters holds at once.
	r.members[0].Priority = 5
	step(0, "east: a b | west: c", "c")
}

func TestServicesOfOtherClusters(t *testing.T) {
	names, ps := parts("east: a! | west: b")
	for i := range ps {
		ps[i].s.Service = registry.Service{Host: "inventory.shop.svc", Ports: []registry.ServicePort{{Port: 80, Target: uint16(8080 + i)}}, Govern: &registry.Govern{}}
	}
	r := newRegistry(names, Config{})
	now := time.Unix(1000, 0)
	got := r.choose(inventory, ps, standing{}, "", now).snapshot.Service
	if got.Host != "" || got.Ports[0].Target != 8081 {
		t.Errorf("a name that only west knows is called: %+v", got)
	}
	r.members[1].ServiceDomain = "svc.west.example.com"
	if got = r.choose(inventory, ps, standing{}, "", now).snapshot.Service; got.Host != "inventory.shop.svc.west.example.com" || got.Govern != nil {
		t.Errorf("%+v", got)
	}
	ps[0].s.Instances[0].Health = registry.Ready
	if got = r.choose(inventory, ps, standing{}, "", now).snapshot.Service; got.Host != "inventory.shop.svc" || got.Ports[0].Target != 8080 {
		t.Errorf("%+v", got)
	}
}

// Addresses without a pod are known by the address, which two clusters may both have.
func TestInstancesStayApart(t *testing.T) {
	names, ps := parts("east: address:10.0.0.1 | west: address:10.0.0.1")
	got := newRegistry(names, Config{}).choose(inventory, ps, standing{}, "", time.Unix(1000, 0)).snapshot
	var ids []string
	for _, i := range got.Instances {
		ids = append(ids, i.ID)
	}
	if !slices.Equal(ids, []string{"address:10.0.0.1", "west/address:10.0.0.1"}) {
		t.Errorf("%q", ids)
	}
}

// What an instance is called depends neither on who else is there, nor on the order
// of the clusters: it would seem to be another one.
func TestAnInstanceKeepsItsID(t *testing.T) {
	for _, text := range []string{"east: address:10.0.0.1 same | west: address:10.0.0.1 same", "east: | west: address:10.0.0.1"} {
		for _, first := range []string{"east", "west"} {
			names, ps := parts(text)
			ps[0].s.Prefer = &registry.Preference{Clusters: []string{first}}
			got := newRegistry(names, Config{}).choose(inventory, ps, standing{}, "", time.Unix(1000, 0)).snapshot
			for _, i := range got.Instances {
				if named := strings.HasPrefix(i.ID, "west/"); named != (i.Cluster == "west") {
					t.Errorf("%s, %s first: the ID of one of %s is %s", text, first, i.Cluster, i.ID)
				}
			}
		}
	}
}

// An application that lives in another cluster alone is called as it asks for there;
// one that lives at home as well, as it asks for at home.
func TestModeOfWhereItLives(t *testing.T) {
	for text, want := range map[string]registry.Mode{
		"east: | west: a": registry.ModeService, "east: b | west: a": registry.ModePod, "east: ? | west: a": registry.ModeService,
	} {
		names, ps := parts(text)
		ps[1].s.Mode, ps[1].s.ModeFrom = registry.ModeService, "the Service's annotation"
		r := newRegistry(names, Config{})
		if got := r.choose(inventory, ps, standing{}, "", time.Unix(1000, 0)).snapshot; got.Mode != want {
			t.Errorf("%s: mode %s (%s), want %s", text, got.Mode, got.ModeFrom, want)
		}
	}
	names, ps := parts("east: | west: a")
	ps[0].s.Mode, ps[0].s.ModeFrom = registry.ModeService, "DiscoveryPolicy shop/all"
	if got := newRegistry(names, Config{}).choose(inventory, ps, standing{}, "", time.Unix(1000, 0)).snapshot; got.Mode != registry.ModeService {
		t.Errorf("a policy at home does not hold: %s", got.Mode)
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, count := range []int{100, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var east, west strings.Builder
			for n := range count / 2 {
				fmt.Fprintf(&east, " e%d/z%d", n, n%3)
				fmt.Fprintf(&west, " w%d/z%d", n, n%3)
			}
			names, ps := parts("east:" + east.String() + "| west:" + west.String())
			r := newRegistry(names, Config{ZonePercent: 50})
			b.ReportAllocs()
			for b.Loop() {
				r.choose(inventory, ps, standing{}, "z1", time.Unix(1000, 0))
			}
		})
	}
}
