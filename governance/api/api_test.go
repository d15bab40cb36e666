package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

var (
	inventory = governance.App{Namespace: "shop", Name: "inventory"}
	orders    = governance.App{Namespace: "shop", Name: "orders"}
)

const reserve = "InventoryService.reserve"

// people are who the fixture knows, by token. A token "pod NAMESPACE UID" is of a pod.
var people = map[string]access.Principal{
	"viewer":   {Kind: access.KindUser, Name: "vera", Role: access.Viewer},
	"operator": {Kind: access.KindToken, Name: "deploy", Role: access.Operator},
	"bank":     {Kind: access.KindToken, Name: "bank", Role: access.Operator, Namespaces: []string{"bank"}},
}

// sessions are those that may end, by token: functions that say who it is.
var sessions sync.Map

type auth struct{}

func (auth) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	if f, ok := sessions.Load(c.Bearer); ok {
		return f.(func() (access.Principal, error))()
	}
	if p, ok := people[c.Bearer]; ok {
		return p, nil
	}
	if f := strings.Fields(c.Bearer); len(f) == 3 && f[0] == "pod" {
		return access.Principal{Kind: access.KindInstance, Name: f[1] + "/app", Instance: &access.Instance{Namespace: f[1], PodName: "pod-of-" + f[2], PodUID: f[2]}}, nil
	}
	return access.Principal{}, &access.DeniedError{Unknown: true, Message: "nobody knows this token"}
}

type journal struct {
	mu      sync.Mutex
	entries []access.Entry
}

func (j *journal) Begin(_ context.Context, e access.Entry) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return int64(len(j.entries)), nil
}

func (j *journal) End(_ context.Context, id int64, outcome string, revision int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[id-1].Outcome, j.entries[id-1].Revision = outcome, revision
	return nil
}

// control is one control plane on a store.
type control struct {
	t       testing.TB
	api     *api.API
	srv     *httptest.Server
	client  *http.Client
	journal *journal
}

func start(t testing.TB, c api.Config) *control {
	t.Helper()
	if c.Store == nil {
		c.Store = memory.New(memory.Options{})
	}
	j := &journal{}
	a := api.New(c)
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: auth{}, Audit: j})
	a.Register(h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	srv := httptest.NewServer(h.Handler())
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	k := &control{t: t, api: a, srv: srv, client: &http.Client{Transport: transport}, journal: j}
	t.Cleanup(func() {
		srv.CloseClientConnections()
		transport.CloseIdleConnections()
		srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	k.until("the policies are read", func() bool { return a.Ready() == nil })
	return k
}

// until waits for a condition that comes by itself.
func (k *control) until(what string, f func() bool) {
	k.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			k.t.Fatal("never: " + what)
		}
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

func (k *control) do(method, path, token string, body any, header ...string) answer {
	k.t.Helper()
	var r io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(body)
		if err != nil {
			k.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, k.srv.URL+path, r)
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	if method != http.MethodGet {
		req.Header.Set("Weir-Reason", "INC-1")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, raw}
}

func (k *control) want(status int, a answer, says ...string) answer {
	k.t.Helper()
	if a.status != status {
		k.t.Fatalf("answered %d, want %d: %s", a.status, status, a.body)
	}
	for _, s := range says {
		if !strings.Contains(string(a.body), s) {
			k.t.Fatalf("the answer does not say %q: %s", s, a.body)
		}
	}
	return a
}

// inst is one instance with its stream.
type inst struct {
	k     *control
	app   governance.App
	id    string
	token string
	calls []governance.App
	seq   int64
	has   string // its Last-Event-ID

	cancel context.CancelFunc
	sets   chan governance.PolicySet
	closed chan error
	resp   *http.Response
}

func (k *control) instance(app governance.App, id string, calls ...governance.App) *inst {
	return &inst{k: k, app: app, id: id, token: "pod " + app.Namespace + " " + id, calls: calls}
}

func (i *inst) query() string {
	q := url.Values{"app": {i.app.String()}, "instance": {i.id}, "name": {i.id + "-pod"}, "wire": {"1"}, "sdk": {"go/test"}}
	for _, c := range i.calls {
		q.Add("calls", c.String())
	}
	return governance.StreamPath + "?" + q.Encode()
}

// open opens the stream and follows it in the background.
func (i *inst) open() *inst {
	i.k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.k.srv.URL+i.query(), http.NoBody)
	if err != nil {
		i.k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+i.token)
	if i.has != "" {
		req.Header.Set("Last-Event-ID", i.has)
	}
	resp, err := i.k.client.Do(req)
	if err != nil {
		i.k.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(resp.Body)
		i.k.t.Fatalf("the stream answers %d: %s", resp.StatusCode, raw)
	}
	i.cancel, i.resp = cancel, resp
	i.sets, i.closed = make(chan governance.PolicySet, 1000), make(chan error, 1)
	go func(sets chan governance.PolicySet, closed chan error) { closed <- follow(resp.Body, sets) }(i.sets, i.closed)
	i.k.t.Cleanup(i.close)
	return i
}

func (i *inst) close() {
	if i.cancel == nil {
		return
	}
	i.cancel()
	_ = i.resp.Body.Close()
	i.cancel = nil
}

func follow(body io.Reader, sets chan<- governance.PolicySet) error {
	r := bufio.NewReader(body)
	name, data, id := "", "", ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if line != "\n" || name == "" {
				continue
			}
			var set governance.PolicySet
			if err := json.Unmarshal([]byte(data), &set); err != nil {
				return fmt.Errorf("%s: %w", data, err)
			}
			if want := fmt.Sprintf("%d:%s", set.Version, set.Hash); id != want || name != governance.EventPolicies || set.Hash != governance.HashPolicies(set.Policies) {
				return fmt.Errorf("event %s with id %s holds %s, hashed %s", name, id, want, governance.HashPolicies(set.Policies))
			}
			sets <- set
			name = ""
		}
	}
}

