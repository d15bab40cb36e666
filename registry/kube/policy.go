package kube

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weirmesh/weir/registry"
)

// policy is what a DiscoveryPolicy says.
type policy struct {
	namespace, name string
	consumer        string
	provider        registry.App // without a name where it is for every provider
	mode            registry.Mode
	choice          registry.Choice
	protects        bool // it says something of protection
	protection      policyProtection
	prefer          *registry.Preference // nil where it says nothing
}

func (p *policy) same(o *policy) bool {
	a, b := *p, *o
	a.prefer, b.prefer = nil, nil
	return a == b && p.prefer.Equal(o.prefer)
}

// policyTable holds the DiscoveryPolicies of a space.
type policyTable struct{ *space }

func (t policyTable) slim(obj runtime.Object) (string, any) {
	o, ok := obj.(*discoveryPolicy)
	if !ok {
		return "", &policy{}
	}
	p := &policy{namespace: o.Namespace, name: o.Name, consumer: o.Spec.Consumer, mode: registry.Mode(o.Spec.Mode), choice: registry.Choice(o.Spec.Registry)}
	if o.Spec.Provider != nil {
		p.provider = registry.App{Namespace: cmp.Or(o.Spec.Provider.Namespace, o.Namespace), Name: o.Spec.Provider.Name}
	}
	if o.Spec.Protection != nil {
		p.protects, p.protection = true, *o.Spec.Protection
	}
	if w := o.Spec.Prefer; w != nil {
		p.prefer = &registry.Preference{
			Clusters: w.Clusters, ClusterPercent: w.ClusterPercent, ZonePercent: w.ZonePercent,
			ReturnAfter: time.Duration(w.ReturnSeconds) * time.Second, From: p.word(),
		}
	}
	return objectKey(o), p
}

// word names the policy for people.
func (p *policy) word() string { return "DiscoveryPolicy " + p.namespace + "/" + p.name }

func (t policyTable) put(key string, kept any, now time.Time) {
	p, ok := kept.(*policy)
	if !ok {
		return
	}
	if old := t.policies[key]; old != nil && old.same(p) {
		return
	}
	t.policies[key] = p
	t.touchAll(now)
}

func (t policyTable) remove(key string, now time.Time) {
	if t.policies[key] != nil {
		delete(t.policies, key)
		t.touchAll(now)
	}
}

func (t policyTable) replace(all map[string]any, now time.Time) { sweep(t, t.policies, all, now) }

// touchAll looks at all applications again: a policy can be for any, and they
// change seldom.
func (t policyTable) touchAll(now time.Time) {
	for _, s := range t.hub.spaces {
		for _, a := range s.apps {
			a.touch(now)
			if len(a.lost) > 0 {
				t.hub.tidyUnfollowed(a, now)
			}
		}
	}
}

// best returns the weightiest of the DiscoveryPolicies that have a say in how this
// process calls an application, and speak of what is asked for; nil for none. mu is
// held.
func (h *Hub) best(a *app, speaks func(*policy) bool) *policy {
	var best *policy
	spaces := []*space{a.space}
	if own := h.ownSpace(); own != nil && own != a.space {
		spaces = append(spaces, own)
	}
	for _, s := range spaces {
		for _, p := range s.policies {
			if speaks(p) && h.concerns(p, a.name) && (best == nil || h.outranks(p, best)) {
				best = p
			}
		}
	}
	return best
}

// protection is what this process does when it loses many instances of an
// application at once. mu is held.
func (h *Hub) protection(a *app) Protection {
	p := h.best(a, func(p *policy) bool { return p.protects })
	if p == nil {
		return h.cfg.Protection
	}
	return Protection{
		Disabled: p.protection.Disabled,
		Percent:  cmp.Or(int(p.protection.Percent), h.cfg.Protection.Percent),
		Hold:     cmp.Or(time.Duration(p.protection.HoldSeconds)*time.Second, h.cfg.Protection.Hold),
	}
}

// mode is how this process is to call an application: by the weightiest
// DiscoveryPolicy that speaks of both, else by the Service's annotation; and what
// says so, for people. mu is held.
func (h *Hub) mode(a *app) (mode registry.Mode, from string) {
	best := h.best(a, func(p *policy) bool { return p.mode == registry.ModePod || p.mode == registry.ModeService })
	switch {
	case best != nil:
		return best.mode, best.word()
	case a.service != nil && a.service.mode != "":
		return a.service.mode, "the Service's annotation " + AnnotationCallMode
	case a.service != nil && a.service.badMode != "":
		return registry.ModePod, "the default, since the Service's annotation " + AnnotationCallMode + " says " + badModeText(a.service.badMode)
	}
	return registry.ModePod, ""
}

// choice is by which registry this process is to call an application where it uses
// another one, too, and what says so, for people; nothing where no DiscoveryPolicy
// says. mu is held.
func (h *Hub) choice(a *app) (choice registry.Choice, from string) {
	if best := h.best(a, func(p *policy) bool { return p.choice.Known() }); best != nil {
		return best.choice, best.word()
	}
	return "", ""
}

// prefer is which instances of an application this process is to call first; nil
// where no DiscoveryPolicy says. mu is held.
func (h *Hub) prefer(a *app) *registry.Preference {
	if best := h.best(a, func(p *policy) bool { return p.prefer != nil }); best != nil {
		return best.prefer
	}
	return nil
}

// concerns reports whether a policy has a say in how this process calls an
// application.
func (h *Hub) concerns(p *policy, provider registry.App) bool {
	if p.provider.Name != "" && p.provider != provider {
		return false
	}
	if p.namespace == h.own {
		return p.consumer == "" || p.consumer == h.cfg.App
	}
	// Another namespace speaks for its own providers, not for foreign consumers.
	return p.namespace == provider.Namespace && p.consumer == ""
}

// ConsumerPolicy is a DiscoveryPolicy that is for one consumer.
type ConsumerPolicy struct {
	Name     string // of the policy, in its consumer's namespace
	Consumer registry.App
}

// ConsumerPolicies returns the DiscoveryPolicies by which particular consumers call an
// application in a way of their own, as far as the namespaces of the hub hold them,
// ordered by consumer and name. Snapshots show them to a hub of that consumer alone:
// see Config.App. It does not wait for anything; what was not heard yet is not in it.
func (h *Hub) ConsumerPolicies(provider registry.App) []ConsumerPolicy {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []ConsumerPolicy
	for _, s := range h.spaces {
		for _, p := range s.policies {
			if p.consumer != "" && (p.provider.Name == "" || p.provider == provider) {
				out = append(out, ConsumerPolicy{Name: p.name, Consumer: registry.App{Namespace: p.namespace, Name: p.consumer}})
			}
		}
	}
	slices.SortFunc(out, func(a, b ConsumerPolicy) int {
		return cmp.Or(a.Consumer.Compare(b.Consumer), strings.Compare(a.Name, b.Name))
	})
	return out
}

func (h *Hub) outranks(p, o *policy) bool {
	return cmp.Or(
		compareBool(p.namespace == h.own, o.namespace == h.own),
		compareBool(p.consumer != "", o.consumer != ""),
		compareBool(p.provider.Name != "", o.provider.Name != ""),
		strings.Compare(o.name, p.name),
	) > 0
}
