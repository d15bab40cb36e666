package zookeeper

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Known is what Kubernetes knows of an application.
type Known struct {
	Snapshot registry.Snapshot
	// Documents tell what its revisions offer, those of its instances.
	Documents map[string]registry.Document
}

// Difference is what the two registries say of an application, set against each
// other.
type Difference struct {
	App        registry.App `json:"app"`
	Verdict    Verdict      `json:"verdict"`
	Why        string       `json:"why"`
	ZooKeeper  Holding      `json:"zookeeper"`
	Kubernetes Holding      `json:"kubernetes"`
	// OnlyZooKeeper is what consumers would lose by going over.
	OnlyZooKeeper  []Entry    `json:"onlyZookeeper,omitempty"`
	OnlyKubernetes []Entry    `json:"onlyKubernetes,omitempty"`
	Differing      []Mismatch `json:"differing,omitempty"`
	// Consumers are those that say in ZooKeeper that they look there for an
	// interface of the application; those that look by application say nothing.
	Consumers []Looker `json:"consumers,omitempty"`
	// Rules are those in ZooKeeper for the application or its interfaces. Who calls by
	// Kubernetes does not know of them.
	Rules []Rule `json:"rules,omitempty"`
	// Notes are what could not be compared, and why.
	Notes []string `json:"notes,omitempty"`

	unproven bool      // interfaces could not be compared at an address
	unread   int       // nodes in ZooKeeper that could not be read, and may be its
	stale    time.Time // since when Kubernetes has been out of touch
}

// Holding is how much a registry holds of an application.
type Holding struct {
	// Addresses are what can be called: protocols at ports of instances.
	Addresses int `json:"addresses"`
	// Interfaces are those that are known to be offered; 0 where that is not known.
	Interfaces int `json:"interfaces"`
	// Kept says how ZooKeeper keeps it: "application", "interface"; and whether a
	// "bridge" writes it, which counts for nothing else here.
	Kept []string `json:"kept,omitempty"`
}

// Verdict is whether an application's consumers can go over to Kubernetes.
type Verdict string

// Verdicts of a comparison.
const (
	// Ready: all that ZooKeeper has can be called by Kubernetes, too, and is the same.
	Ready Verdict = "ready"
	// NotReady: consumers would lose something, or find it otherwise.
	NotReady Verdict = "not-ready"
	// Missing: Kubernetes has nothing of it that can be called.
	Missing Verdict = "missing"
	// Unproven: all addresses are the same, but which interfaces are offered there one
	// of the two does not say.
	Unproven Verdict = "unproven"
	// Left: ZooKeeper has nothing of it any more.
	Left Verdict = "left"
)

// Good reports whether nothing keeps the application's consumers from calling by
// Kubernetes alone.
func (v Verdict) Good() bool { return v == Ready || v == Left }

// Entry is an address, or an interface at it, that only one of the two has.
type Entry struct {
	Address
	// Interface is empty where the address as a whole is meant.
	Interface string `json:"interface,omitempty"`
	Instance  string `json:"instance,omitempty"` // the pod, where it is known
	// Why says what is known of the other side's lack.
	Why string `json:"why,omitempty"`
}

// Mismatch is a field in which the two differ.
type Mismatch struct {
	Entry
	Field      string `json:"field"` // port, protocol, version, group, weight, use, path, serialization, tag
	ZooKeeper  string `json:"zookeeper"`
	Kubernetes string `json:"kubernetes"`
}

// Looker is an application that looks in ZooKeeper.
type Looker struct {
	App       string `json:"app"`
	Processes int    `json:"processes"`
}

// offered is what one side has at an address.
type offered struct {
	instance   *registry.Instance // Kubernetes only
	interfaces map[registry.Interface]terms
	// known is unset where nobody says which interfaces are offered there.
	known bool
}

