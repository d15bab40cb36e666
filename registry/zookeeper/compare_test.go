package zookeeper

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

var inventory = registry.App{Namespace: "shop", Name: "inventory"}

// kubernetes is an application with instances at 10.0.0.1 and on, which offer Stock
// over Dubbo at 20000.
func kubernetes(n int, change ...func(*Known)) Known {
	k := Known{
		Snapshot:  registry.Snapshot{App: inventory, Service: registry.Service{Host: "inventory.shop.svc"}},
		Documents: map[string]registry.Document{"r1": {Offers: []registry.Offer{{Interface: registry.Interface{Name: "org.example.Stock", Version: "1.0.0"}, Protocol: "dubbo"}}}},
	}
	for i := range n {
		k.Snapshot.Instances = append(k.Snapshot.Instances, registry.Instance{
			ID: fmt.Sprint(i), Name: fmt.Sprintf("inventory-%d", i), Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Health: registry.Ready, Revision: "r1",
			Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}}, Metadata: map[string]string{"x": "y"}, Details: registry.Details{Weight: 100},
		})
	}
	for _, f := range change {
		f(&k)
	}
	return k
}

func providing(host string, change ...func(*Provider)) Provider {
	p := Provider{
		Interface: registry.Interface{Name: "org.example.Stock", Version: "1.0.0"},
		Address:   Address{Protocol: "dubbo", Host: host, Port: 20000}, App: "inventory", Weight: 100,
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func TestCompare(t *testing.T) {
	t.Parallel()
	by := func(providers ...Provider) *AppState { return &AppState{Providers: providers} }
	both := []Provider{providing("10.0.0.1"), providing("10.0.0.2")}
	for name, c := range map[string]struct {
		zookeeper  *AppState
		kubernetes Known
		verdict    Verdict
		says       []string // parts of the text of all that was found
		silent     string   // and what is not in it
	}{
		"the same":                {by(both...), kubernetes(2), Ready, []string{"2 addresses, 1 interfaces"}, "only"},
		"more in Kubernetes":      {by(both[0]), kubernetes(2), Ready, []string{"+dubbo://10.0.0.2:20000 inventory-1"}, "-dubbo"},
		"only in ZooKeeper":       {by(append(both, providing("10.0.0.9"))...), kubernetes(2), NotReady, []string{"-dubbo://10.0.0.9:20000", "no pod of the Service has this address"}, ""},
		"not ready in Kubernetes": {by(both...), kubernetes(2, func(k *Known) { k.Snapshot.Instances[1].Health = registry.NotReady }), NotReady, []string{"-dubbo://10.0.0.2:20000 inventory-1", "it is not called: not ready"}, ""},
		"registered nothing":      {by(both...), kubernetes(2, func(k *Known) { k.Snapshot.Instances[1].Endpoints, k.Snapshot.Instances[1].Metadata = nil, nil }), NotReady, []string{"inventory-1 has this address and registered nothing"}, ""},
		"another port":            {by(both[0], providing("10.0.0.2", func(p *Provider) { p.Port = 20880 })), kubernetes(2), NotReady, []string{"port 20880|20000"}, "only"},
		"another protocol":        {by(both[0], providing("10.0.0.2", func(p *Provider) { p.Protocol = "tri" })), kubernetes(2), NotReady, []string{"protocol tri|dubbo"}, "only"},
		"another version":         {by(both[0], providing("10.0.0.2", func(p *Provider) { p.Version = "" })), kubernetes(2), NotReady, []string{"version |1.0.0"}, "only"},
		"another group":           {by(both[0], providing("10.0.0.2", func(p *Provider) { p.Group = "b" })), kubernetes(2), NotReady, []string{"group b|"}, "only"},
		"another weight":          {by(both[0], providing("10.0.0.2", func(p *Provider) { p.Weight = 10 })), kubernetes(2), NotReady, []string{"weight 10|100"}, "only"},
		"a service's own weight in both": {
			by(providing("10.0.0.1", func(p *Provider) { p.Weight = 30 })),
			kubernetes(1, func(k *Known) { own := 30; k.Documents["r1"].Offers[0].Weight = &own }), Ready, nil, "differ",
		},
		"a service's own weight, which an instance overrides in Kubernetes": {
			by(providing("10.0.0.1", func(p *Provider) { p.Weight = 30 })),
			kubernetes(1, func(k *Known) {
				own := 30
				k.Documents["r1"].Offers[0].Weight, k.Snapshot.Instances[0].Details.Weight = &own, 70
			}), NotReady, []string{"weight 30|70"}, "only",
		},
		"disabled in ZooKeeper":                     {by(both[0], providing("10.0.0.2", func(p *Provider) { p.Disabled = true })), kubernetes(2), NotReady, []string{"~dubbo://10.0.0.2:20000 use disabled|called"}, "only"},
		"disabled in ZooKeeper, none in Kubernetes": {by(both[0], providing("10.0.0.9", func(p *Provider) { p.Disabled = true })), kubernetes(1), Ready, nil, "10.0.0.9"},
		"another interface":                         {by(both[0], both[1], providing("10.0.0.2", func(p *Provider) { p.Name = "org.example.Old" })), kubernetes(2), NotReady, []string{"-dubbo://10.0.0.2:20000 org.example.Old:1.0.0 inventory-1", "does not offer it"}, ""},
		"nothing in Kubernetes":                     {by(both...), Known{Snapshot: registry.Snapshot{App: inventory}}, Missing, []string{"Kubernetes has no Service shop/inventory"}, ""},
		"nothing in ZooKeeper":                      {nil, kubernetes(2), Left, []string{"no provider of it any more"}, "bridge"},
		"what the bridge writes":                    {by(providing("10.0.0.1", func(p *Provider) { p.Bridge = "b" })), kubernetes(2), Left, []string{"but what the bridge writes"}, ""},
		"nothing anywhere":                          {nil, Known{Snapshot: registry.Snapshot{App: inventory}}, Missing, []string{"neither registry"}, ""},
		"Dubbo's other word for none":               {by(providing("10.0.0.1", func(p *Provider) { p.Version = "" })), kubernetes(1, func(k *Known) { k.Documents["r1"].Offers[0].Version = "0.0.0" }), Ready, nil, "differ"},
		"documents that are not stored": {
			by(both...), kubernetes(2, func(k *Known) {
				k.Documents["r1"] = registry.Document{Err: &registry.Error{Code: registry.NotFound, Message: "no document of revision r1"}}
			}),
			Unproven, []string{"!which interfaces inventory-0 offers is not known in Kubernetes", "no document of revision r1"}, "only",
		},
		"by application, as Dubbo Java writes it": {
			&AppState{Instances: []Instance{{App: "inventory", Host: "10.0.0.1", Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}}, Revision: "z"}}},
			kubernetes(1), Unproven, []string{"!which interfaces are offered is in no metadata in ZooKeeper", "application"}, "only",
		},
		"by application, with its metadata": {
			&AppState{
				Instances: []Instance{{App: "inventory", Host: "10.0.0.1", Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}}, Revision: "z"}},
				Offers: map[string][]registry.Offer{"z": {
					{Interface: registry.Interface{Name: "org.example.Stock", Version: "2.0.0"}, Protocol: "dubbo"},
					{Interface: registry.Interface{Name: "org.apache.dubbo.metadata.MetadataService"}, Protocol: "dubbo"},
				}},
			},
			kubernetes(1), NotReady, []string{"version 2.0.0|1.0.0"}, "!",
		},
		"a node that names a port alone": {
			&AppState{Instances: []Instance{{App: "inventory", Host: "10.0.0.1", Endpoints: []registry.Endpoint{{Port: 20000}}}}},
			kubernetes(1), Unproven, []string{"!what is spoken at a port is in no node in ZooKeeper"}, "only",
		},
		"standing by for another cluster": {
			by(both...), kubernetes(2, func(k *Known) { k.Snapshot.Instances[1].Standby = "those of cluster west are called in its place" }), Ready, []string{"2 addresses"}, "only",
		},
		"standing by, and of another version": {
			by(both[0], providing("10.0.0.2", func(p *Provider) { p.Version = "" })),
			kubernetes(2, func(k *Known) { k.Snapshot.Instances[1].Standby = "those of cluster west are called in its place" }), NotReady, []string{"version |1.0.0"}, "only",
		},
		"of another cluster that is not named": {by(append(both, providing("10.1.0.9"))...), kubernetes(2), NotReady, []string{"if it is one of another cluster, name that by --clusters"}, ""},
		"Kubernetes out of touch":              {by(both...), kubernetes(2, func(k *Known) { k.Snapshot.StaleSince = time.Unix(1730000000, 0) }), NotReady, []string{"Kubernetes has not answered since 2024-10-27T03:33:20Z"}, "only"},
		"another path":                         {by(providing("10.0.0.1", func(p *Provider) { p.Path = "shop/org.example.Stock" })), kubernetes(1), NotReady, []string{"path shop/org.example.Stock|org.example.Stock"}, "only"},
		"the same path":                        {by(providing("10.0.0.1", func(p *Provider) { p.Path = "stock" })), kubernetes(1, func(k *Known) { k.Documents["r1"].Offers[0].Path = "/stock" }), Ready, nil, "differ"},
		"another serialization":                {by(providing("10.0.0.1", func(p *Provider) { p.Params = map[string]string{"serialization": "fastjson2"} })), kubernetes(1), NotReady, []string{"serialization fastjson2|hessian2"}, "only"},
		"the default serialization, said":      {by(providing("10.0.0.1", func(p *Provider) { p.Params = map[string]string{"serialization": "hessian2"} })), kubernetes(1), Ready, nil, "differ"},
		"another tag":                          {by(providing("10.0.0.1", func(p *Provider) { p.Params = map[string]string{registry.KeyTag: "gray"} })), kubernetes(1), NotReady, []string{"tag gray|"}, "only"},
		"the same tag":                         {by(providing("10.0.0.1", func(p *Provider) { p.Params = map[string]string{registry.KeyTag: "gray"} })), kubernetes(1, func(k *Known) { k.Snapshot.Instances[0].Details.Tag = "gray" }), Ready, nil, "differ"},
		"an instance that leaves its port to its document": {
			by(both[0]), kubernetes(1, func(k *Known) { k.Snapshot.Instances[0].Endpoints, k.Documents["r1"].Offers[0].Port = nil, 20000 }), Ready, nil, "only",
		},
	} {
		d := Compare(inventory, c.zookeeper, nil, c.kubernetes)
		text := written(d)
		if d.Verdict != c.verdict || c.silent != "" && strings.Contains(text, c.silent) {
			t.Errorf("%s: %s\n%s", name, d.Verdict, text)
		}
		for _, want := range c.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, text)
			}
		}
	}
}

