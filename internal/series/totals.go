package series

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weirmesh/weir/governance"
)

// Totals gathers the sums of many series. It is not safe for concurrent use.
type Totals struct {
	byInstance bool
	sums       map[totalKey]*Sum
	of         map[governance.App][]*Sum
	circuits   []governance.Circuit
	left       []totalKey
}

type totalKey struct {
	app      governance.App
	instance string
	sr       governance.Series
}

// NewTotals returns an empty one, whose sums are of one instance each, or merged.
func NewTotals(byInstance bool) *Totals {
	return &Totals{byInstance: byInstance, sums: map[totalKey]*Sum{}, of: map[governance.App][]*Sum{}}
}

// Sum returns the sum of a series, making one.
func (t *Totals) Sum(app governance.App, instance string, sr governance.Series) *Sum {
	k := t.key(app, instance, sr)
	s := t.sums[k]
	if s == nil {
		s = &Sum{}
		t.sums[k] = s
		t.of[app] = append(t.of[app], s)
	}
	return s
}

// Left says that an instance is gone.
func (t *Totals) Left(app governance.App, instance string) {
	t.left = append(t.left, totalKey{app: app, instance: instance})
}

// Circuit says what the last transition of a circuit was. One of a series that has
// no sample counts only while its instance lives, and one at least is not closed.
func (t *Totals) Circuit(c governance.Circuit) { t.circuits = append(t.circuits, c) }

func (t *Totals) key(app governance.App, instance string, sr governance.Series) totalKey {
	k := totalKey{app: app, sr: sr}
	if t.byInstance {
		k.instance = instance
	}
	return k
}

// settle joins what was counted with what is known of circuits and instances.
func (t *Totals) settle() {
	for _, c := range t.circuits {
		if c.Live && c.State != governance.StateClosed {
			t.Sum(c.App, c.Instance, c.Series)
		}
	}
	for _, c := range t.circuits {
		s := t.sums[t.key(c.App, c.Instance, c.Series)]
		if s == nil {
			continue
		}
		s.Moved(c.Instance, c.Time, c.State)
		if !c.Live {
			s.Left(c.Instance)
		}
	}
	for _, l := range t.left {
		for _, s := range t.of[l.app] {
			s.Left(l.instance)
		}
	}
	t.circuits, t.left = nil, nil
}

// All returns the totals, sorted.
func (t *Totals) All() []governance.Total {
	t.settle()
	out := make([]governance.Total, 0, len(t.sums))
	for k, s := range t.sums {
		out = append(out, s.Total(k.app, k.instance, k.sr))
	}
	slices.SortFunc(out, func(a, b governance.Total) int {
		return cmp.Or(a.App.Compare(b.App), a.Series.Compare(b.Series), strings.Compare(a.Instance, b.Instance))
	})
	return out
}
