package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

const reserve = "InventoryService.reserve"

// event is what the tests read of the control plane's events.
type event struct {
	ID         int64     `json:"id"`
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	App        string    `json:"app"`
	Command    string    `json:"command"`
	Policy     string    `json:"policy"`
	Transition *struct {
		At    string `json:"at"`
		Peer  string `json:"peer"`
		From  string `json:"from"`
		To    string `json:"to"`
		Cause string `json:"cause"`
	} `json:"transition"`
}

// events lists what happened to an app since a time, the newest first.
func (m *system) events(t *testing.T, since time.Time, app, kind string) []event {
	t.Helper()
	q := url.Values{"app": {app}, "from": {fmt.Sprint(since.Unix())}, "kind": {kind}}
	a := m.api(t, http.MethodGet, "/api/v1/events?"+q.Encode(), "")
	if a.status != http.StatusOK {
		t.Fatalf("events: %s", a)
	}
	var list struct {
		Items []event `json:"items"`
	}
	a.into(t, &list)
	return list.Items
}

// counted is what the tests read of a series' points.
type counted struct {
	Success        int64 `json:"success"`
	Failure        int64 `json:"failure"`
	ShortCircuited int64 `json:"shortCircuited"`
	Switched       int64 `json:"switched"`
}

// series sums what orders counted of its calls to inventory's reserve.
func (m *system) series(t *testing.T, since time.Time) (sum counted, states map[string]bool) {
	t.Helper()
	q := url.Values{"command": {reserve}, "at": {"caller"}, "peer": {"shop/inventory"}, "from": {fmt.Sprint(since.Unix())}}
	a := m.api(t, http.MethodGet, "/api/v1/apps/shop/orders/series?"+q.Encode(), "")
	if a.status != http.StatusOK {
		t.Fatalf("series: %s", a)
	}
	var list struct {
		Points []struct {
			Counts  counted        `json:"counts"`
			States  map[string]int `json:"states"`
			Latency *struct {
				P50 string `json:"p50"`
				P99 string `json:"p99"`
			} `json:"latency"`
		} `json:"points"`
	}
	a.into(t, &list)
	states = map[string]bool{}
	for _, p := range list.Points {
		sum.Success += p.Counts.Success
		sum.Failure += p.Counts.Failure
		sum.ShortCircuited += p.Counts.ShortCircuited
		sum.Switched += p.Counts.Switched
		for s := range p.States {
			states[s] = true
		}
		if p.Counts.Success > 0 && p.Latency == nil {
			t.Errorf("a point with calls has no latency: %s", a)
		}
	}
	return sum, states
}

// publish writes a policy from a document, waits until it is confirmed, and
// deletes it at the test's end.
func (m *system) publish(t *testing.T, name, document string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	out := m.Ask(t, "policy", "publish", "-f", path, "--reason", "end-to-end test", "--wait", "30s")
	if !strings.Contains(out, "confirmed by 1 of 1") {
		t.Errorf("weir policy publish: %s", out)
	}
	t.Cleanup(func() {
		if _, err := m.TryAsk(context.Background(), "policy", "delete", name, "--reason", "end-to-end test"); err != nil {
			t.Error(err)
		}
	})
}

