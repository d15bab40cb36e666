package kube

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weirmesh/weir/registry"
)

// sweep removes from a table what a whole state does not hold, and then takes
// the state in.
func sweep[V any](t table, have map[string]V, all map[string]any, now time.Time) {
	for key := range have {
		if _, ok := all[key]; !ok {
			t.remove(key, now)
		}
	}
	for key, kept := range all {
		t.put(key, kept, now)
	}
}

func objectKey(o metav1.Object) string { return o.GetNamespace() + "/" + o.GetName() }

// sliceTable holds the EndpointSlices of a space.
type sliceTable struct{ *space }

func (t sliceTable) slim(obj runtime.Object) (string, any) {
	o, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return "", &rawSlice{}
	}
	raw := &rawSlice{app: registry.App{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}}
	if raw.app.Name != "" && raw.app.Validate() != nil {
		// Whoever makes slices by hand can write anything there. It is no application.
		raw.stray, raw.app.Name = raw.app.Name, ""
	}
	if o.AddressType == discoveryv1.AddressTypeFQDN {
		return objectKey(o), raw // deprecated, and of no address
	}
	for _, p := range o.Ports {
		if p.Port != nil && *p.Port > 0 && *p.Port <= 65535 {
			port := slicePort{port: uint16(*p.Port)}
			if p.Name != nil {
				port.name = unique.Make(*p.Name).Value()
			}
			raw.ports = append(raw.ports, port)
		}
	}
	raw.endpoints = make([]rawEndpoint, 0, len(o.Endpoints))
	for i := range o.Endpoints {
		e := &o.Endpoints[i]
		if len(e.Addresses) == 0 {
			continue
		}
		// Addresses beyond the first have no meaning (EndpointSlice's own words).
		addr, err := netip.ParseAddr(e.Addresses[0])
		if err != nil {
			continue
		}
		r := rawEndpoint{addr: addr, health: healthOf(e.Conditions), place: unique.Make(place{node: value(e.NodeName), zone: value(e.Zone)})}
		if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" && ref.UID != "" {
			r.name = ref.Name
			r.uid, r.odd = parseUID(string(ref.UID))
		}
		raw.endpoints = append(raw.endpoints, r)
	}
	return objectKey(o), raw
}

// healthOf reads conditions as the API wants unset ones read: ready, and not
// terminating.
func healthOf(c discoveryv1.EndpointConditions) health {
	switch {
	case c.Terminating != nil && *c.Terminating:
		return terminating
	case c.Ready == nil || *c.Ready:
		return ready
	}
	return notReady
}

func (t sliceTable) put(key string, kept any, now time.Time) {
	raw, ok := kept.(*rawSlice)
	if !ok {
		return
	}
	old := t.slices[key]
	if old != nil && old.same(raw) {
		return
	}
	s := &slice{ports: raw.ports, stray: raw.stray}
	if raw.stray != "" && (old == nil || old.stray != raw.stray) {
		t.hub.log.Warn("an EndpointSlice is left out", "slice", key, "reason",
			"its label "+discoveryv1.LabelServiceName+" says "+quote(raw.stray)+", which is no name of a Service")
	}
	if raw.app.Name != "" {
		s.app = t.appOf(raw.app)
	}
	if len(raw.endpoints) > 0 {
		s.endpoints = make([]endpoint, len(raw.endpoints))
	}
	for i, r := range raw.endpoints {
		e := endpoint{addr: r.addr, place: r.place, health: r.health}
		if r.uid != (uid{}) && s.app != nil {
			e.pod = t.podOf(r.uid, r.odd, r.name)
			e.pod.addRef(s.app)
		}
		s.endpoints[i] = e
	}
	t.slices[key] = s
	if s.app != nil {
		s.app.slices = append(s.app.slices, s)
	}
	if old != nil {
		t.detach(old, s, now)
	}
	if s.app != nil {
		s.app.touch(now)
	}
	t.touchTaken(s, now)
}

func (t sliceTable) remove(key string, now time.Time) {
	if old := t.slices[key]; old != nil {
		delete(t.slices, key)
		t.detach(old, nil, now)
	}
}

func (t sliceTable) replace(all map[string]any, now time.Time) { sweep(t, t.slices, all, now) }

