package api

import "github.com/weirmesh/weir/governance"

// Policies returns what each instance of an application has to enforce that calls no
// other, as its stream would tell it, for who enforces it in the instance's place;
// false while policies have not been read. Expired ones may be among them.
func (a *API) Policies(app governance.App) (governance.PolicySet, bool) {
	return a.PoliciesOf(app, nil)
}

// PoliciesChanged returns a channel that is closed when policies change next.
func (a *API) PoliciesChanged() <-chan struct{} {
	a.hub.mu.Lock()
	defer a.hub.mu.Unlock()
	return a.hub.published
}

// PoliciesOf returns what an instance of an application that calls the given ones
// has to enforce, for who enforces it in the instance's place; false while policies
// have not been read. Expired ones may be among them.
func (a *API) PoliciesOf(app governance.App, calls []governance.App) (governance.PolicySet, bool) {
	h := a.hub
	calls = tidyCalls(calls)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.version < 0 {
		return governance.PolicySet{}, false
	}
	set := h.set(app, calls)
	return governance.PolicySet{
		Wire: governance.WireVersion, Version: h.version, Hash: governance.HashPolicies(set), Now: h.now(), Policies: set,
	}, true
}

// CallerPolicies returns all policies that are enforced at callers of a namespace's
// applications, in no order.
func (a *API) CallerPolicies(namespace string) (out []governance.Version) {
	a.hub.mu.Lock()
	defer a.hub.mu.Unlock()
	for key, v := range a.hub.policies {
		if key.Namespace == namespace && v.Policy.Target.At == governance.Caller {
			out = append(out, v)
		}
	}
	return out
}
