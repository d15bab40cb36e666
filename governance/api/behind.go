package api

import "github.com/weirmesh/weir/governance"

// Behind returns those of the instances that do not enforce what they should.
// known is false while that cannot be told: until the policies have been read.
func (a *API) Behind(all []governance.Instance) (behind []governance.Instance, known bool) {
	if !a.hub.loaded() {
		return nil, false
	}
	wanted := map[string]governance.ReportAnswer{} // of equal ones it is the same
	for _, i := range all {
		key := groupKey(i.App, i.Calls)
		w, ok := wanted[key]
		if !ok {
			w = a.hub.wanted(i.App, i.Calls)
			wanted[key] = w
		}
		// One that another control plane has told of a newer version is ahead of us.
		if i.Applied == nil || i.Applied.Hash != w.Hash && i.Applied.Version <= w.Version {
			behind = append(behind, i)
		}
	}
	return behind, true
}