// Compare sets what ZooKeeper holds of an application against what Kubernetes does;
// z is nil where ZooKeeper holds nothing. unread are the nodes of all applications that
// could not be read.
func Compare(app registry.App, z *AppState, unread []Unread, k Known) Difference {
	d := Difference{App: app, stale: k.Snapshot.StaleSince}
	if z == nil {
		z = &AppState{}
	}
	d.missed(z, unread, k)
	there, here := d.readZooKeeper(z), d.readKubernetes(k)
	d.compareAddresses(there, here, k)
	for _, at := range sortedAddresses(there) {
		if mine := here[at]; mine != nil && reachable(mine.instance) {
			d.compareInterfaces(at, there[at], mine)
		}
	}
	d.lookers(z.Consumers)
	d.Rules = z.Rules
	d.judge()
	return d
}

// terms are on what an interface is called at an address.
type terms struct {
	weight                   int
	path, serialization, tag string
}

// missed counts what could not be read and may be the application's: of an interface
// that it provides by either registry, or of any where neither says which it provides.
func (d *Difference) missed(z *AppState, unread []Unread, k Known) {
	provides, known := z.provides(), false
	for _, document := range k.Documents {
		known = known || document.Err == nil
		for _, offer := range document.Offers {
			provides[offer.Name] = true
		}
	}
	if len(provides) == 0 && !known {
		provides = nil
	}
	for _, u := range unread {
		switch {
		case !u.concerns(d.App.Name, provides):
		case u.Aside:
			d.note(u.Node + " in ZooKeeper cannot be read, so consumers or rules may be missing here")
		default:
			d.unread++
		}
	}
}

// reachable reports whether consumers on Kubernetes call an instance, or would if
// nearer ones were gone.
func reachable(i *registry.Instance) bool { return i.Callable() || i.StandsBy() }

func (d *Difference) readZooKeeper(z *AppState) map[Address]*offered {
	out := map[Address]*offered{}
	at := func(a Address) *offered {
		o := out[a]
		if o == nil {
			o = &offered{interfaces: map[registry.Interface]terms{}}
			out[a] = o
		}
		return o
	}
	all := map[registry.Interface]bool{}
	for _, p := range z.Providers {
		if p.Bridge != "" {
			d.kept("bridge")
			continue
		}
		d.kept("interface")
		o := at(p.Address)
		o.known = true
		on := newTerms(p.Interface, p.Protocol, p.Path, p.Params["serialization"], p.Params[registry.KeyTag])
		if on.weight = p.Weight; p.Disabled {
			on.weight = notCalled
		}
		o.interfaces[p.Interface] = on
		all[p.Interface] = true
	}
	for _, i := range z.Instances {
		d.kept("application")
		offers, stored := z.Offers[i.Revision]
		for _, e := range i.Endpoints {
			o := at(Address{Protocol: e.Protocol, Host: i.Host, Port: e.Port})
			for _, offer := range offers {
				if !speaks(offer, e) {
					continue
				}
				iface := plainInterface(offer.Interface)
				if _, ours := o.interfaces[iface]; !ours {
					on := newTerms(iface, e.Protocol, offer.Path, offer.Serialization, i.Tag)
					if on.weight = noWeight; offer.Weight != nil {
						on.weight = *offer.Weight
					}
					o.interfaces[iface] = on
				}
				all[iface] = true
			}
			o.known = o.known || stored
		}
	}
	slices.Sort(d.ZooKeeper.Kept)
	d.ZooKeeper.Addresses, d.ZooKeeper.Interfaces = len(out), len(all)
	return out
}

// speaks reports whether an interface is offered at an endpoint, and is not one of
// Dubbo's own.
func speaks(o registry.Offer, e registry.Endpoint) bool {
	return (o.Protocol == "" || o.Protocol == e.Protocol) && !slices.Contains(ownInterfaces, o.Name)
}

// In place of a weight: noWeight is that of an entry that says nothing of its weight,
// notCalled that of one which consumers leave out.
const (
	noWeight  = -1
	notCalled = -2
)

// idle reports whether nothing is called there.
func (o *offered) idle() bool {
	for _, on := range o.interfaces {
		if on.weight != notCalled {
			return false
		}
	}
	return len(o.interfaces) > 0
}

func (d *Difference) kept(how string) {
	if !slices.Contains(d.ZooKeeper.Kept, how) {
		d.ZooKeeper.Kept = append(d.ZooKeeper.Kept, how)
	}
}

