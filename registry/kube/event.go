package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/registry"
)

// Reasons of the events by which owners are told what is wrong with their objects.
const (
	// ReasonMetadata, on a pod: its annotation io.dubbo/metadata cannot be read, so it is
	// called by nobody.
	ReasonMetadata = "RegistrationUnreadable"
	// ReasonDetails, on a pod: its annotation weirmesh.io/instance cannot be read, or
	// holds a value out of range; defaults stand in for it.
	ReasonDetails = "DetailsIgnored"
	// ReasonAddress, on a pod: another pod claims its address as well, and is taken for
	// the one that has it; this one is called by nobody.
	ReasonAddress = "AddressClaimedTwice"
	// ReasonCallMode, on a Service: its annotation weirmesh.io/call-mode says neither pod
	// nor service; pod holds.
	ReasonCallMode = "CallModeUnknown"
	// ReasonNoAddress, on a Service: it is to be called as a whole and has no address of
	// its own, being headless or an ExternalName; its pods are called.
	ReasonNoAddress = "ServiceModeImpossible"
	// ReasonUneven, on a Service: it is to be called as a whole and leads each consumer to
	// some of its pods alone, by its sessionAffinity or its internalTrafficPolicy.
	ReasonUneven = "ServiceModeUneven"
	// ReasonConfig, on a Service: its annotation weirmesh.io/config is no name of a
	// ConfigMap; none is read or written.
	ReasonConfig = "ConfigNameInvalid"
)

// notice is something that an object's owner should know.
type notice struct {
	kind            string // of the object: Pod, Service
	namespace, name string
	uid             string // empty where it has to be asked for
	reason, message string
}

// eventName is the same for the same notice: the API server refuses what another
// control plane, or this one before a restart, has told already.
func (n *notice) eventName() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{n.kind, n.uid, n.reason, n.message}, "\x00")))
	return n.name + ".weir-" + hex.EncodeToString(sum[:8])
}

// notices gathers what is wrong with pods and Services. hub.mu is held.
func (c *Caretaker) notices(seen sees) []notice {
	h := c.hub
	var all []notice
	for namespace := range seen {
		s := h.spaceOf(namespace)
		for _, p := range s.pods {
			if !p.known || p.gone || p.terminating {
				continue
			}
			of := notice{kind: "Pod", namespace: p.said.namespace, name: p.name}
			if p.said.problem != "" {
				of.uid = p.id()
				of.reason, of.message = ReasonMetadata, p.said.problem+"; nobody calls it until that is mended, or its pod restarted"
				all = append(all, of)
			}
			if w := p.attrs.Value().warning; w != "" {
				of.uid = p.id()
				of.reason, of.message = ReasonDetails, w
				all = append(all, of)
			}
		}
		now, claims := c.cfg.Now(), map[netip.Addr]*pod{}
		for _, a := range s.apps {
			all = append(all, a.notices(now, claims)...)
		}
	}
	slices.SortFunc(all, func(a, b notice) int {
		return strings.Compare(a.namespace+"/"+a.name+"/"+a.reason+"/"+a.message, b.namespace+"/"+b.name+"/"+b.reason+"/"+b.message)
	})
	return all
}

// notices gathers what is wrong with an application as a whole. claims is room to work
// in. hub.mu is held.
func (a *app) notices(now time.Time, claims map[netip.Addr]*pod) []notice {
	var all []notice
	if a.crowded(claims) {
		for _, i := range join(a, registry.ModePod, now).Instances {
			if !i.Displaced() {
				continue
			}
			all = append(all, notice{kind: "Pod", namespace: a.name.Namespace, name: i.Name, uid: i.ID, reason: ReasonAddress, message: i.Problem + "; delete this one if it has ended"})
		}
	}
	if a.service == nil {
		return all
	}
	of := notice{kind: "Service", namespace: a.name.Namespace, name: a.name.Name}
	if bad := a.service.badMode; bad != "" {
		of.reason, of.message = ReasonCallMode, "its annotation "+AnnotationCallMode+" says "+badModeText(bad)+": pod holds"
		all = append(all, of)
	}
	if a.service.mode == registry.ModeService && a.service.headless {
		of.reason, of.message = ReasonNoAddress, "its annotation "+AnnotationCallMode+" asks for calls to the Service, which has no address of its own (it is headless, or an ExternalName): its pods are called"
		all = append(all, of)
	}
	if why := a.service.uneven(); why != "" {
		of.reason, of.message = ReasonUneven, "its annotation "+AnnotationCallMode+" asks for calls to the Service, whose "+why
		all = append(all, of)
	}
	if g := a.service.govern; g != nil && g.Problem != "" {
		of.reason, of.message = ReasonConfig, g.Problem
		all = append(all, of)
	}
	return all
}