// written is all that was found.
func written(d Difference) string {
	var b strings.Builder
	fmt.Fprintln(&b, d.Why, d.ZooKeeper.Kept)
	fmt.Fprintf(&b, "%d addresses, %d interfaces\n", d.ZooKeeper.Addresses, d.ZooKeeper.Interfaces)
	entry := func(kind string, e Entry) {
		fmt.Fprintln(&b, strings.Join(strings.Fields(kind+e.Address.String()+" "+e.Interface+" "+e.Instance+" "+e.Why), " "))
	}
	for _, e := range d.OnlyZooKeeper {
		entry("-", e)
	}
	for _, e := range d.OnlyKubernetes {
		entry("+", e)
	}
	for _, m := range d.Differing {
		fmt.Fprintf(&b, "~%s %s %s|%s\n", m.Address, m.Field, m.ZooKeeper, m.Kubernetes)
	}
	for _, n := range d.Notes {
		fmt.Fprintln(&b, "!"+n)
	}
	return b.String()
}

func TestConsumersAreCountedByProcess(t *testing.T) {
	t.Parallel()
	stock := registry.Interface{Name: "org.example.Stock"}
	d := Compare(inventory, &AppState{Consumers: []Consumer{
		{stock, "orders", "10.0.1.1"}, {registry.Interface{Name: "org.example.Other"}, "orders", "10.0.1.1"}, {stock, "orders", "10.0.1.2"}, {stock, "", "10.0.1.3"},
	}}, nil, kubernetes(1))
	if got := fmt.Sprint(d.Consumers); got != "[{(unnamed) 1} {orders 2}]" {
		t.Error(got)
	}
}

