package kube

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/registry"
)

func (h *Hub) watched(namespace string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.spaces[namespace] != nil
}

// A namespace that nobody follows ends a while later, and no sooner; one that was
// configured does not. At its second beginning nothing is told until it was heard.
func TestANamespaceThatNobodyFollowsEnds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, store := watchingStore(t, dir)
		stop, err := h.Subscribe(storeInventory(), func(registry.Snapshot) {})
		if err != nil {
			t.Fatal(err)
		}
		advance(3 * lingerFor)
		if !h.watched("store") {
			t.Fatal("it ended although it is followed")
		}
		stop()
		advance(lingerFor - time.Second)
		if !h.watched("store") {
			t.Fatal("it ended at once")
		}
		if s, err := h.Snapshot(t.Context(), storeInventory()); err != nil || s.Known() {
			t.Fatalf("%+v, %v", s, err)
		}
		advance(lingerFor - time.Second)
		if !h.watched("store") {
			t.Fatal("it ended although somebody asked")
		}
		advance(2 * time.Second)
		if h.watched("store") {
			t.Fatal("nobody follows it, and it is watched")
		}
		if !h.watched("shop") {
			t.Fatal("one that was configured ended")
		}
		// What a watch that ends still brings, or the loss of it, is nobody's.
		h.hear(store)
		store.podSource.lost(h.clock.now(), errShort)
		if h.watched("store") || len(h.failures) > 0 {
			t.Errorf("what ended is back: %v", h.failures)
		}

		store = h.ask("store")
		told := heardOf(t, h, storeInventory())
		if s := told(); s != nil {
			t.Fatalf("told before anything was heard: %+v", s)
		}
		h.hear(store)
		if s := told(); s == nil {
			t.Fatal("heard, and nothing is told")
		}
	})
}

// watchingStore is a hub for the namespace shop that was asked of store, too, and has
// heard all of both.
func watchingStore(t *testing.T, dir string) (h *Hub, store *space) {
	t.Helper()
	h = remembering(t, dir)
	h.hear(h.ask("shop"))
	store = h.ask("store")
	h.hear(store)
	return h, store
}

// While the API server cannot be heard, what it said is kept.
func TestNoNamespaceEndsInAnOutage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, store := watchingStore(t, dir)
		if _, err := h.Snapshot(t.Context(), storeInventory()); err != nil {
			t.Fatal(err)
		}
		h.client = &client{host: "h"}
		store.podSource.lost(h.clock.now(), errShort)
		advance(3 * lingerFor)
		if !h.watched("store") {
			t.Fatal("it ended in an outage")
		}
		store.podSource.inTouch()
		advance(2 * lingerAgain)
		if h.watched("store") {
			t.Fatal("after the outage it is watched for good")
		}
	})
}

// What is kept though it is not ready would be given up by who hears of it first.
func TestNoNamespaceEndsWhileSomethingIsKept(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, store := watchingStore(t, dir)
		if _, err := h.Snapshot(t.Context(), storeInventory()); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		a := &app{name: storeInventory(), space: store}
		store.losing[a] = struct{}{}
		h.mu.Unlock()
		advance(3 * lingerFor)
		if !h.watched("store") {
			t.Fatal("it ended while something is kept")
		}
		h.mu.Lock()
		delete(store.losing, a)
		h.mu.Unlock()
		advance(2 * lingerAgain)
		if h.watched("store") {
			t.Fatal("it is watched for good")
		}
	})
}

// The file says what was known of a namespace whose watches ended, as of then, for as
// long as of any other that nobody follows.
func TestTheFileOutlivesTheWatches(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := remembering(t, dir)
		h.linger = time.Minute
		h.hear(h.ask("shop"))
		h.hear(h.ask("store"))
		stop, err := h.Subscribe(storeInventory(), func(registry.Snapshot) {})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		advance(time.Hour)
		stop()
		left := time.Now()
		advance(2 * time.Minute)
		if h.watched("store") {
			t.Fatal("it did not end")
		}
		_, since := h.keeper.saveAndRead(t)
		if at, there := since[storeInventory()]; !there || at.Sub(left).Abs() > 2*time.Second {
			t.Errorf("it is saved as of %v, want %v", at, left)
		}
		if h.watched("store") {
			t.Error("the file began it again")
		}
		advance(forgetAfter)
		if _, since := h.keeper.saveAndRead(t); len(since) > 0 {
			t.Errorf("still saved: %v", since)
		}
	})
}
