package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Documents of revisions are read once and kept, as their revision is made from
// what they say; and again after a while, in case somebody wrote another.
const (
	keepOffer   = 10 * time.Minute
	keepFailure = 30 * time.Second
	// mostOffers bounds what is kept.
	mostOffers = 4096
	// A list reads a few of the documents it lacks, for a moment, and the next list
	// some more: a thousand applications must not cost a thousand questions at once.
	listReads, listPatience = 64, 500 * time.Millisecond
	// readers read side by side.
	readers = 8
	// mostRevisions bounds those that are looked at of one application.
	mostRevisions = 16
)

type offerKey struct {
	app      registry.App
	revision string
}

// offered is what one revision offers, or why that is not known. It is never
// changed.
type offered struct {
	registry.Document
	read time.Time
}

func (o *offered) fresh(now time.Time) bool {
	keep := keepOffer
	if o.Err != nil {
		keep = keepFailure
	}
	return now.Sub(o.read) < keep
}

// offers keeps what revisions offer.
type offers struct {
	store registry.MetadataStore
	now   func() time.Time
	turn  chan struct{} // held by the one list that reads

	mu    sync.Mutex
	known map[offerKey]*offered
}

func newOffers(d Deps) *offers {
	return &offers{store: d.Registry, now: d.Now, turn: make(chan struct{}, 1), known: map[offerKey]*offered{}}
}

// get returns what is known of a revision; nil for nothing.
func (o *offers) get(app registry.App, revision string) *offered {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known[offerKey{app, revision}]
}

// readSome reads some of the documents that a list lacks.
func (o *offers) readSome(ctx context.Context, sums []registry.Summary) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	default:
		return // another list reads
	}
	var missing []offerKey
	for i := range sums {
		missing = append(missing, o.missing(sums[i].App, sums[i].Revisions)...)
		if len(missing) >= listReads {
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	o.readAll(ctx, missing)
}

// read reads the documents of one application that are not known.
func (o *offers) read(ctx context.Context, app registry.App, revisions []registry.RevisionCount) {
	o.readAll(ctx, o.missing(app, revisions))
}

func (o *offers) missing(app registry.App, revisions []registry.RevisionCount) []offerKey {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []offerKey
	for _, r := range revisions[:min(len(revisions), mostRevisions)] {
		key := offerKey{app, r.Revision}
		if known := o.known[key]; known == nil || !known.fresh(now) {
			out = append(out, key)
		}
	}
	return out
}

// readAll reads until ctx ends. What was not read then is not known to fail.
func (o *offers) readAll(ctx context.Context, keys []offerKey) {
	next := make(chan offerKey)
	var all sync.WaitGroup
	for range min(readers, len(keys)) {
		all.Go(func() {
			for key := range next {
				o.readOne(ctx, key)
			}
		})
	}
	for _, key := range keys {
		next <- key
	}
	close(next)
	all.Wait()
}

func (o *offers) readOne(ctx context.Context, key offerKey) {
	if ctx.Err() != nil {
		return
	}
	document := registry.ReadDocument(ctx, o.store, key.app, key.revision)
	if ctx.Err() != nil {
		return
	}
	found := &offered{Document: document, read: o.now()}
	o.mu.Lock()
	defer o.mu.Unlock()
	if old := o.known[key]; old != nil && old.Err == nil && document.Err != nil && registry.CodeOf(document.Err) != registry.NotFound {
		found.Document = old.Document // what was read before still holds
	}
	o.known[key] = found
	if len(o.known) <= mostOffers {
		return
	}
	for k, old := range o.known {
		if k != key && (!old.fresh(found.read) || len(o.known) > mostOffers) {
			delete(o.known, k)
		}
	}
}

// count returns how many interfaces an application offers; nil while none of its
// revisions is described.
func (o *offers) count(sum *registry.Summary) *int {
	if sum.Instances == 0 {
		return nil
	}
	names := map[registry.Interface]struct{}{}
	known := len(sum.Revisions) == 0 // then nothing is offered
	for _, r := range sum.Revisions[:min(len(sum.Revisions), mostRevisions)] {
		if found := o.get(sum.App, r.Revision); found != nil && found.Err == nil {
			known = true
			for _, offer := range found.Offers {
				names[offer.Interface] = struct{}{}
			}
		}
	}
	if !known {
		return nil
	}
	n := len(names)
	return &n
}

// interfaces returns what the revisions offer together, sorted, and those of
// which that is not known.
func (o *offers) interfaces(app registry.App, revisions []registry.RevisionCount) ([]Interface, []Undescribed) {
	all := map[registry.Interface]*Interface{}
	var not []Undescribed
	for n, r := range revisions {
		found := o.get(app, r.Revision)
		switch {
		case n >= mostRevisions:
			not = append(not, Undescribed{r.Revision, r.Instances, "so many revisions are not looked at together"})
			continue
		case found == nil:
			not = append(not, Undescribed{r.Revision, r.Instances, "its document was not read in time: ask again"})
			continue
		case registry.CodeOf(found.Err) == registry.NotFound:
			not = append(not, Undescribed{r.Revision, r.Instances, "no document of it is stored, so consumers ask the instances themselves"})
			continue
		case found.Err != nil:
			not = append(not, Undescribed{r.Revision, r.Instances, "its document cannot be read: " + registry.Text(found.Err)})
			continue
		}
		counted := map[registry.Interface]struct{}{}
		for _, offer := range found.Offers {
			at := all[offer.Interface]
			if at == nil {
				at = &Interface{Interface: offer.Interface, Protocols: []string{}}
				all[offer.Interface] = at
			}
			if _, again := counted[offer.Interface]; !again { // by another protocol
				counted[offer.Interface] = struct{}{}
				at.Instances += r.Instances
			}
			if offer.Protocol != "" {
				at.Protocols = append(at.Protocols, offer.Protocol)
			}
			if len(offer.Methods) == 0 {
				at.Methods = append(at.Methods, offer.Names...)
			}
			for _, m := range offer.Methods {
				at.Methods = append(at.Methods, m.String())
			}
		}
	}
	out := make([]Interface, 0, len(all))
	for _, i := range all {
		i.Protocols, i.Methods = tidy(i.Protocols), tidy(i.Methods)
		out = append(out, *i)
	}
	slices.SortFunc(out, func(a, b Interface) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Group, b.Group), strings.Compare(a.Version, b.Version))
	})
	return out, not
}

func tidy(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