// The third flow: under injected errors orders' circuit to inventory opens,
// closes again once they end, and all of it is in the history.
func TestBreakerOpensAndClosesAndItsHistoryIsKept(t *testing.T) {
	s := openShop(t)
	s.one("orders")
	theMesh.publish(t, "shop/e2e-breaker", `name: e2e-breaker
target: {app: shop/inventory, command: InventoryService.reserve, at: caller, from: [shop/orders]}
breaker: {window: 5s, minCalls: 10, errorPercent: 50, openFor: 2s, probes: 2}
`)
	began := time.Now().Add(-time.Second)
	back := s.turn("inventory", "reserve", `{"errorPercent": 100, "for": "5m"}`)
	opened := func(to string) func() error {
		return func() error {
			for _, e := range theMesh.events(t, began, "shop/orders", "transition") {
				if tr := e.Transition; tr != nil && e.Command == reserve && tr.At == "caller" && tr.Peer == "shop/inventory" && tr.To == to {
					if tr.Cause == "" {
						t.Errorf("a transition to %s has no cause", to)
					}
					return nil
				}
			}
			return fmt.Errorf("no transition to %s in the events", to)
		}
	}
	mesh.Eventually(t, "the circuit opens", opened("open"))
	back()
	mesh.Eventually(t, "the circuit closes", opened("closed"))
	load := s.one("load")
	s.unharmed(load, s.placed(load, 40))
	mesh.Eventually(t, "the history holds it", func() error {
		sum, states := theMesh.series(t, began)
		if sum.Success == 0 || sum.Failure == 0 || sum.ShortCircuited == 0 || !states["open"] || !states["closed"] {
			return fmt.Errorf("%+v, states %v", sum, states)
		}
		return nil
	})
	if out := theMesh.Ask(t, "history", "shop/orders", reserve, "--peer", "shop/inventory", "--from", "-10m"); !strings.Contains(out, "open") {
		t.Errorf("weir history does not tell of it:\n%s", out)
	}
}

// The fourth flow: a switch pulled at the command line is confirmed by both
// instances of inventory, holds for the next call, and is released by the
// instances themselves, with the control plane stopped.
func TestSwitchIsConfirmedAndReleasesByItself(t *testing.T) {
	s := openShop(t)
	s.rolledOut("inventory")
	load := s.one("load")
	pods, err := s.pods("inventory")
	if err != nil || len(pods) != 2 {
		t.Fatalf("%d pods of inventory, %v", len(pods), err)
	}
	const lasts = 15 * time.Second
	asked := time.Now()
	out := theMesh.Ask(t, "switch", "pull", "shop/inventory/"+reserve, "--for", lasts.String(), "--reason", "end-to-end test", "--wait", "30s")
	if !strings.Contains(out, "confirmed by 2 of 2") {
		t.Fatalf("weir switch pull: %s", out)
	}
	// Frozen, the process serves nobody: no stream, no API, no gateway.
	freeze := func(sig syscall.Signal) {
		if err := theMesh.Cmd.Process.Signal(sig); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
	}
	// Reservations alone: carts that the storefront works on ask for the stock.
	served := func() (n, underWay int64, err error) {
		for _, p := range pods {
			st, err := s.read(p)
			if err != nil {
				return 0, 0, err
			}
			n += st.Served.ByMethod["reserve"].OK
			underWay += st.Served.InFlight
		}
		return n, underWay, nil
	}
	a := theMesh.through(t, http.MethodPost, "/shop/stock/book/reserve", `{"count": 1}`)
	a.problem(t, http.StatusServiceUnavailable, "switch", "end-to-end test")
	if a := theMesh.through(t, http.MethodGet, "/shop/stock/book", ""); a.status != http.StatusOK {
		t.Errorf("another command is switched off too: %s", a)
	}
	freeze(syscall.SIGSTOP)
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			freeze(syscall.SIGCONT)
		}
	}
	t.Cleanup(thaw)
	// The instances release it: they serve again while nobody could tell them to.
	var before int64
	mesh.Eventually(t, "what was under way when the switch was pulled is done", func() (err error) {
		var underWay int64
		if before, underWay, err = served(); err == nil && underWay > 0 {
			err = fmt.Errorf("%d calls are under way", underWay)
		}
		return err
	})
	mesh.Eventually(t, "inventory serves again with the control plane stopped", func() error {
		now, _, err := served()
		if err == nil && now == before {
			err = fmt.Errorf("it served nothing yet")
		}
		return err
	})
	if early := time.Until(asked.Add(lasts)); early > 0 {
		t.Errorf("it was released %s too early", early)
	}
	s.placed(load, 40)
	thaw()
	mesh.Eventually(t, "the control plane says so", func() error {
		out, err := theMesh.TryAsk(t.Context(), "switch", "list")
		if err == nil && strings.Contains(out, reserve) {
			err = fmt.Errorf("still listed:\n%s", out)
		}
		return err
	})
	s.unharmed(load, s.placed(load, 40))
	var shown struct {
		Items []json.RawMessage `json:"items"`
	}
	a = theMesh.api(t, http.MethodGet, "/api/v1/audit", "")
	a.into(t, &shown)
	if a.status != http.StatusOK || !strings.Contains(string(a.body), "pull-switch") || !strings.Contains(string(a.body), "end-to-end test") {
		t.Errorf("the audit does not tell who pulled it: %s", a)
	}
}

