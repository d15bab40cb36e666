package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
)

var errNeed = errors.New("the store is in need")

// needy is a store that answers some questions only when it is well.
type needy struct {
	*memory.Store
	hidden atomic.Pointer[governance.App] // whose samples it does not give out
	mute   atomic.Bool                    // about events
	reads  atomic.Int64                   // of the samples of all
}

func (s *needy) RecentSamples(ctx context.Context, q governance.RecentQuery, each func(governance.Staged)) (governance.Seen, error) {
	if app := s.hidden.Load(); app != nil && q.App == *app {
		return governance.Seen{}, errNeed
	}
	seen, err := s.Store.RecentSamples(ctx, q, each)
	if q.App == (governance.App{}) {
		s.reads.Add(1)
	}
	return seen, err
}

func (s *needy) EventsAfter(ctx context.Context, seen governance.Seen, namespaces []string, limit int) ([]governance.Event, error) {
	if s.mute.Load() {
		return nil, errNeed
	}
	return s.Store.EventsAfter(ctx, seen, namespaces, limit)
}

func TestAViewThatCannotBeReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := &needy{Store: memory.New(memory.Options{})}
	k := start(t, api.Config{Store: s, LiveTick: liveTick})
	s.hidden.Store(&inventory)
	other := k.watch("app=shop/orders", "viewer", "")
	read[api.LiveHealth](other, "health")
	for range 5 {
		select {
		case err := <-k.watch("app=shop/orders&app=shop/inventory", "viewer", "").closed:
			if !errors.Is(err, io.EOF) {
				t.Fatalf("it ended with %v, want its orderly end", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("it neither begins nor ends")
		}
		read[api.LiveHealth](k.watch("app=shop/orders", "viewer", ""), "health")
		if h := read[api.LiveHealth](other, "health"); !h.Stale.IsZero() {
			t.Fatalf("others are told that nothing can be read: %+v", h)
		}
	}
	s.hidden.Store(nil)
	if got := read[api.LiveSamples](k.watch("app=shop/inventory", "viewer", ""), "samples"); !got.Backfill {
		t.Fatalf("%+v", got)
	}
}

// The store answers for a moment, and then not again for a while.
func TestWhatIsReadAnewIsToldOnceItCanBe(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := &needy{Store: memory.New(memory.Options{})}
	k := start(t, api.Config{Store: s, LiveTick: liveTick, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	v := k.watch("", "viewer", "")
	if h := read[api.LiveHealth](v, "health"); !h.Full {
		t.Fatalf("%+v", h)
	}
	s.mute.Store(true)
	for read[api.LiveHealth](v, "health").Stale.IsZero() {
	}
	// One who comes now is told so too, and not left in silence.
	if h := read[api.LiveHealth](k.watch("", "viewer", ""), "health"); h.Stale.IsZero() || h.Full {
		t.Fatalf("%+v", h)
	}
	before := s.reads.Load()
	ahead.Store(int64(time.Minute))
	k.until("all is read anew", func() bool { return s.reads.Load() > before })
	s.mute.Store(false)
	for n := 0; !read[api.LiveHealth](v, "health").Full; n++ {
		if n == 500 {
			t.Fatal("what was read anew is not told")
		}
	}
}

func TestWhoWasAwayForTooMuchReadsTheList(t *testing.T) {
	t.Parallel()
	store := memory.New(memory.Options{})
	k := start(t, api.Config{Store: store, LiveTick: liveTick})
	v := k.watch("", "viewer", "")
	read[api.LiveHealth](v, "health")
	happened(t, store, inventory, "seen")
	v.happenings(1)
	has := v.close()
	k.until("it is followed no more", func() bool { return !api.Following(k.api) })
	much := make([]governance.Event, 10_001)
	for i := range much {
		much[i] = governance.Event{Time: time.Now(), Kind: governance.EventRefused, App: inventory, Instance: "missed"}
	}
	if err := store.Record(t.Context(), much...); err != nil {
		t.Fatal(err)
	}
	// The second one says that it lacks all there ever was.
	for _, has := range []string{has, fmt.Sprintf("%d~1-%d", len(much), len(much)-1)} {
		v = k.watch("", "viewer", has)
		timer := time.After(30 * time.Second)
		for told := false; !told; {
			select {
			case e := <-v.events:
				if e.name == "event" {
					t.Fatalf("told of %s", e.data)
				}
				told = e.name == "change" && strings.Contains(e.data, `"events"`)
			case <-timer:
				t.Fatal("it is not told to read the list")
			}
		}
		happened(t, store, inventory, "new")
		if got := v.happenings(1); got[0] != "new" {
			t.Fatalf("%v", got)
		}
		v.close()
	}
}