// uneven says why the Service, which is to be called as a whole, leads a consumer to some
// of its pods alone, however many connections that has.
func (s *service) uneven() string {
	switch {
	case s.mode != registry.ModeService || s.headless:
		return ""
	case s.sticky:
		return "sessionAffinity ClientIP leads all connections of a consumer to one pod: set it to None, or call pods"
	case s.local:
		return "internalTrafficPolicy Local leads a consumer to pods of its own node alone, and to none where there is none: set it to Cluster, or call pods"
	}
	return ""
}

// crowded reports whether two pods of the application claim one address.
func (a *app) crowded(claims map[netip.Addr]*pod) bool {
	clear(claims)
	for _, sl := range a.slices {
		for i := range sl.endpoints {
			e := &sl.endpoints[i]
			if e.pod == nil {
				continue
			}
			if other := claims[e.addr]; other != nil && other != e.pod {
				return true
			}
			claims[e.addr] = e.pod
		}
	}
	return false
}

// When a notice that still holds is told again: Kubernetes forgets events after an
// hour, and where another has told it, it is not known when.
const (
	tellAgain = 61 * time.Minute
	tellOther = 10 * time.Minute
	// maxEventMessage is what Kubernetes takes.
	maxEventMessage = 1024
)

// tell makes events of notices. It reports whether the server was there for all.
func (c *Caretaker) tell(ctx context.Context, notices []notice) (whole bool) {
	now := time.Now()
	told := make(map[string]time.Time, len(notices))
	most := mostEvents
	whole = true
	for _, n := range notices {
		key := n.kind + "/" + n.namespace + "/" + n.eventName()
		if due, ok := c.told[key]; ok && now.Before(due) {
			told[key] = due
			continue
		}
		if !c.ready(trouble{taskEvents, n.namespace}, key) || most == 0 || !whole {
			continue
		}
		most--
		again, try, err := c.tellOne(ctx, n, now)
		if whole = c.outcome(ctx, taskEvents, key, err, try); whole && !again.IsZero() {
			told[key] = again
		}
	}
	c.told = told
	return whole
}

// tellOne makes one event, and returns when to make it again; never where it could
// not be made.
func (c *Caretaker) tellOne(ctx context.Context, n notice, now time.Time) (again time.Time, try attempt, err error) {
	if n.uid == "" {
		try = attempt{verb: "get", resource: servicesResource, namespace: n.namespace, name: n.name, role: roleControl}
		service := &metav1.PartialObjectMetadata{}
		if err := c.hub.client.getMetadata(ctx, servicesResource, n.namespace, n.name, service); err != nil {
			return time.Time{}, try, err
		}
		n.uid = string(service.UID)
	}
	try = attempt{verb: "create", resource: eventsResource, namespace: n.namespace, role: roleControl}
	at := metav1.NewTime(c.cfg.Now())
	body, err := json.Marshal(&corev1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{Name: n.eventName(), Namespace: n.namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: n.kind, Namespace: n.namespace, Name: n.name, UID: types.UID(n.uid)},
		Type:           corev1.EventTypeWarning, Reason: n.reason, Message: n.message[:min(len(n.message), maxEventMessage)],
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
		Source: corev1.EventSource{Component: controlManager}, ReportingController: controlManager,
	})
	if err != nil {
		c.log.ErrorContext(ctx, "an event cannot be encoded", "error", err.Error())
		return now.Add(tellAgain), try, nil
	}
	err = c.hub.client.create(ctx, eventsResource, n.namespace, body)
	switch {
	case err == nil:
		c.metrics.writes.WithLabelValues(writeEvent).Inc()
		return now.Add(tellAgain), try, nil
	case apierrors.IsAlreadyExists(err):
		return now.Add(tellOther), try, nil
	}
	return time.Time{}, try, err
}