func plainInterface(i registry.Interface) registry.Interface {
	i.Version = plainVersion(i.Version)
	return i
}

func (d *Difference) readKubernetes(k Known) map[Address]*offered {
	out := map[Address]*offered{}
	all := map[registry.Interface]bool{}
	unread := map[string]bool{}
	for n := range k.Snapshot.Instances {
		i := &k.Snapshot.Instances[n]
		document, ok := k.Documents[i.Revision]
		known := ok && document.Err == nil
		if reachable(i) && len(i.Endpoints) > 0 && !known && !unread[i.Revision] {
			unread[i.Revision] = true
			reason := "it names no revision"
			if document.Err != nil {
				reason = registry.Text(document.Err)
			}
			d.Notes = append(d.Notes, "which interfaces "+i.Name+" offers is not known in Kubernetes, so addresses alone were compared: "+reason)
		}
		for _, e := range endpoints(i, document) {
			o := &offered{instance: i, known: known, interfaces: map[registry.Interface]terms{}}
			out[Address{Protocol: e.Protocol, Host: i.Host.Unmap().String(), Port: e.Port}] = o
			for _, offer := range document.Offers {
				if iface := plainInterface(offer.Interface); speaks(offer, e) {
					on := newTerms(iface, e.Protocol, offer.Path, offer.Serialization, cmp.Or(i.Details.Tag, i.Metadata[registry.KeyTag]))
					on.weight = i.WeightOf(offer.Weight)
					o.interfaces[iface], all[iface] = on, true
				}
			}
			if reachable(i) {
				d.Kubernetes.Addresses++
			}
		}
	}
	d.Kubernetes.Interfaces = len(all)
	return out
}

// newTerms returns those of an interface but for the weight; what is not said is as
// Dubbo takes it then.
func newTerms(i registry.Interface, protocol, path, serialization, tag string) terms {
	if protocol == "dubbo" {
		serialization = cmp.Or(serialization, "hessian2")
	}
	return terms{path: cmp.Or(strings.TrimPrefix(path, "/"), i.Name), serialization: serialization, tag: tag}
}