// What is wrong is refused with the reason, and changes nothing.
func TestControlPlaneRefusesWhatIsWrong(t *testing.T) {
	openShop(t)
	const one, wrongRoute = "/api/v1/policies/shop/e2e-wrong", "/api/v1/routes/shop/e2e-wrong"
	good := `{"target": {"app": "shop/inventory"}, "timeout": "2s"}`
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		words              []string
	}{
		"no reason":     {http.MethodPut, one, good, []string{"Weir-Reason", ""}, http.StatusBadRequest, []string{"reason"}},
		"nobody":        {http.MethodPut, one, good, []string{"Authorization", ""}, http.StatusUnauthorized, nil},
		"foreign token": {http.MethodPut, one, good, []string{"Authorization", "Bearer weir_foreign"}, http.StatusUnauthorized, nil},
		"garbage":       {http.MethodPut, one, "{", nil, http.StatusBadRequest, nil},
		"wrong type":    {http.MethodPut, one, `{"target": {"app": "shop/inventory"}, "timeout": 800}`, nil, http.StatusUnprocessableEntity, []string{"timeout"}},
		"unknown field": {http.MethodPut, one, `{"target": {"app": "shop/inventory"}, "tiemout": "2s"}`, nil, http.StatusUnprocessableEntity, []string{"tiemout"}},
		"unknown app":   {http.MethodPut, one, `{"target": {"app": "shop/inventary"}, "timeout": "2s"}`, nil, http.StatusUnprocessableEntity, []string{"inventary"}},
		"route to an unknown app": {
			http.MethodPut, wrongRoute, `{"namespace": "shop", "name": "e2e-wrong", "match": {"path": "/wrong"}, "upstream": {"app": "shop/storfront"}}`,
			nil, http.StatusUnprocessableEntity, []string{"storfront", "shop/storefront"},
		},
		"malformed route": {
			http.MethodPut, wrongRoute, `{"namespace": "shop", "name": "e2e-wrong", "match": {"path": "wrong"}, "filters": [{"retry": {"attempts": 99}}], "upstream": {}}`,
			nil, http.StatusUnprocessableEntity, []string{"match.path", "attempts", "upstream"},
		},
		"wrong argument type": {
			http.MethodPut, wrongRoute, `{"namespace": "shop", "name": "e2e-wrong", "match": {"path": "/wrong"}, "upstream": {"dubbo": {"app": "shop/inventory", "interface": "org.example.shop.InventoryService", "method": "stock", "args": [{"type": "no type", "from": "body"}]}}}`,
			nil, http.StatusUnprocessableEntity, []string{"args[0].type"},
		},
		"stale version": {http.MethodPut, one, good, []string{"If-Match", `"999999999"`}, http.StatusPreconditionFailed, nil},
		"100 MB":        {http.MethodPut, one, strings.Repeat("x", 100<<20), nil, http.StatusRequestEntityTooLarge, nil},
		"no policy":     {http.MethodGet, one, "", nil, http.StatusNotFound, []string{"e2e-wrong"}},
		"no route":      {http.MethodGet, "/api/v1/nothing", "", nil, http.StatusNotFound, nil},
	} {
		t.Run(name, func(t *testing.T) {
			theMesh.api(t, c.method, c.path, c.body, c.header...).problem(t, c.status, c.words...)
		})
	}
	for _, path := range []string{one, wrongRoute} {
		if a := theMesh.api(t, http.MethodGet, path, ""); a.status != http.StatusNotFound {
			t.Errorf("something was written: %s", a)
		}
	}
}