// detach takes a slice out of its application, in favour of next where that is not
// nil. What was ready in it and is not in next may be lost.
func (t sliceTable) detach(old, next *slice, now time.Time) {
	a := old.app
	if a == nil {
		return
	}
	a.slices = slices.DeleteFunc(a.slices, func(s *slice) bool { return s == old })
	for i := range old.endpoints {
		e := &old.endpoints[i]
		if e.pod == nil {
			continue
		}
		e.pod.dropRef(a)
		if e.health == ready && !next.holds(a, i, e.pod) {
			a.lose(e, now)
		}
		t.release(e.pod)
	}
	a.touch(now)
	if len(a.lost) > 0 {
		t.hub.tidyUnfollowed(a, now)
	}
	t.releaseApp(a)
}

// holds reports whether the pod is ready in the slice of the application, where it
// is looked for in one place only: most changes leave the others where they were.
func (s *slice) holds(a *app, i int, p *pod) bool {
	return s != nil && s.app == a && i < len(s.endpoints) && s.endpoints[i].pod == p && s.endpoints[i].health == ready
}

func (s *slice) same(raw *rawSlice) bool {
	var name registry.App
	if s.app != nil {
		name = s.app.name
	} else {
		name = registry.App{Namespace: raw.app.Namespace}
	}
	return name == raw.app && s.stray == raw.stray && slices.Equal(s.ports, raw.ports) &&
		slices.EqualFunc(s.endpoints, raw.endpoints, func(e endpoint, r rawEndpoint) bool {
			var of uid
			if e.pod != nil {
				of = e.pod.uid
			}
			return e.addr == r.addr && of == r.uid && e.place == r.place && e.health == r.health
		})
}

// podTable holds the pods of a space.
type podTable struct{ *space }

// podNews is what is kept of a pod before it is compared with what is known.
type podNews struct {
	name        string
	says        words
	attrs       unique.Handle[attrs]
	started     int64
	created     uint32
	terminating bool
}

func (t podTable) slim(obj runtime.Object) (string, any) {
	o, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return "", &podNews{}
	}
	n := &podNews{name: o.Name, terminating: o.DeletionTimestamp != nil}
	values, app, started := parseInstance(o.Annotations[AnnotationInstance])
	n.attrs, n.started = unique.Make(values), started
	n.says = words{namespace: cmp.Or(t.space.namespace, o.Namespace), app: app}
	n.says.text, n.says.registered = o.Annotations[AnnotationMetadata]
	if at := o.CreationTimestamp.Unix(); at > 0 {
		n.created = uint32(min(at, math.MaxUint32))
	}
	return string(o.UID), n
}

func (t podTable) put(key string, kept any, now time.Time) {
	news, ok := kept.(*podNews)
	if !ok {
		return
	}
	u, odd := parseUID(key)
	p := t.podOf(u, odd, news.name)
	before := *p
	if sum := news.says.sum(); p.said == nil || p.said.sum != sum {
		t.hub.statements.release(p.said)
		p.said = t.hub.statements.acquire(news.says, sum)
		if p.said.problem != "" {
			t.hub.warnPod(p.said.namespace, news.name, p.said.problem)
		}
	}
	if p.attrs != news.attrs {
		if w := news.attrs.Value().warning; w != "" {
			t.hub.warnPod(p.said.namespace, news.name, w)
		}
	}
	p.name, p.attrs, p.started = news.name, news.attrs, news.started
	p.known, p.gone, p.terminating, p.created = true, false, news.terminating, news.created
	if before.started != 0 && p.started != 0 && before.started != p.started {
		t.restarted(p, now)
	}
	if !before.known || before.said != p.said || before.attrs != p.attrs || before.started != p.started ||
		before.terminating != p.terminating || before.name != p.name {
		p.touchApps(now)
		t.touchLosing(p, now)
	}
}

// restarted forgets that a pod was lost, since the process that was is no more: its
// successor is ready once Kubernetes says so.
func (t podTable) restarted(p *pod, now time.Time) {
	for a := range t.losing {
		l := a.lost[p]
		if l == nil {
			continue
		}
		if l.kept != nil {
			t.hub.metrics.released.WithLabelValues("gone").Inc()
		}
		delete(a.lost, p)
		a.touch(now)
		t.hub.tidyUnfollowed(a, now)
		t.releaseApp(a)
	}
}