// endpoints are what an instance speaks, by itself or, where it does not say, by its
// document.
func endpoints(i *registry.Instance, document registry.Document) []registry.Endpoint {
	if len(i.Endpoints) > 0 || !i.Host.IsValid() {
		return i.Endpoints
	}
	var out []registry.Endpoint
	for _, o := range document.Offers {
		if e := (registry.Endpoint{Protocol: o.Protocol, Port: o.Port}); o.Protocol != "" && o.Port != 0 && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// compareAddresses finds addresses that only one side has, and those that are the
// same but for the port or the protocol.
func (d *Difference) compareAddresses(there, here map[Address]*offered, k Known) {
	var left []Address // of Kubernetes, called, and unknown to ZooKeeper
	for _, at := range sortedAddresses(here) {
		if there[at] == nil && reachable(here[at].instance) && !sameAddress(there, at) {
			left = append(left, at)
		}
	}
	for _, at := range sortedAddresses(there) {
		if mine := here[at]; mine != nil {
			if there[at].idle() {
				continue
			}
			if !reachable(mine.instance) {
				d.OnlyZooKeeper = append(d.OnlyZooKeeper, Entry{Address: at, Instance: mine.instance.Name, Why: "in Kubernetes it is not called: " + mine.instance.Why()})
			}
			continue
		}
		if there[at].idle() {
			continue
		}
		if at.Protocol == "" && anyProtocol(here, at) { // a node that says no more than the port
			d.unproven = true
			d.note("what is spoken at a port is in no node in ZooKeeper, so addresses alone were compared")
			continue
		}
		other := slices.IndexFunc(left, func(o Address) bool { return alike(at, o) })
		if other < 0 {
			d.OnlyZooKeeper = append(d.OnlyZooKeeper, Entry{Address: at, Why: absence(at, k)})
			continue
		}
		o := left[other]
		left = slices.Delete(left, other, other+1)
		m := Mismatch{Entry: Entry{Address: at, Instance: here[o].instance.Name}, Field: "port", ZooKeeper: strconv.Itoa(int(at.Port)), Kubernetes: strconv.Itoa(int(o.Port))}
		if at.Port == o.Port {
			m.Field, m.ZooKeeper, m.Kubernetes = "protocol", at.Protocol, o.Protocol
		}
		d.Differing = append(d.Differing, m)
	}
	for _, at := range left {
		d.OnlyKubernetes = append(d.OnlyKubernetes, Entry{Address: at, Instance: here[at].instance.Name})
	}
}

// alike reports whether two addresses of one host have the port or the protocol in
// common.
func alike(a, b Address) bool {
	return a.Host == b.Host && (a.Port == b.Port || a.Protocol == b.Protocol)
}

// sameAddress reports whether ZooKeeper has the port of the address without saying
// what it speaks.
func sameAddress(there map[Address]*offered, at Address) bool {
	at.Protocol = ""
	return there[at] != nil
}

func anyProtocol(here map[Address]*offered, at Address) bool {
	for a, o := range here {
		if a.Host == at.Host && a.Port == at.Port && reachable(o.instance) {
			return true
		}
	}
	return false
}

// absence says what Kubernetes knows of an address that it does not have.
func absence(at Address, k Known) string {
	for i := range k.Snapshot.Instances {
		if in := &k.Snapshot.Instances[i]; in.Host.IsValid() && in.Host.Unmap().String() == at.Host {
			switch {
			case in.Why() != "":
				return "in Kubernetes " + in.Name + " has this address and is not called: " + in.Why()
			case !in.Registered():
				return "in Kubernetes " + in.Name + " has this address and registered nothing"
			}
			return "in Kubernetes " + in.Name + " has this address and does not name the port"
		}
	}
	if !k.Snapshot.Known() {
		return "Kubernetes has no Service " + k.Snapshot.App.String()
	}
	if len(k.Snapshot.Instances) > 0 && k.Snapshot.Instances[0].Cluster == "" {
		return "no pod of the Service has this address; if it is one of another cluster, name that by --clusters"
	}
	return "no pod of the Service has this address"
}

// compareInterfaces compares what is offered at an address that both have.
func (d *Difference) compareInterfaces(at Address, z, k *offered) {
	if !z.known || !k.known {
		d.unproven = true
		if !z.known && k.known {
			d.note("which interfaces are offered is in no metadata in ZooKeeper, so addresses alone were compared")
		}
		return
	}
	entry := func(i registry.Interface) Entry {
		return Entry{Address: at, Interface: i.String(), Instance: k.instance.Name}
	}
	var left []registry.Interface
	for _, i := range sortedInterfaces(k.interfaces) {
		if _, both := z.interfaces[i]; !both {
			left = append(left, i)
		}
	}
	for _, i := range sortedInterfaces(z.interfaces) {
		if mine, both := k.interfaces[i]; both {
			d.compareTerms(entry(i), z.interfaces[i], mine)
			continue
		}
		other := slices.IndexFunc(left, func(o registry.Interface) bool { return o.Name == i.Name })
		if z.interfaces[i].weight == notCalled {
			continue
		}
		if other < 0 {
			e := entry(i)
			e.Why = "in Kubernetes the instance does not offer it"
			d.OnlyZooKeeper = append(d.OnlyZooKeeper, e)
			continue
		}
		o := left[other]
		left = slices.Delete(left, other, other+1)
		if i.Version != o.Version {
			d.Differing = append(d.Differing, Mismatch{Entry: entry(i), Field: "version", ZooKeeper: i.Version, Kubernetes: o.Version})
		}
		if i.Group != o.Group {
			d.Differing = append(d.Differing, Mismatch{Entry: entry(i), Field: "group", ZooKeeper: i.Group, Kubernetes: o.Group})
		}
	}
	for _, i := range left {
		d.OnlyKubernetes = append(d.OnlyKubernetes, entry(i))
	}
}

// compareTerms compares on what an interface is called that both offer at an address.
func (d *Difference) compareTerms(at Entry, z, k terms) {
	if z.weight == notCalled {
		d.Differing = append(d.Differing, Mismatch{Entry: at, Field: "use", ZooKeeper: "disabled", Kubernetes: "called"})
		return
	}
	if z.weight != noWeight && z.weight != k.weight {
		d.Differing = append(d.Differing, Mismatch{Entry: at, Field: "weight", ZooKeeper: strconv.Itoa(z.weight), Kubernetes: strconv.Itoa(k.weight)})
	}
	for _, f := range []struct{ field, z, k string }{{"path", z.path, k.path}, {"serialization", z.serialization, k.serialization}, {"tag", z.tag, k.tag}} {
		// Of another protocol than Dubbo's, no serialization is the default of all.
		if f.z != f.k && (f.field != "serialization" || f.z != "" && f.k != "") {
			d.Differing = append(d.Differing, Mismatch{Entry: at, Field: f.field, ZooKeeper: f.z, Kubernetes: f.k})
		}
	}
}

func (d *Difference) note(text string) {
	if !slices.Contains(d.Notes, text) {
		d.Notes = append(d.Notes, text)
	}
}

func (d *Difference) lookers(consumers []Consumer) {
	hosts := map[string]map[string]bool{}
	for _, c := range consumers {
		name := cmp.Or(c.App, "(unnamed)")
		if hosts[name] == nil {
			hosts[name] = map[string]bool{}
		}
		hosts[name][c.Host] = true
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		d.Consumers = append(d.Consumers, Looker{App: name, Processes: len(hosts[name])})
	}
}

// judge says in one sentence whether the application's consumers can go over.
func (d *Difference) judge() {
	switch {
	case d.unread == 1:
		d.Verdict, d.Why = NotReady, "a node in ZooKeeper that is or may be its cannot be read, so what consumers would lose is not known"
	case d.unread > 1:
		d.Verdict, d.Why = NotReady, fmt.Sprintf("%d nodes in ZooKeeper that are or may be its cannot be read, so what consumers would lose is not known", d.unread)
	case d.ZooKeeper.Addresses == 0:
		d.Verdict, d.Why = Left, "ZooKeeper has no provider of it any more"
		if slices.Contains(d.ZooKeeper.Kept, "bridge") {
			d.Why += " but what the bridge writes"
		}
		if d.Kubernetes.Addresses == 0 {
			d.Verdict, d.Why = Missing, "neither registry has anything of it that can be called"
		}
	case !d.stale.IsZero():
		d.Verdict, d.Why = NotReady, "Kubernetes has not answered since "+d.stale.UTC().Format(time.RFC3339)+", so what it would have consumers call now is not known"
	case d.Kubernetes.Addresses == 0:
		d.Verdict, d.Why = Missing, "Kubernetes has nothing of it that can be called"
	case len(d.OnlyZooKeeper)+len(d.Differing) > 0:
		var parts []string
		if n := len(d.OnlyZooKeeper); n > 0 {
			parts = append(parts, fmt.Sprintf("%d only in ZooKeeper", n))
		}
		if n := len(d.Differing); n > 0 {
			parts = append(parts, fmt.Sprintf("%d differing", n))
		}
		d.Verdict, d.Why = NotReady, "consumers that go over would find other providers: "+strings.Join(parts, ", ")
	case d.unproven:
		d.Verdict, d.Why = Unproven, "all addresses in ZooKeeper can be called by Kubernetes, too; whether they offer the same was not compared"
	default:
		d.Verdict, d.Why = Ready, "all that ZooKeeper has can be called by Kubernetes, too"
	}
	if n := len(d.Rules); n > 0 {
		d.Why += fmt.Sprintf("; rules that hold in ZooKeeper alone: %d", n)
	}
}

func sortedAddresses(m map[Address]*offered) []Address {
	return slices.SortedFunc(maps.Keys(m), func(a, b Address) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), strings.Compare(a.Protocol, b.Protocol))
	})
}

func sortedInterfaces(m map[registry.Interface]terms) []registry.Interface {
	return slices.SortedFunc(maps.Keys(m), func(a, b registry.Interface) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Group, b.Group), strings.Compare(a.Version, b.Version))
	})
}
