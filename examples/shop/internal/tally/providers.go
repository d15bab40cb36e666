package tally

import (
	"slices"
	"sync"
	"time"
)

const keptChanges = 256

// Providers keeps, for each interface this process consumes, the list of
// addresses it would call now and how the list came to be. It is safe for
// concurrent use.
type Providers struct {
	now func() time.Time

	mu    sync.Mutex
	lists map[string]*ProviderList
}

// ProviderList is the list of one interface.
type ProviderList struct {
	Current []string  `json:"current"` // sorted
	Since   time.Time `json:"since,omitzero"`
	// Changes are the newest changes, oldest first; Changed counts all.
	Changes []Change `json:"changes"`
	Changed int64    `json:"changed"`
	// TimesEmpty counts the changes that left nobody to call.
	TimesEmpty int64 `json:"timesEmpty"`
}

// Change is one change of a list.
type Change struct {
	Time      time.Time `json:"time"`
	Providers []string  `json:"providers"`
	Added     []string  `json:"added,omitempty"`
	Removed   []string  `json:"removed,omitempty"`
}

// NewProviders returns empty lists.
func NewProviders(now func() time.Time) *Providers {
	return &Providers{now: now, lists: map[string]*ProviderList{}}
}

// Set tells the present list of an interface. The same list again is no change.
func (p *Providers) Set(iface string, addresses []string) {
	next := slices.Compact(slices.Sorted(slices.Values(addresses)))
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lists[iface]
	if l == nil {
		l = &ProviderList{}
		p.lists[iface] = l
	} else if slices.Equal(l.Current, next) {
		return
	}
	change := Change{Time: p.now(), Providers: next, Added: without(next, l.Current), Removed: without(l.Current, next)}
	if len(l.Changes) == keptChanges {
		l.Changes = slices.Delete(l.Changes, 0, 1)
	}
	l.Changes = append(l.Changes, change)
	l.Changed++
	if len(next) == 0 {
		l.TimesEmpty++
	}
	l.Current, l.Since = next, change.Time
}

// Lists returns a copy of the lists by interface.
func (p *Providers) Lists() map[string]ProviderList {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]ProviderList, len(p.lists))
	for iface, l := range p.lists {
		c := *l
		c.Changes = slices.Clone(l.Changes)
		out[iface] = c
	}
	return out
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}
