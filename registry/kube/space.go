package kube

import (
	"net/netip"
	"slices"
	"time"
	"unique"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

// space is what the hub knows of one namespace, or of all together when its
// namespace is empty. Everything in it is guarded by hub.mu. Objects are slim:
// strings are shared with the snapshots built from them, and what instances
// have in common is kept once.
type space struct {
	hub       *Hub
	namespace string

	apps     map[registry.App]*app
	slices   map[string]*slice // by namespace/name
	pods     map[uid]*pod
	policies map[string]*policy
	mappings map[string]*mapping
	losing   map[*app]struct{} // those that have lost endpoints

	lingering lingering

	// The sources run once somebody needs them; nil before.
	sliceSource, podSource, serviceSource, policySource, mappingSource *source
}

func newSpace(h *Hub, namespace string) *space {
	return &space{
		hub:       h,
		namespace: namespace,
		apps:      map[registry.App]*app{},
		slices:    map[string]*slice{},
		pods:      map[uid]*pod{},
		policies:  map[string]*policy{},
		mappings:  map[string]*mapping{},
		losing:    map[*app]struct{}{},
	}
}

// sources are those that run.
func (s *space) sources() []*source {
	return slices.DeleteFunc([]*source{s.sliceSource, s.podSource, s.serviceSource, s.policySource, s.mappingSource}, func(src *source) bool { return src == nil })
}

// app is what is known of one application. It exists while a slice or Service
// of its name does, or somebody follows it.
type app struct {
	name    registry.App
	space   *space
	slices  []*slice
	service *service
	lost    map[*pod]*lost // endpoints that were ready, and what became of them
	keeping bool           // it was said that some are kept
	// unlisted are those of them that no slice named when it was last settled.
	unlisted   map[netip.Addr][]*lost
	reselected time.Time // when the Service's selector last changed
	asked      time.Time // when somebody last asked, without following

	// How far the followers are.
	topic     *feed.Topic[registry.Snapshot] // nil while there are none
	followers int
	dirty     bool        // changed since snapshot was built
	scheduled bool        // a flush is on its way
	timer     *time.Timer // of a scheduled flush that has to wait
	flushed   time.Time
	due       time.Time   // when lost has to be looked at again
	again     *time.Timer // then
	changed   time.Time   // when the newest change came
	snapshot  *registry.Snapshot
}

// slice is one EndpointSlice.
type slice struct {
	app       *app // nil for one that belongs to no Service
	endpoints []endpoint
	ports     []slicePort
	stray     string // what its label says instead of a Service's name
}

type slicePort struct {
	name string
	port uint16
}

// endpoint is one address of a slice.
type endpoint struct {
	addr   netip.Addr
	pod    *pod // nil where the slice names none
	place  unique.Handle[place]
	health health
}

// rawSlice is a slice whose pods have not been looked up.
type rawSlice struct {
	app       registry.App // without a name where the slice belongs to no Service
	endpoints []rawEndpoint
	ports     []slicePort
	stray     string
}

type rawEndpoint struct {
	addr   netip.Addr
	uid    uid    // of the pod; zero where the slice names none
	odd    string // its text where that is no UUID
	name   string
	place  unique.Handle[place]
	health health
}

type health uint8

// In the order in which a pod's endpoints in several slices outrank one another.
const (
	notReady health = iota
	ready
	terminating
)

func (h health) word() registry.Health {
	switch h {
	case ready:
		return registry.Ready
	case terminating:
		return registry.Terminating
	}
	return registry.NotReady
}

// place is where an instance runs.
type place struct{ node, zone string }

// pod is one pod, known by its UID alone. There are many of them: what most pods say
// alike, and what few say at all, they have elsewhere.
type pod struct {
	uid     uid
	name    string
	said    *statement // nil while only slices name it
	attrs   unique.Handle[attrs]
	started int64 // Unix nanoseconds; 0 when unknown

	// The application whose slice names the pod, and its others; see addRef.
	app  *app
	rare *rare // nil where there is nothing rare

	known       bool // the pod itself was seen, not only a slice that names it
	gone        bool // it was seen to go
	ended       bool // its phase says that it ran to its end
	terminating bool
	created     uint32 // Unix seconds; 0 when unknown
}

// service is what a Service says of its application.
type service struct {
	headless bool
	sticky   bool // a caller's connections all lead to one pod, by sessionAffinity
	local    bool // they lead to pods of the caller's node alone, by internalTrafficPolicy
	external bool // an ExternalName
	ipv6     bool // the Service's first family
	says     springSays
	ports    []servicePort
	mode     registry.Mode // the annotation's; empty when it says nothing
	badMode  string        // what the annotation says instead of a mode
	selector string        // which pods are its own
	govern   *registry.Govern
}

type servicePort struct {
	registry.ServicePort
	// named is set where the pods' port is given by name: the slices know it.
	named bool
}

// rare is what few pods have.
type rare struct {
	uid  string // the UID's text where that is no UUID
	more []*app // see addRef
}

// newPod makes the entry of a pod; odd is the UID's text where uid does not tell it.
func newPod(u uid, odd, name string) *pod {
	p := &pod{uid: u, name: name}
	if odd != "" {
		p.rare = &rare{uid: odd}
	}
	return p
}

// odd reports whether the pod's UID is no UUID.
func (p *pod) odd() bool { return p.rare != nil && p.rare.uid != "" }

// id returns the text of the pod's UID.
func (p *pod) id() string {
	if p.odd() {
		return p.rare.uid
	}
	return p.uid.String()
}

// more are the applications, beyond the first, whose slices name the pod.
func (p *pod) more() []*app {
	if p.rare == nil {
		return nil
	}
	return p.rare.more
}

func (p *pod) setMore(all []*app) {
	switch {
	case len(all) > 0 && p.rare == nil:
		p.rare = &rare{more: all}
	case len(all) > 0:
		p.rare.more = all
	case p.odd():
		p.rare.more = nil
	default:
		p.rare = nil
	}
}

// addRef notes that a slice of the application names the pod, and dropRef that one
// does no more: once for each endpoint.
func (p *pod) addRef(a *app) {
	if p.app == nil {
		p.app = a
	} else {
		p.setMore(append(p.more(), a))
	}
}

func (p *pod) dropRef(a *app) {
	more := p.more()
	if i := slices.Index(more, a); i >= 0 {
		p.setMore(slices.Delete(more, i, i+1))
		return
	}
	if p.app != a {
		return
	}
	p.app = nil
	if n := len(more); n > 0 {
		p.app = more[n-1]
		p.setMore(more[:n-1])
	}
}

// refers reports whether one of the application's slices names the pod.
func (p *pod) refers(a *app) bool { return p.app == a || slices.Contains(p.more(), a) }

// touchApps marks every application that has the pod.
func (p *pod) touchApps(now time.Time) {
	if p.app != nil {
		p.app.touch(now)
	}
	for _, a := range p.more() {
		a.touch(now)
	}
}

// podOf returns the entry of a pod that a slice names, known or not.
func (s *space) podOf(u uid, odd, name string) *pod {
	p := s.pods[u]
	if p == nil {
		p = newPod(u, odd, name)
		s.pods[u] = p
	}
	return p
}

// created returns when the pod of an instance was made; the zero time where that is
// not known.
func (s *space) created(i *registry.Instance) time.Time {
	u, _ := parseUID(i.ID)
	if p := s.pods[u]; p != nil && p.created != 0 {
		return time.Unix(int64(p.created), 0)
	}
	return time.Time{}
}

// release forgets a pod that neither exists nor is named by a slice.
func (s *space) release(p *pod) {
	if p.app == nil && (!p.known || p.gone) {
		s.hub.statements.release(p.said)
		delete(s.pods, p.uid)
	}
}

// appOf returns the application's entry, making it if need be.
func (s *space) appOf(name registry.App) *app {
	a := s.apps[name]
	if a == nil {
		a = &app{name: name, space: s, dirty: true}
		s.apps[name] = a
	}
	return a
}

// releaseApp forgets an application that nothing speaks of.
func (s *space) releaseApp(a *app) {
	if len(a.slices) == 0 && a.service == nil && a.topic == nil && len(a.lost) == 0 {
		if s.apps[a.name] == a { // a late timer may hold one that has a successor
			delete(s.apps, a.name)
		}
	}
}