// touchLosing looks again at the applications that lost the pod.
func (t podTable) touchLosing(p *pod, now time.Time) {
	for a := range t.losing {
		if a.lost[p] == nil {
			continue
		}
		a.touch(now)
		t.hub.tidyUnfollowed(a, now)
		t.releaseApp(a)
	}
}

func (t podTable) remove(key string, now time.Time) {
	u, _ := parseUID(key)
	p := t.pods[u]
	if p == nil || !p.known {
		return
	}
	p.gone = true
	p.touchApps(now)
	t.touchLosing(p, now)
	t.release(p)
}

func (t podTable) replace(all map[string]any, now time.Time) {
	// Pods that only slices know of are not gone because the list lacks them:
	// the slices may be ahead of it.
	known := map[string]*pod{}
	for _, p := range t.pods {
		if p.known {
			known[p.id()] = p
		}
	}
	sweep(t, known, all, now)
}

// serviceTable holds the Services of a space.
type serviceTable struct{ *space }

func (t serviceTable) slim(obj runtime.Object) (string, any) {
	o, ok := obj.(*corev1.Service)
	if !ok {
		return "", &service{}
	}
	s := &service{
		headless: o.Spec.ClusterIP == corev1.ClusterIPNone || o.Spec.Type == corev1.ServiceTypeExternalName,
		sticky:   o.Spec.SessionAffinity == corev1.ServiceAffinityClientIP,
		local:    o.Spec.InternalTrafficPolicy != nil && *o.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		external: o.Spec.Type == corev1.ServiceTypeExternalName,
		says:     saysOf(o.Labels, o.Annotations),
		govern:   parseGovern(o.Name, o.Annotations),
		selector: labels.Set(o.Spec.Selector).String(), // sorted
	}
	if len(o.Spec.IPFamilies) > 0 {
		s.ipv6 = o.Spec.IPFamilies[0] == corev1.IPv6Protocol
	}
	for _, p := range o.Spec.Ports {
		port := servicePort{ServicePort: registry.ServicePort{Name: p.Name, Port: uint16(p.Port)}}
		switch {
		case p.TargetPort.Type == intstr.String:
			port.named = true
		case p.TargetPort.IntVal == 0:
			port.Target = port.Port
		default:
			port.Target = uint16(p.TargetPort.IntVal)
		}
		s.ports = append(s.ports, port)
	}
	switch mode := registry.Mode(o.Annotations[AnnotationCallMode]); mode {
	case "", registry.ModePod, registry.ModeService:
		s.mode = mode
	default:
		s.badMode = string(mode)
	}
	return objectKey(o), &namedService{name: registry.App{Namespace: o.Namespace, Name: o.Name}, service: s}
}

type namedService struct {
	name    registry.App
	service *service
}

func (t serviceTable) put(_ string, kept any, now time.Time) {
	news, ok := kept.(*namedService)
	if !ok {
		return
	}
	a := t.appOf(news.name)
	if old := a.service; old != nil {
		if old.same(news.service) {
			return
		}
		if old.selector != news.service.selector {
			a.reselected = now
		}
	}
	if bad := news.service.badMode; bad != "" && (a.service == nil || a.service.badMode != bad) {
		t.hub.log.Warn("a Service's annotation is ignored", "service", a.name.String(), "annotation", AnnotationCallMode,
			"reason", "it says "+badModeText(bad))
	}
	a.service = news.service
	a.touch(now)
}

func badModeText(bad string) string { return quote(bad) + `, which is neither "pod" nor "service"` }

func (s *service) same(o *service) bool {
	return s.headless == o.headless && s.sticky == o.sticky && s.local == o.local && s.external == o.external && s.says == o.says && s.ipv6 == o.ipv6 && s.mode == o.mode && s.badMode == o.badMode && s.selector == o.selector && sameGovern(s.govern, o.govern) && slices.Equal(s.ports, o.ports)
}

func (t serviceTable) remove(key string, now time.Time) {
	if a := t.apps[appOfKey(key)]; a != nil && a.service != nil {
		a.service = nil
		a.touch(now)
		t.hub.tidyUnfollowed(a, now)
		t.releaseApp(a)
	}
}

func (t serviceTable) replace(all map[string]any, now time.Time) {
	have := map[string]struct{}{}
	for name, a := range t.apps {
		if a.service != nil {
			have[name.Namespace+"/"+name.Name] = struct{}{}
		}
	}
	sweep(t, have, all, now)
}
