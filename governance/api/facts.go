package api

import "github.com/weirmesh/weir/internal/node"

// Facts are what this control plane alone knows of itself.
func (a *API) Facts() node.Facts {
	a.hub.mu.Lock()
	streams := a.hub.streams
	a.hub.mu.Unlock()
	f := node.Facts{Queues: []node.Queue{
		{Name: "streams", Depth: int64(streams), Limit: int64(a.cfg.MaxStreams), Unit: "instances", Detail: "that policies are pushed to from here"},
		{Name: "reports", Depth: int64(len(a.reports.all)), Limit: int64(a.cfg.MaxReports), Unit: "reports", Detail: "of instances, being taken in here now"},
	}}
	if err := a.Ready(); err != nil {
		f.Notes = append(f.Notes, err.Error())
	}
	return f
}