// What could not be read may be the application's: of what it is known to provide, and
// of anything where that is not known.
func TestWhatCannotBeReadIsNobodysProof(t *testing.T) {
	t.Parallel()
	stock, other := Unread{Node: "/dubbo/org.example.Stock/providers/x", Interface: "org.example.Stock"}, Unread{Node: "/dubbo/org.example.Other/providers", Interface: "org.example.Other"}
	local := func(k *Known) {
		k.Documents["r1"] = registry.Document{Err: &registry.Error{Code: registry.NotFound, Message: "no document"}}
	}
	aside := stock
	aside.Aside = true
	for name, c := range map[string]struct {
		z      *AppState
		unread Unread
		k      Known
		want   Verdict
	}{
		"of its interface":                           {&AppState{Providers: []Provider{providing("10.0.0.1")}}, stock, kubernetes(1), NotReady},
		"of another's":                               {&AppState{Providers: []Provider{providing("10.0.0.1")}}, other, kubernetes(1), Ready},
		"all that ZooKeeper has":                     {nil, stock, kubernetes(1), NotReady},
		"all, and another's":                         {nil, other, kubernetes(1), Left},
		"all, where neither says what it offers":     {nil, other, kubernetes(1, local), NotReady},
		"consumers":                                  {&AppState{Providers: []Provider{providing("10.0.0.1")}}, aside, kubernetes(1), Ready},
		"what stands below the application":          {nil, Unread{App: "inventory"}, kubernetes(1), NotReady},
		"what stands below another application":      {nil, Unread{App: "orders"}, kubernetes(1, local), Left},
		"of an interface that ZooKeeper alone knows": {&AppState{Providers: []Provider{providing("10.0.0.1", func(p *Provider) { p.Name = "org.example.Other" })}}, other, kubernetes(1), NotReady},
	} {
		d := Compare(inventory, c.z, []Unread{c.unread}, c.k)
		if d.Verdict != c.want || (d.Verdict == NotReady) != strings.Contains(d.Why, "cannot be read") || c.unread.Aside != (len(d.Notes) > 0 && strings.Contains(d.Notes[0], "consumers or rules")) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
