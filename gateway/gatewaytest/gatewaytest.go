// Package gatewaytest holds every gateway.Store to what the interface promises.
package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// Subject is a store under test, which is empty.
type Subject struct {
	Store gateway.Store
	// Age makes the last word of a gateway older.
	Age func(t *testing.T, node string, by time.Duration)
}

// Settings are what the kit wants of a subject.
type Settings struct {
	Horizon int64         // revisions for which tombstones are kept
	Poll    time.Duration // between looks that no notification caused
}

// long stands for never: a test that waits for it has failed.
const long = time.Hour

// patience bounds every wait of the kit.
const patience = 30 * time.Second

// Run runs the kit. open returns a new, empty store for each test.
func Run(t *testing.T, open func(*testing.T, Settings) Subject) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, func(*testing.T, Settings) Subject){
		"Versions":          versions,
		"Expectations":      expectations,
		"AllOrNothing":      allOrNothing,
		"Refusals":          refusals,
		"Unchanged":         unchanged,
		"Lists":             lists,
		"History":           history,
		"Deltas":            deltas,
		"Horizon":           horizon,
		"Checksums":         checksums,
		"WriterKeepsItsOwn": writerKeepsItsOwn,
		"Following":         following,
		"Races":             races,
		"Watch":             watch,
		"Nodes":             nodes,
		"WaitApplied":       waitApplied,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// Route returns a valid route; the last argument tells routes of one name apart.
func Route(namespace, name, mark string) gateway.Route {
	return gateway.Route{
		Namespace: namespace, Name: name,
		Match:    gateway.Match{Path: "/" + name + "/{id}", Method: gateway.Strings{"GET"}},
		Filters:  []gateway.Filter{{Request: &gateway.HeaderEdit{Set: map[string]string{"X-Mark": mark}}}},
		Upstream: gateway.Upstream{App: namespace + "/" + "app"},
	}
}

// Put returns a write of such a route, whatever is there.
func Put(namespace, name, mark string) gateway.Write {
	return gateway.Write{Route: Route(namespace, name, mark), Expect: gateway.AnyRevision}
}

// Delete returns a deletion, whatever is there.
func Delete(namespace, name string) gateway.Write {
	return gateway.Write{Route: gateway.Route{Namespace: namespace, Name: name}, Delete: true, Expect: gateway.AnyRevision}
}

// Because is a change.
func Because(reason string) gateway.Change { return gateway.Change{Actor: "user:kit", Reason: reason} }

func apply(t *testing.T, s gateway.Store, writes ...gateway.Write) gateway.Revision {
	t.Helper()
	rev, err := s.Apply(t.Context(), writes, Because("test"))
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return rev
}

func since(t *testing.T, s gateway.Source, rev gateway.Revision) gateway.Delta {
	t.Helper()
	d, err := s.Since(t.Context(), rev)
	if err != nil {
		t.Fatalf("since %d: %v", rev, err)
	}
	return d
}

func wantCode(t *testing.T, err error, code gateway.Code, says ...string) {
	t.Helper()
	if gateway.CodeOf(err) != code {
		t.Errorf("got %v (code %q), want %s", err, gateway.CodeOf(err), code)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// keys writes versions down as "namespace/name@revision", deleted ones with a
// dash, sorted.
func keys(versions []gateway.Version) string {
	out := make([]string, 0, len(versions))
	for _, v := range versions {
		s := fmt.Sprintf("%s@%d", v.Route.Key(), v.Revision)
		if v.Deleted {
			s = "-" + s
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func versions(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	key := gateway.Key{Namespace: "shop", Name: "cart"}
	if _, err := s.Get(t.Context(), key); gateway.CodeOf(err) != gateway.NotFound {
		t.Errorf("a route that never was: %v", err)
	}
	first := apply(t, s, Put("shop", "cart", "one"))
	if first != 1 {
		t.Errorf("the first revision is %d", first)
	}
	v, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if !gateway.Equal(v.Route, Route("shop", "cart", "one")) || v.Revision != 1 || v.Actor != "user:kit" || v.Reason != "test" || v.Deleted {
		t.Errorf("got %+v", v)
	}
	if v.Created.IsZero() || v.Created.Location() != time.UTC || !v.Created.Equal(v.Created.Truncate(time.Microsecond)) {
		t.Errorf("created %v, want whole microseconds of UTC", v.Created)
	}
	if second := apply(t, s, Put("shop", "cart", "two")); second != 2 {
		t.Errorf("the second revision is %d", second)
	}
	if third := apply(t, s, Delete("shop", "cart")); third != 3 {
		t.Errorf("the third revision is %d", third)
	}
	_, err = s.Get(t.Context(), key)
	wantCode(t, err, gateway.NotFound, "shop/cart")
	if fourth := apply(t, s, gateway.Write{Route: Route("shop", "cart", "two")}); fourth != 4 {
		t.Errorf("a deleted route was made anew at %d", fourth)
	}
}

func expectations(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	put := func(name string, expect gateway.Revision) error {
		_, err := s.Apply(t.Context(), []gateway.Write{{Route: Route("n", name, fmt.Sprint(expect)), Expect: expect}}, Because("x"))
		return err
	}
	remove := func(name string, expect gateway.Revision) error {
		w := Delete("n", name)
		w.Expect = expect
		_, err := s.Apply(t.Context(), []gateway.Write{w}, Because("x"))
		return err
	}
	wantCode(t, put("a", 5), gateway.Conflict, "n/a")
	wantCode(t, put("a", 0), "")                              // 1
	wantCode(t, put("a", 0), gateway.Conflict, "revision 1")  // it is there
	wantCode(t, put("a", 1), "")                              // 2
	wantCode(t, put("a", 1), gateway.Conflict, "revision 2")  // stale
	wantCode(t, put("a", 99), gateway.Conflict, "revision 2") // never was
	wantCode(t, put("b", 0), "")                              // 3: another route
	wantCode(t, put("a", 2), "")                              // 4: what b did is no matter
	wantCode(t, remove("a", 2), gateway.Conflict, "revision 4")
	wantCode(t, remove("a", 0), gateway.Conflict, "revision 4")
	wantCode(t, remove("c", gateway.AnyRevision), gateway.NotFound, "n/c")
	wantCode(t, remove("a", 4), "") // 5
	wantCode(t, remove("a", 5), gateway.NotFound)
	wantCode(t, put("a", 5), gateway.Conflict) // a tombstone's revision is none
	wantCode(t, put("a", 0), "")               // 6
	if d := since(t, s, 0); d.Revision != 6 {
		t.Errorf("refused writes took revisions: the table is at %d, want 6", d.Revision)
	}
}

func allOrNothing(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	apply(t, s, Put("n", "a", "1"), Put("n", "b", "1"))
	before := since(t, s, 0)
	stale := Put("n", "b", "2")
	stale.Expect = 7
	missing := Delete("n", "zz")
	_, err := s.Apply(t.Context(), []gateway.Write{Put("n", "a", "2"), stale, missing, Put("n", "c", "1")}, Because("x"))
	wantCode(t, err, gateway.Conflict, "n/b", "n/zz") // everything that is wrong
	bad := Put("n", "d", "1")
	bad.Route.Upstream = gateway.Upstream{}
	_, err = s.Apply(t.Context(), []gateway.Write{Put("n", "a", "2"), bad}, Because("x"))
	wantCode(t, err, gateway.Invalid, "[1].upstream")
	if after := since(t, s, 0); after.Revision != before.Revision || after.Checksum != before.Checksum || keys(after.Routes) != keys(before.Routes) {
		t.Errorf("a refused change left traces: %s, then %s", keys(before.Routes), keys(after.Routes))
	}
	if rev := apply(t, s, Put("n", "a", "2"), Delete("n", "b"), Put("n", "c", "1")); rev != 2 {
		t.Errorf("one change took revision %d", rev)
	}
	if got := keys(since(t, s, 1).Routes); got != "-n/b@2 n/a@2 n/c@2" {
		t.Errorf("got %s", got)
	}
}

func refusals(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	for name, c := range map[string]struct {
		writes []gateway.Write
		change gateway.Change
	}{
		"nobody":            {[]gateway.Write{Put("n", "a", "1")}, gateway.Change{Reason: "x"}},
		"no reason":         {[]gateway.Write{Put("n", "a", "1")}, gateway.Change{Actor: "user:x"}},
		"twice":             {[]gateway.Write{Put("n", "a", "1"), Delete("n", "a")}, Because("x")},
		"wrong route":       {[]gateway.Write{Put("N", "a", "1")}, Because("x")},
		"no key":            {[]gateway.Write{Delete("n", "")}, Because("x")},
		"negative revision": {[]gateway.Write{{Route: Route("n", "a", "1"), Expect: -2}}, Because("x")},
		"too many":          {make([]gateway.Write, gateway.MaxWrites+1), Because("x")},
	} {
		if _, err := s.Apply(t.Context(), c.writes, c.change); gateway.CodeOf(err) != gateway.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.SetNode(t.Context(), gateway.Node{}); gateway.CodeOf(err) != gateway.Invalid {
		t.Errorf("a node without a name: %v", err)
	}
	if d := since(t, s, 0); d.Revision != 0 || len(d.Routes) != 0 {
		t.Errorf("something was written: %+v", d)
	}
}

func unchanged(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	if rev := apply(t, s); rev != 0 {
		t.Errorf("nothing at all made revision %d", rev)
	}
	apply(t, s, Put("n", "a", "1"))
	if rev := apply(t, s, Put("n", "a", "1")); rev != 1 {
		t.Errorf("writing what is there made revision %d", rev)
	}
	if rev := apply(t, s, Put("n", "a", "1"), Put("n", "b", "1")); rev != 2 {
		t.Errorf("revision %d", rev)
	}
	if got := keys(since(t, s, 0).Routes); got != "n/a@1 n/b@2" {
		t.Errorf("what did not change has another revision: %s", got)
	}
	if h, err := s.History(t.Context(), gateway.Key{Namespace: "n", Name: "a"}, 0); err != nil || len(h) != 1 {
		t.Errorf("history %s, %v", keys(h), err)
	}
}

func lists(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	if all, rev, err := s.List(t.Context(), ""); err != nil || rev != 0 || len(all) != 0 {
		t.Errorf("an empty store lists %s at %d, %v", keys(all), rev, err)
	}
	var writes []gateway.Write
	for _, ns := range []string{"b", "a"} {
		for _, name := range []string{"z", "a-b", "a.b", "a_b", "a", "m0", "m1", "m2"} {
			writes = append(writes, Put(ns, name, "1"))
		}
	}
	apply(t, s, writes...)
	apply(t, s, Delete("a", "m1"))
	for _, c := range []struct {
		namespace string
		want      int
	}{{"", 15}, {"a", 7}, {"b", 8}, {"c", 0}} {
		got, rev, err := s.List(t.Context(), c.namespace)
		if err != nil || rev != 2 || len(got) != c.want {
			t.Errorf("namespace %q: %d routes at %d, %v; want %d", c.namespace, len(got), rev, err, c.want)
		}
		if !slices.IsSortedFunc(got, func(a, b gateway.Version) int { return a.Route.Key().Compare(b.Route.Key()) }) {
			t.Errorf("namespace %q is not sorted: %s", c.namespace, keys(got))
		}
	}
}

func history(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	key := gateway.Key{Namespace: "n", Name: "a"}
	if h, err := s.History(t.Context(), key, 0); err != nil || len(h) != 0 {
		t.Errorf("a route that never was: %s, %v", keys(h), err)
	}
	for i, w := range []gateway.Write{Put("n", "a", "1"), Put("n", "b", "1"), Put("n", "a", "2"), Delete("n", "a"), Put("n", "a", "3")} {
		if _, err := s.Apply(t.Context(), []gateway.Write{w}, gateway.Change{Actor: "user:kit", Reason: fmt.Sprint("step ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	h, err := s.History(t.Context(), key, 0)
	if err != nil || len(h) != 4 {
		t.Fatalf("%d versions, %v", len(h), err)
	}
	for i, want := range []struct {
		rev     gateway.Revision
		mark    string
		deleted bool
		reason  string
	}{{5, "3", false, "step 4"}, {4, "2", true, "step 3"}, {3, "2", false, "step 2"}, {1, "1", false, "step 0"}} {
		got := h[i]
		if got.Revision != want.rev || got.Deleted != want.deleted || got.Reason != want.reason || got.Actor != "user:kit" || !gateway.Equal(got.Route, Route("n", "a", want.mark)) {
			t.Errorf("version %d: got %+v, want %+v", i, got, want)
		}
		if one, err := s.Version(t.Context(), key, want.rev); err != nil || !reflect.DeepEqual(one, got) {
			t.Errorf("the version of revision %d: %+v, %v, want %+v", want.rev, one, err, got)
		}
	}
	if h, err := s.History(t.Context(), key, 2); err != nil || keys(h) != "-n/a@4 n/a@5" {
		t.Errorf("the newest two: %s, %v", keys(h), err)
	}
	for _, rev := range []gateway.Revision{-1, 0, 2, 6} {
		var e *gateway.Error
		if v, err := s.Version(t.Context(), key, rev); !errors.As(err, &e) || e.Code != gateway.NotFound {
			t.Errorf("revision %d, which wrote another route or none: %+v, %v", rev, v, err)
		}
	}
}

func deltas(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	d := since(t, s, 0)
	if !d.Full || d.Revision != 0 || len(d.Routes) != 0 || d.Checksum != gateway.Checksum(nil) {
		t.Errorf("an empty store: %+v", d)
	}
	apply(t, s, Put("n", "a", "1"), Put("n", "b", "1"), Put("n", "c", "1")) // 1
	apply(t, s, Put("n", "a", "2"))                                         // 2
	apply(t, s, Delete("n", "b"))                                           // 3
	for _, c := range []struct {
		rev  gateway.Revision
		full bool
		want string
	}{
		{0, true, "n/a@2 n/c@1"},
		{1, false, "-n/b@3 n/a@2"},
		{2, false, "-n/b@3"},
		{3, false, ""},
		{4, true, "n/a@2 n/c@1"}, // ahead: another database, or an older one
		{1 << 40, true, "n/a@2 n/c@1"},
	} {
		d := since(t, s, c.rev)
		if d.Full != c.full || d.Revision != 3 || keys(d.Routes) != c.want {
			t.Errorf("since %d: full %t, revision %d, %s; want full %t, %s", c.rev, d.Full, d.Revision, keys(d.Routes), c.full, c.want)
		}
	}
	for _, v := range since(t, s, 1).Routes {
		if v.Deleted && !gateway.Equal(v.Route, Route("n", "b", "1")) {
			t.Errorf("the tombstone holds %+v, not what the route was", v.Route)
		}
	}
}

func horizon(t *testing.T, open func(*testing.T, Settings) Subject) {
	const keep = 5
	s := open(t, Settings{Horizon: keep}).Store
	apply(t, s, Put("n", "old", "1"), Put("n", "still", "1"))
	apply(t, s, Delete("n", "old")) // 2
	var reader gateway.State
	reader.Apply(since(t, s, 1))
	var rev gateway.Revision
	for i := range 4 * keep {
		rev = apply(t, s, Put("n", "busy", fmt.Sprint(i)))
	}
	if d := since(t, s, 1); !d.Full || keys(d.Routes) != fmt.Sprintf("n/busy@%d n/still@1", rev) {
		t.Errorf("far behind: full %t, %s", d.Full, keys(d.Routes))
	}
	if d := since(t, s, rev-keep); d.Full {
		t.Errorf("%d revisions behind is within the horizon of %d, but everything came", keep, keep)
	}
	// What a tombstone was can still be told, and its place is free.
	if h, err := s.History(t.Context(), gateway.Key{Namespace: "n", Name: "old"}, 0); err != nil || keys(h) != "-n/old@2 n/old@1" {
		t.Errorf("history %s, %v", keys(h), err)
	}
	if _, err := s.Apply(t.Context(), []gateway.Write{{Route: Route("n", "old", "2")}}, Because("again")); err != nil {
		t.Error(err)
	}
	// Tombstones within the horizon stay, so that nobody keeps a deleted route.
	rev = apply(t, s, Delete("n", "old"))
	for i := range keep {
		apply(t, s, Put("n", "busy", fmt.Sprint("again ", i)))
	}
	if d := since(t, s, rev-1); d.Full || !strings.Contains(keys(d.Routes), "-n/old@") {
		t.Errorf("full %t, %s", d.Full, keys(d.Routes))
	}
}

func checksums(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{Horizon: 3}).Store
	var reader gateway.State
	check := func() {
		t.Helper()
		if d := since(t, s, reader.Revision); !reader.Apply(d) {
			t.Fatalf("after %s the reader has %s, the store %s", keys(d.Routes), reader.Checksum(), d.Checksum)
		}
		all, _, err := s.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if d := since(t, s, 0); gateway.Checksum(all) != d.Checksum {
			t.Fatalf("%s is summed %s, not %s", keys(all), gateway.Checksum(all), d.Checksum)
		}
	}
	check()
	for i := range 12 {
		apply(t, s, Put("n", fmt.Sprint("r", i%4), fmt.Sprint(i)), Put("m", fmt.Sprint("r", i%3), fmt.Sprint(i)))
		check()
		if i%3 == 2 {
			apply(t, s, Delete("n", fmt.Sprint("r", i%4)))
			check()
		}
	}
}

func writerKeepsItsOwn(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	w := Put("n", "a", "mine")
	w.Route.Match.Host = gateway.Strings{"a.example.com"}
	apply(t, s, w)
	w.Route.Match.Host[0] = "b.example.com"
	w.Route.Filters[0].Request.Set["X-Mark"] = "yours"
	v, err := s.Get(t.Context(), gateway.Key{Namespace: "n", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Route.Match.Host[0] != "a.example.com" || v.Route.Filters[0].Request.Set["X-Mark"] != "mine" {
		t.Errorf("the writer reached into the store: %+v", v.Route)
	}
}

var errDone = errors.New("the test has seen enough")

// until calls a context's end a failure of what was awaited.
func until(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), patience)
}
