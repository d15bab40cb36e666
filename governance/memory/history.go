package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/series"
)

// history is every sample ever reported, which a process that lives for minutes
// can hold.
type history struct {
	seen    map[string]*governance.SeqWindow // by instance and boot
	samples map[governance.App]map[governance.Series][]governance.Stored
	// circuits are what transitions left, boots the process that each instance is.
	circuits map[circuitKey]governance.Circuit
	boots    map[member]string
	// reports are the newest ones, for followers; the last had the number reportID.
	reports  []governance.Staged
	reportID int64
}

type circuitKey struct {
	member
	sr governance.Series
}

func newHistory() history {
	return history{
		seen: map[string]*governance.SeqWindow{}, samples: map[governance.App]map[governance.Series][]governance.Stored{},
		circuits: map[circuitKey]governance.Circuit{}, boots: map[member]string{},
	}
}

// record takes events in; s.mu is held.
func (s *Store) record(events ...governance.Event) {
	for _, e := range events {
		e.ID = int64(len(s.events) + 1)
		e.Time = e.Time.UTC().Truncate(time.Microsecond)
		s.events = append(s.events, e)
	}
}

// Append implements governance.History.
func (s *Store) Append(ctx context.Context, r governance.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.Instance + "\x00" + r.Boot
	w := s.history.seen[key]
	if w == nil {
		w = &governance.SeqWindow{}
		s.history.seen[key] = w
	}
	if !w.Take(r.Seq) {
		return nil
	}
	all := s.history.samples[r.App]
	if all == nil {
		all = map[governance.Series][]governance.Stored{}
		s.history.samples[r.App] = all
	}
	for _, sample := range r.Samples {
		sample.Latency = slices.Clone(sample.Latency)
		all[sample.Series] = append(all[sample.Series], governance.Stored{App: r.App, Instance: r.Instance, Sample: sample})
	}
	s.record(governance.TransitionEvents(r)...)
	s.history.move(r)
	s.history.stage(r)
	return nil
}

// move notes what transitions leave of circuits.
func (h *history) move(r governance.Report) {
	m := member{r.App, r.Instance}
	if had := h.boots[m]; had != r.Boot && r.Seq > 0 {
		h.boots[m] = r.Boot
		maps.DeleteFunc(h.circuits, func(k circuitKey, _ governance.Circuit) bool { return k.member == m })
	}
	for _, t := range r.Transitions {
		k := circuitKey{m, t.Series}
		if have, ok := h.circuits[k]; !ok || !t.Time.Before(have.Time) {
			h.circuits[k] = governance.Circuit{App: r.App, Instance: r.Instance, Series: t.Series, State: t.To, Time: t.Time}
		}
	}
}

// Circuits implements governance.History.
func (s *Store) Circuits(_ context.Context, app governance.App) (circuits []governance.Circuit, cut bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.circuits(app), false, nil
}

func (s *Store) circuits(app governance.App) (out []governance.Circuit) {
	for k, c := range s.history.circuits {
		if app != (governance.App{}) && c.App != app {
			continue
		}
		i := s.fleet[k.member]
		c.Live = i != nil && !i.left && !s.gone(i)
		out = append(out, c)
	}
	return out
}

// Totals implements governance.History.
func (s *Store) Totals(_ context.Context, q governance.TotalsQuery) (governance.Totals, error) {
	now := s.now()
	q, err := q.WithDefaults(now)
	if err != nil {
		return governance.Totals{}, err
	}
	asked := func(app governance.App) bool {
		return (q.App == governance.App{} || app == q.App) && (q.Namespaces == nil || slices.Contains(q.Namespaces, app.Namespace))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := series.NewTotals(q.ByInstance)
	for app, all := range s.history.samples {
		if !asked(app) {
			continue
		}
		for sr, list := range all {
			for _, st := range list {
				if q.Holds(st.Second) {
					sums.Sum(app, st.Instance, sr).Add(st.Instance, st.Sample)
				}
			}
		}
	}
	if !q.Current(now) {
		return governance.Totals{Items: sums.All()}, nil
	}
	for _, c := range s.circuits(q.App) {
		if asked(c.App) {
			sums.Circuit(c)
		}
	}
	for m, i := range s.fleet {
		if i.left || s.gone(i) {
			sums.Left(m.app, m.id)
		}
	}
	return governance.Totals{Items: sums.All()}, nil
}

// Record implements governance.History.
func (s *Store) Record(_ context.Context, events ...governance.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(events...)
	return nil
}

// Series implements governance.History.
func (s *Store) Series(_ context.Context, q governance.SeriesQuery) (governance.SeriesResult, error) {
	q, err := q.WithDefaults(s.now())
	if err != nil {
		return governance.SeriesResult{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := series.NewMerger(q.From, q.To, q.Step)
	for _, st := range s.history.samples[q.App][q.Series] {
		if q.Instance == "" || st.Instance == q.Instance {
			m.Add(st.Instance, st.Sample)
		}
	}
	return governance.SeriesResult{Step: governance.Duration(q.Step), Points: m.Points()}, nil
}

// Commands implements governance.History.
func (s *Store) Commands(_ context.Context, app governance.App, from, to time.Time) ([]governance.Series, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []governance.Series
	for sr, all := range s.history.samples[app] {
		if within(all, from, to) {
			out = append(out, sr)
		}
	}
	slices.SortFunc(out, governance.Series.Compare)
	return out, nil
}

// Apps implements governance.History.
func (s *Store) Apps(_ context.Context, from, to time.Time) ([]governance.App, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.SortedFunc(maps.Keys(s.history.samples), governance.App.Compare)
	return slices.DeleteFunc(out, func(a governance.App) bool {
		for _, all := range s.history.samples[a] {
			if within(all, from, to) {
				return false
			}
		}
		return true
	}), nil
}

func within(all []governance.Stored, from, to time.Time) bool {
	return slices.ContainsFunc(all, func(s governance.Stored) bool { return s.Second >= from.Unix() && s.Second < to.Unix() })
}

// Events implements governance.History.
func (s *Store) Events(_ context.Context, q governance.EventQuery) ([]governance.Event, error) {
	q = q.WithDefaults(s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []governance.Event
	for _, e := range s.events {
		switch {
		case e.Time.Before(q.From), !e.Time.Before(q.To), q.App != governance.App{} && e.App != q.App,
			q.Namespaces != nil && !slices.Contains(q.Namespaces, e.App.Namespace),
			q.Instance != "" && e.Instance != q.Instance, q.Command != "" && e.Command != q.Command,
			q.Kinds != nil && !slices.Contains(q.Kinds, e.Kind):
		default:
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b governance.Event) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID)) })
	return out[:min(len(out), q.Limit)], nil
}
