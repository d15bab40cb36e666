package memory

import (
	"context"
	"slices"

	"github.com/weirmesh/weir/governance"
)

// maxReports is how many reports followers may be behind.
const maxReports = 4096

// stage keeps a report for followers; s.mu is held.
func (h *history) stage(r governance.Report) {
	if len(r.Samples) == 0 {
		return
	}
	h.reportID++
	if len(h.reports) >= maxReports {
		h.reports = slices.Clone(h.reports[maxReports/2:])
	}
	h.reports = append(h.reports, governance.Staged{ID: h.reportID, App: r.App, Instance: r.Instance, Samples: slices.Clone(r.Samples)})
}

// RecentSamples implements governance.Tail.
func (s *Store) RecentSamples(_ context.Context, q governance.RecentQuery, each func(governance.Staged)) (governance.Seen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for app, all := range s.history.samples {
		if q.App != (governance.App{}) && app != q.App {
			continue
		}
		for _, list := range all {
			for _, st := range list {
				if st.Second >= q.From.Unix() && (q.Instance == "" || st.Instance == q.Instance) {
					each(governance.Staged{App: app, Instance: st.Instance, Samples: []governance.Sample{st.Sample}})
				}
			}
		}
	}
	return governance.Seen{High: s.history.reportID}, nil
}

// ReportsAfter implements governance.Tail.
func (s *Store) ReportsAfter(_ context.Context, seen governance.Seen, limit int) ([]governance.Staged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []governance.Staged
	for _, r := range s.history.reports {
		if !seen.Has(r.ID) && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// EventsNow implements governance.Tail.
func (s *Store) EventsNow(context.Context) (governance.Seen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return governance.Seen{High: int64(len(s.events))}, nil
}

// EventsAfter implements governance.Tail.
func (s *Store) EventsAfter(_ context.Context, seen governance.Seen, namespaces []string, limit int) ([]governance.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []governance.Event
	for _, e := range s.events {
		if !seen.Has(e.ID) && (len(namespaces) == 0 || slices.Contains(namespaces, e.App.Namespace)) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}
