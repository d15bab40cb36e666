package kube

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/registry"
)

// join makes the whole state of an application from what is known. An instance is a
// pod that the application's slices name, or an address that they name without one.
//
// A pod may stand in several endpoints, one per address family or, for a moment,
// while the cluster moves it between slices. It is one instance: its address is
// that of the Service's first family (IPv4 where that is not known), and of its
// healths the one that says most counts: terminating, then ready. A pod that was
// seen to go is no instance, whatever the slices still say.
func join(a *app, mode registry.Mode, now time.Time) registry.Snapshot {
	s := registry.Snapshot{App: a.name, Mode: mode, Observed: a.changed}
	wantIPv6 := a.service != nil && a.service.ipv6
	count := len(a.lost)
	for _, sl := range a.slices {
		count += len(sl.endpoints)
	}
	all := make([]joined, 0, count)
	for _, sl := range a.slices {
		for i := range sl.endpoints {
			if e := &sl.endpoints[i]; e.pod == nil || !e.pod.gone {
				all = append(all, newJoined(e))
			}
		}
	}
	for _, l := range a.lost {
		if l.shown(a, now) {
			all = append(all, newJoined(&l.endpoint))
		}
	}
	slices.SortFunc(all, func(x, y joined) int {
		if c := x.compare(&y); c != 0 {
			return c
		}
		return cmp.Or(
			// The preferred address first, then any fixed order.
			-compareBool(x.addr.Is6() == wantIPv6, y.addr.Is6() == wantIPv6),
			x.addr.Compare(y.addr),
			-cmp.Compare(x.health, y.health),
		)
	})
	distinct := 0
	for i := range all {
		if i == 0 || all[i].compare(&all[i-1]) != 0 {
			distinct++
		}
	}
	s.Instances = make([]registry.Instance, 0, distinct)
	texts := idTexts{}
	if a.snapshot != nil {
		texts.known = a.snapshot.Instances
	}
	for i := 0; i < len(all); {
		first, worst := &all[i], all[i].health
		for i++; i < len(all) && all[i].compare(first) == 0; i++ {
			worst = max(worst, all[i].health)
		}
		s.Instances = append(s.Instances, first.instance(texts.of(first), worst))
		if l := a.lost[first.pod]; l != nil && l.kept != nil {
			if i := &s.Instances[len(s.Instances)-1]; i.Health == registry.NotReady {
				i.Kept = l.kept
			}
		}
	}
	settleClaims(s.Instances, a.space.created)
	s.Service = a.joinService()
	return s
}

// joined is one endpoint on its way into an instance.
type joined struct {
	*endpoint
	id string // empty where the pod's UID is a UUID
}

func newJoined(e *endpoint) joined {
	switch {
	case e.pod == nil:
		// An address of a Service without selector belongs to no pod and is itself.
		return joined{endpoint: e, id: "address:" + e.addr.String()}
	case e.pod.odd():
		return joined{endpoint: e, id: e.pod.id()}
	}
	return joined{endpoint: e}
}

// compare orders by the text of the id, which UUIDs have in the order of their bytes.
func (j *joined) compare(o *joined) int {
	switch {
	case j.id == "" && o.id == "":
		return bytes.Compare(j.pod.uid[:], o.pod.uid[:])
	case j.id == "":
		return strings.Compare(j.pod.id(), o.id)
	case o.id == "":
		return strings.Compare(j.id, o.pod.id())
	}
	return strings.Compare(j.id, o.id)
}

// idTexts gives instances, in their order, the texts of their ids: those that the last
// snapshot has where it has them.
type idTexts struct{ known []registry.Instance }

func (t *idTexts) of(j *joined) string {
	if j.id != "" {
		return j.id
	}
	text := j.pod.uid.text()
	for len(t.known) > 0 && t.known[0].ID < string(text[:]) {
		t.known = t.known[1:]
	}
	if len(t.known) > 0 && t.known[0].ID == string(text[:]) {
		return t.known[0].ID
	}
	return string(text[:])
}

func (j *joined) instance(id string, h health) registry.Instance {
	i := registry.Instance{
		ID:      id,
		Host:    j.addr,
		Details: registry.Details{Weight: registry.DefaultWeight, State: registry.Up},
		Health:  h.word(),
		Node:    j.place.Value().node,
		Zone:    j.place.Value().zone,
	}
	p := j.pod
	if p == nil {
		i.Name = j.addr.String()
		return i
	}
	i.Name = p.name
	if p.terminating {
		i.Health = registry.Terminating
	}
	if !p.known {
		return i
	}
	values := p.attrs.Value()
	i.Details.Weight, i.Details.Tag, i.Details.State = values.weight, values.tag, values.state
	i.Zone = cmp.Or(values.zone, i.Zone)
	i.Warning = values.warning
	if p.started != 0 {
		i.Details.Started = time.Unix(0, p.started).UTC()
	}
	if said := p.said; said != nil {
		i.Metadata, i.Endpoints, i.Revision, i.Problem = said.words(), said.endpoints, said.revision, said.problem
		i.Details.Tag = cmp.Or(i.Details.Tag, said.tag)
	}
	return i
}

func (a *app) joinService() registry.Service {
	if a.service == nil {
		return registry.Service{}
	}
	s := registry.Service{
		Host:     a.name.Name + "." + a.name.Namespace + ".svc",
		Headless: a.service.headless, External: a.service.external, Govern: a.service.govern,
	}
	for _, p := range a.service.ports {
		if p.named {
			p.Target = a.targetPort(p.Name)
		}
		s.Ports = append(s.Ports, p.ServicePort)
	}
	a.service.says.mark(s.Ports)
	return s
}

// targetPort asks the slices for the pods' port behind a Service's port: 0
// when they do not agree, or do not know.
func (a *app) targetPort(name string) uint16 {
	target := uint16(0)
	for _, sl := range a.slices {
		for _, p := range sl.ports {
			if p.name != name || len(sl.endpoints) == 0 {
				continue
			}
			if target != 0 && target != p.port {
				return 0
			}
			target = p.port
		}
	}
	return target
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func appOfKey(key string) registry.App {
	namespace, name, _ := strings.Cut(key, "/")
	return registry.App{Namespace: namespace, Name: name}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}