// next returns the next set that the stream brings.
func (i *inst) next() governance.PolicySet {
	i.k.t.Helper()
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case set := <-i.sets:
		i.has = fmt.Sprintf("%d:%s", set.Version, set.Hash)
		return set
	case err := <-i.closed:
		i.k.t.Fatalf("%s: the stream ended: %v", i.id, err)
	case <-timer.C:
		i.k.t.Fatalf("%s: the stream brings nothing", i.id)
	}
	panic("unreachable")
}

func (i *inst) report(change func(*governance.Report)) answer {
	i.k.t.Helper()
	i.seq++
	rep := governance.Report{Wire: 1, App: i.app, Instance: i.id, Name: i.id + "-pod", Boot: "boot-" + i.id, Seq: i.seq, Sent: time.Now().UTC()}
	if change != nil {
		change(&rep)
	}
	return i.k.do(http.MethodPost, governance.ReportsPath, i.token, rep)
}

func (i *inst) ack(set governance.PolicySet) {
	i.k.t.Helper()
	i.k.want(http.StatusAccepted, i.report(func(r *governance.Report) { r.Applied = &governance.Applied{Version: set.Version, Hash: set.Hash} }))
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sample(ago time.Duration) governance.Sample {
	var s sketch.Sketch
	s.Add(3 * time.Millisecond)
	lat, err := s.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return governance.Sample{
		Series: governance.Series{Command: reserve, At: governance.Provider}, Second: time.Now().Add(-ago).Unix(),
		Counts: governance.Counts{Success: 4, Failure: 1}, Latency: lat, InFlight: 2, State: governance.StateClosed,
	}
}

func pull(command string) api.Pull {
	return api.Pull{Target: governance.Target{App: inventory, Command: command}, Value: json.RawMessage(`{"reserved":false}`), For: governance.Duration(time.Minute)}
}

func TestASwitchIsPulledConfirmedAndReleased(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	a, b, o := k.instance(inventory, "a").open(), k.instance(inventory, "b").open(), k.instance(orders, "o", inventory).open()
	for _, i := range []*inst{a, b, o} {
		if set := i.next(); len(set.Policies) != 0 || set.Wire != governance.WireVersion || set.Now.IsZero() {
			t.Fatalf("the first set is %+v", set)
		}
	}
	k.until("all are known", func() bool {
		var list struct{ Items []api.AppSummary }
		k.want(200, k.do(http.MethodGet, "/api/v1/apps", "viewer", nil)).into(t, &list)
		return len(list.Items) == 2 && list.Items[0].Live == 2 && list.Items[1].Live == 1
	})
	// Both confirm while the writer waits.
	var wg sync.WaitGroup
	for _, i := range []*inst{a, b} {
		wg.Go(func() { i.ack(i.next()) })
	}
	res := k.want(200, k.do(http.MethodPost, "/api/v1/switches?wait=20s", "operator", pull(reserve)))
	wg.Wait()
	var got api.PolicyAnswer
	res.into(t, &got)
	c := got.Confirmation
	if c == nil || c.Live != 2 || c.Confirmed != 2 || !c.All() || c.Took <= 0 || got.Policy.Kind != governance.KindSwitch || got.Actor != "token:deploy" || got.Reason != "INC-1" || got.Policy.Expires.IsZero() {
		t.Fatalf("%s", res.body)
	}
	key := got.Policy.Key()
	if key.String() != "shop/inventory.InventoryService.reserve.switch" || res.header.Get("ETag") != `"1"` {
		t.Fatalf("the switch is %s, %s", key, res.header.Get("ETag"))
	}
	var list api.PolicyList
	k.want(200, k.do(http.MethodGet, "/api/v1/switches", "viewer", nil)).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Confirmation.Confirmed != 2 || list.Version != 1 {
		t.Fatalf("listed %+v", list)
	}
	// Released, and only one of them says so.
	wg.Go(func() { a.ack(a.next()) })
	res = k.want(200, k.do(http.MethodDelete, "/api/v1/switches/"+key.String()+"?wait=100ms", "operator", nil))
	wg.Wait()
	res.into(t, &got)
	if !got.Deleted || got.Confirmation.Live != 2 || got.Confirmation.Confirmed > 1 {
		t.Fatalf("%s", res.body)
	}
	k.until("one has confirmed the release", func() bool {
		var c api.Confirmation
		k.want(200, k.do(http.MethodGet, "/api/v1/policies/"+key.String()+"/status", "viewer", nil)).into(t, &c)
		return c.Confirmed == 1 && c.Pending == 1 && c.Live == 2
	})
	k.until("the confirmation is an event", func() bool {
		var events struct{ Items []governance.Event }
		k.want(200, k.do(http.MethodGet, "/api/v1/events?kind=policy.confirmed", "viewer", nil)).into(t, &events)
		return len(events.Items) == 1 && events.Items[0].Version == 1 && events.Items[0].Reason == "2 of 2 instances"
	})
	k.want(404, k.do(http.MethodDelete, "/api/v1/switches/"+key.String(), "operator", nil), "no switch")
	select {
	case set := <-o.sets:
		t.Fatalf("orders was told of what it need not enforce: %+v", set)
	default:
	}
}
