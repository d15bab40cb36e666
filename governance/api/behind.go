package api

import "github.com/weirmesh/weir/governance"

// Behind reports whether an instance does not enforce what it should. known is
// false while that cannot be told: until the policies have been read.
func (a *API) Behind(i governance.Instance) (behind, known bool) {
	if !a.hub.loaded() {
		return false, false
	}
	w, behind := a.behind(i)
	// One that another control plane has told of a newer version is ahead of us.
	return behind && (i.Applied == nil || i.Applied.Version <= w.Version), true
}
