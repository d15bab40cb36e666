package dubboconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// counted counts what is asked of pods.
type counted struct {
	pods
	asked atomic.Int64
}

func (c *counted) PodAt(ctx context.Context, namespace string, address netip.Addr) (registry.PodName, error) {
	c.asked.Add(1)
	return c.pods.PodAt(ctx, namespace, address)
}

// everything names as many documents of applications as one request may, each in a
// namespace of its own.
func everything(t *testing.T, n int) string {
	t.Helper()
	var contexts []listened
	for i := range n {
		contexts = append(contexts, listened{DataID: fmt.Sprintf("app-%d.configurators", i), Group: dubboGroup, Tenant: fmt.Sprintf("ns-%d", i)})
	}
	body, err := json.Marshal(map[string]any{"listen": true, "configListenContexts": contexts})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// However much a client names, the cluster is asked once whose address it has, and
// of one that no pod has again only after a while.
func TestTheClusterIsAskedOnceForEachConnection(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]pods{"a pod": {"127.0.0.1": {Namespace: "ns-0", Name: "restock-7d4", ID: "uid-1"}}, "no pod": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &counted{pods: known}
			var later atomic.Int64
			w := start(t, Config{Registry: r, Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
			p := w.dial()
			p.open()
			for range 3 {
				if out, _ := p.ask(kindListen, everything(t, maxListened)); out.kind != kindListened {
					t.Fatalf("it is answered %s %s", out.kind, out.body)
				}
				p.fetch("ns-0", "app-0.configurators")
				p.fetch("ns-1", "app-1.configurators")
			}
			if n := r.asked.Load(); n != 1 {
				t.Errorf("the cluster was asked %d times", n)
			}
			later.Store(int64(2 * strangerFor))
			p.fetch("ns-0", "app-0.configurators")
			if n, again := r.asked.Load(), int64(2-len(known)); n != again {
				t.Errorf("after a while the cluster was asked %d times, want %d", n, again)
			}
		})
	}
	w := start(t, Config{})
	p := w.dial()
	p.open()
	out, _ := p.ask(kindListen, everything(t, maxListened+1))
	var got changes
	if err := json.Unmarshal(out.body, &got); err != nil || got.Success {
		t.Errorf("more documents than there may be are answered %s", out.body)
	}
}

// meddled are the policies of a control plane, with something that happens once,
// right before it is asked for the next change of them.
type meddled struct {
	Policies
	meddle atomic.Pointer[func()]
}

func (m *meddled) PoliciesChanged() <-chan struct{} {
	if f := m.meddle.Swap(nil); f != nil {
		(*f)()
	}
	return m.Policies.PoliciesChanged()
}

// What changes between two looks is not lost: no document of before stays.
func TestNoChangeOfPoliciesIsLost(t *testing.T) {
	t.Parallel()
	m := &meddled{}
	w := start(t, Config{}, func(_ *world, c *Config) { m.Policies, c.Policies = c.Policies, m })
	document := func() int {
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		got := w.service.want(restock, []governance.App{inventory})
		if got == nil {
			return 0
		}
		return len(got.set.Policies)
	}
	meddle := func() {
		document()
		changed := m.Policies.PoliciesChanged()
		if _, err := w.store.Put(w.ctx, pulled(), 0, governance.Change{Actor: "test", Reason: "test"}); err != nil {
			t.Error(err)
			return
		}
		<-changed
	}
	m.meddle.Store(&meddle)
	first := pulled()
	first.Target.Command = "InventoryService.count"
	w.put(first)
	w.eventually("both are in the document", func() bool { return document() == 2 })
}

// away is a store that is away until it is back.
type away struct {
	Store
	back   atomic.Bool
	missed atomic.Int64
}

func (a *away) PutInstances(ctx context.Context, in ...governance.Instance) error {
	if !a.back.Load() {
		a.missed.Add(1)
		return errors.New("the store is away")
	}
	return a.Store.PutInstances(ctx, in...)
}

// Who leaves while the store is away is said to have left once it is back.
func TestWhoLeftIsToldOnceTheStoreIsBack(t *testing.T) {
	t.Parallel()
	store := &away{}
	store.back.Store(true)
	w := start(t, Config{}, func(_ *world, c *Config) { store.Store, c.Store = c.Store, store })
	p := w.dial()
	p.open()
	p.listen("shop", map[string]string{document1: ""})
	w.eventually("the instance is known", func() bool { i, ok := w.instance(); return ok && i.Applied != nil })
	before, _ := w.instance()
	store.back.Store(false)
	p.body.Close()
	<-p.status
	w.eventually("the client is gone", func() bool { return w.clients() == 0 })
	w.eventually("the store was told in vain", func() bool { return store.missed.Load() > 0 })
	store.back.Store(true)
	w.eventually("it counts a little longer only", func() bool { i, ok := w.instance(); return ok && i.Seen.Before(before.Seen) })
}

// Who sends requests without an end keeps nobody else waiting, and one connection has
// so many under way at most.
func TestRequestsWithoutAnEndKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	w := start(t, Config{}, func(_ *world, c *Config) { c.patience = patience })
	var ended atomic.Int64
	var all sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	defer all.Wait()
	defer end()
	const connections = 2*maxParsing/maxAsked + 1
	var last *peer
	for range connections {
		p := w.dial()
		last = p
		for range maxAsked {
			body, writer := io.Pipe()
			defer writer.Close()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+requestPath, body)
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				if resp, err := p.client.Do(req); err == nil {
					_ = resp.Body.Close()
				}
				ended.Add(1)
			})
		}
	}
	w.eventually("all of them wait", func() bool {
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		sum := 0
		for _, n := range w.service.asking {
			sum += n
		}
		return sum == connections*maxAsked
	})
	if _, status := last.ask(kindServerCheck, `{}`); !strings.HasPrefix(status, "8 ") {
		t.Errorf("one more of a connection is answered %q", status)
	}
	p := w.dial()
	p.open()
	if out, _ := p.ask(kindHealthCheck, `{}`); out.kind != kindHealthChecked || ended.Load() != 0 {
		t.Errorf("it is answered %s, after %d others have ended", out.kind, ended.Load())
	}
}

// Who does not read what it is answered is let go.
func TestAnAnswerThatNobodyReadsEnds(t *testing.T) {
	t.Parallel()
	w := start(t, Config{}, func(_ *world, c *Config) { c.patience = time.Second })
	p := w.dial()
	transport, ok := p.client.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the client's transport is another")
	}
	transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
	p.open()
	var contexts []listened
	for i := range maxListened {
		contexts = append(contexts, listened{DataID: fmt.Sprintf("%0100d.tag-router", i), Group: dubboGroup, MD5: "other"})
	}
	body, err := json.Marshal(map[string]any{"listen": true, "configListenContexts": contexts})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+requestPath, bytes.NewReader(payload{kindListen, body}.frame()))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	w.eventually("the answer is given up", func() bool {
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		return len(w.service.asking) == 0
	})
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n == 0 {
		t.Errorf("%d bytes of it come, and %v", n, err)
	}
}
