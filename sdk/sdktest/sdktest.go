// Package sdktest is for the tests of services that use the SDK: a control plane
// and a collector of traces in the test's own process, over real HTTP, in memory
// only. A test publishes policies, runs the service's code, and looks at what was
// reported:
//
//	mesh := sdktest.Start(t)
//	kit := mesh.Kit(t, "shop/orders")
//	… run the service with kit …
//	mesh.Publish(t, sdktest.Switch("shop/inventory", "InventoryService.reserve"))
//	mesh.WaitApplied(t, kit)
//	… the service now falls back …
//
// It can fail on demand, so that a test sees what a service does without its
// control plane.
package sdktest

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/trace"
)

// waitAtMost bounds every wait of a test.
const waitAtMost = 10 * time.Second

// Mesh is a control plane and a collector. It is an http.Handler, for tests that
// serve it their own way. It is safe for concurrent use.
type Mesh struct {
	// URL is where Start serves it.
	URL string

	closeConns func()

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	version  int64
	policies map[governance.Key]governance.Version
	forged   *governance.PolicySet
	streams  map[*stream]struct{}
	opened   int64
	token    string
	clock    time.Duration
	answers  map[string]answer // by path; "" for all
	deaf     bool

	reports  []governance.Report
	seen     map[string]bool // boot and seq
	repeated int64
	applied  map[string]governance.Applied // by instance
	spans    []model.SpanModel
}

type answer struct {
	status int
	header http.Header
	left   int // how often; less than zero for ever
}

// stream is one open stream of an instance.
type stream struct {
	Instance
	wake chan struct{}
	end  context.CancelFunc
	raw  []string // to be sent as they are
}

// Instance is who opened a stream.
type Instance struct {
	App   governance.App
	ID    string
	Name  string
	SDK   string
	Calls []governance.App
	// LastEventID is what the instance had when it opened the stream.
	LastEventID string
}

// New returns a mesh that nobody serves yet.
func New() *Mesh {
	return &Mesh{
		changed: make(chan struct{}), policies: make(map[governance.Key]governance.Version), streams: make(map[*stream]struct{}),
		seen: make(map[string]bool), applied: make(map[string]governance.Applied), answers: make(map[string]answer), closeConns: func() {},
	}
}

// Start serves a mesh on this machine until the test ends.
func Start(tb testing.TB) *Mesh {
	tb.Helper()
	m := New()
	server := httptest.NewServer(m)
	m.URL, m.closeConns = server.URL, server.CloseClientConnections
	tb.Cleanup(func() {
		m.EndStreams()
		server.Close()
	})
	return m
}

// Config returns a configuration that knows this mesh and nothing of the
// environment. Its last known policies lie in a directory of the test's own.
func (m *Mesh) Config(tb testing.TB, app string) sdk.Config {
	tb.Helper()
	return sdk.Config{
		App: app, ControlURL: m.URL, TracingURL: m.URL, StateDir: tb.TempDir(),
		Getenv: func(string) string { return "" },
	}
}

// Kit starts a kit for an application, written "namespace/name", and closes it
// when the test ends.
func (m *Mesh) Kit(tb testing.TB, app string) *sdk.Kit {
	tb.Helper()
	return m.KitWith(tb, m.Config(tb, app))
}

// KitWith starts a kit with a configuration that the test has changed.
func (m *Mesh) KitWith(tb testing.TB, cfg sdk.Config) *sdk.Kit {
	tb.Helper()
	kit, err := sdk.Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Second)
		defer cancel()
		_ = kit.Close(ctx) // a test that made the mesh fail cannot be told everything
	})
	return kit
}

// Switch returns a policy that refuses all calls of a command where it is served.
func Switch(app, command string) governance.Policy {
	a, _ := governance.ParseApp(app) // Publish says what is wrong with it
	return governance.Policy{
		Kind:   governance.KindSwitch,
		Target: governance.Target{App: a, Command: command},
		Rules:  governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}},
	}
}

// Publish puts policies in force, each beside or in place of what has its name,
// and returns the version.
func (m *Mesh) Publish(tb testing.TB, policies ...governance.Policy) int64 {
	tb.Helper()
	for _, p := range policies {
		p = p.WithDefaults()
		if err := p.Validate(); err != nil {
			tb.Fatalf("this is no valid policy: %v", err)
		}
		m.update(func() {
			m.version++
			m.policies[p.Key()] = governance.Version{Policy: p, Version: m.version, Created: time.Now().UTC(), Actor: "test", Reason: "test"}
		})
	}
	return m.Version()
}

// Delete takes policies out of force, by those that were published.
func (m *Mesh) Delete(policies ...governance.Policy) int64 {
	m.update(func() {
		for _, p := range policies {
			m.version++
			delete(m.policies, p.WithDefaults().Key())
		}
	})
	return m.Version()
}

// Forge sends every instance one set as it is, whatever it holds, in place of what
// is in force; nil ends that.
func (m *Mesh) Forge(set *governance.PolicySet) { m.update(func() { m.forged = set }) }

// SendRaw writes text to every open stream, as it is.
func (m *Mesh) SendRaw(text string) {
	m.update(func() {
		for s := range m.streams {
			s.raw = append(s.raw, text)
		}
	})
}

// Version returns that of the newest policy.
func (m *Mesh) Version() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// RequireToken makes the mesh know only those that bear a token.
func (m *Mesh) RequireToken(token string) { m.update(func() { m.token = token }) }

// SetClock sets the control plane's clock ahead of the machine's.
func (m *Mesh) SetClock(ahead time.Duration) { m.update(func() { m.clock = ahead }) }

// Fail answers requests to a path (governance.StreamPath, governance.ReportsPath,
// trace.SpansPath, or "" for all of them) with a status, times times, or, less
// than zero, until Heal. header holds names and values in turn.
func (m *Mesh) Fail(path string, status, times int, header ...string) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	m.update(func() { m.answers[path] = answer{status, h, times} })
}

// Heal ends what Fail began.
func (m *Mesh) Heal() { m.update(func() { clear(m.answers) }) }

// Silence makes open streams silent, as a network does that has lost them.
func (m *Mesh) Silence(on bool) { m.update(func() { m.deaf = on }) }

// EndStreams ends all open streams.
func (m *Mesh) EndStreams() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.streams {
		s.end()
	}
}

// Down makes every request fail and breaks every connection, until Heal.
func (m *Mesh) Down() {
	m.Fail("", http.StatusServiceUnavailable, -1)
	m.EndStreams()
	m.closeConns()
}

// update changes something, and wakes all who wait for changes.
func (m *Mesh) update(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	for s := range m.streams {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// Wait waits until something is so; it asks whenever the mesh has heard
// something. what completes "waited in vain for …".
func (m *Mesh) Wait(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	timeout := time.NewTimer(waitAtMost)
	defer timeout.Stop()
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

// WaitApplied waits until a kit has said that it enforces what is in force.
func (m *Mesh) WaitApplied(tb testing.TB, kit *sdk.Kit) {
	tb.Helper()
	m.Wait(tb, fmt.Sprintf("%s to apply version %d", kit.App(), m.Version()), func() bool {
		a, ok := m.Applied(kit.Instance())
		return ok && a.Version >= m.Version() && a.Refused == nil
	})
}

// Applied returns what an instance last said that it enforces.
func (m *Mesh) Applied(instance string) (governance.Applied, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.applied[instance]
	return a, ok
}

// Instances returns who has a stream open.
func (m *Mesh) Instances() []Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Instance, 0, len(m.streams))
	for s := range m.streams {
		out = append(out, s.Instance)
	}
	slices.SortFunc(out, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Opened returns how many streams were opened.
func (m *Mesh) Opened() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opened
}

// Reports returns all reports, each once, however often it was sent.
func (m *Mesh) Reports() []governance.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reports)
}

// Repeated returns how many reports came that had come before.
func (m *Mesh) Repeated() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.repeated
}

// Counts returns the sum of what an application reported of a command.
func (m *Mesh) Counts(app, command string) governance.Counts {
	var sum governance.Counts
	for _, r := range m.Reports() {
		for i := range r.Samples {
			if r.App.String() == app && r.Samples[i].Command == command {
				sum = sum.Add(r.Samples[i].Counts)
			}
		}
	}
	return sum
}

// Transitions returns those that an application reported of a command.
func (m *Mesh) Transitions(app, command string) []governance.Transition {
	var out []governance.Transition
	for _, r := range m.Reports() {
		for i := range r.Transitions {
			if r.App.String() == app && r.Transitions[i].Command == command {
				out = append(out, r.Transitions[i])
			}
		}
	}
	return out
}

// Spans returns those that came, in the order in which they came.
func (m *Mesh) Spans() []model.SpanModel {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.spans)
}

// ServeHTTP serves the paths of control plane and collector.
func (m *Mesh) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.fails(w, r.URL.Path) || m.fails(w, "") {
		return
	}
	switch {
	case r.URL.Path == trace.SpansPath && r.Method == http.MethodPost:
		m.takeSpans(w, r)
		return
	case !m.known(r):
		http.Error(w, "unknown token", http.StatusUnauthorized)
	case r.URL.Path == governance.StreamPath && r.Method == http.MethodGet:
		m.serveStream(w, r)
	case r.URL.Path == governance.ReportsPath && r.Method == http.MethodPost:
		m.takeReport(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (m *Mesh) known(r *http.Request) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token == "" || r.Header.Get("Authorization") == "Bearer "+m.token
}

func (m *Mesh) fails(w http.ResponseWriter, path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[path]
	if !ok || a.left == 0 {
		return false
	}
	a.left--
	m.answers[path] = a
	maps.Copy(w.Header(), a.header)
	http.Error(w, "the test makes this fail", a.status)
	return true
}

// setOf returns what an instance has to enforce. The mesh is locked.
func (m *Mesh) setOf(i Instance) governance.PolicySet {
	if m.forged != nil {
		return *m.forged
	}
	all := make([]governance.Version, 0, len(m.policies))
	for _, v := range m.policies {
		all = append(all, v)
	}
	mine := governance.ForInstance(all, i.App, i.Calls)
	return governance.PolicySet{
		Wire: governance.WireVersion, Version: m.version, Hash: governance.HashPolicies(mine),
		Now: time.Now().Add(m.clock).UTC(), Policies: mine,
	}
}

func (m *Mesh) serveStream(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &stream{wake: make(chan struct{}, 1), end: cancel, Instance: Instance{
		ID: q.Get("instance"), Name: q.Get("name"), SDK: q.Get("sdk"), LastEventID: r.Header.Get("Last-Event-ID"),
	}}
	app, err := governance.ParseApp(q.Get("app"))
	if err != nil || s.ID == "" || q.Get("wire") != strconv.Itoa(governance.WireVersion) {
		http.Error(w, "app, instance and wire are required", http.StatusBadRequest)
		return
	}
	s.App = app
	for _, c := range q["calls"] {
		called, err := governance.ParseApp(c)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Calls = append(s.Calls, called)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	m.update(func() { m.streams[s] = struct{}{}; m.opened++ })
	defer m.update(func() { delete(m.streams, s) })
	flush := http.NewResponseController(w)
	fmt.Fprint(w, ": welcome\n\n")
	_ = flush.Flush()
	heartbeat := time.NewTicker(governance.HeartbeatInterval)
	defer heartbeat.Stop()
	sent := s.LastEventID
	for {
		m.mu.Lock()
		set, raw, deaf := m.setOf(s.Instance), s.raw, m.deaf
		s.raw = nil
		m.mu.Unlock()
		id := fmt.Sprintf("%d:%s", set.Version, set.Hash)
		switch {
		case deaf:
		case len(raw) > 0:
			for _, text := range raw {
				fmt.Fprint(w, text)
			}
		case id != sent:
			data, err := json.Marshal(set)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "event: %s\nid: %s\ndata: %s\n\n", governance.EventPolicies, id, data)
			sent = id
		}
		_ = flush.Flush()
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-heartbeat.C:
			if !deaf {
				fmt.Fprint(w, ": alive\n\n")
			}
		}
	}
}

func (m *Mesh) takeReport(w http.ResponseWriter, r *http.Request) {
	var rep governance.Report
	if err := decode(r, &rep); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer governance.ReportAnswer
	m.update(func() {
		key := fmt.Sprintf("%s/%s/%d", rep.Instance, rep.Boot, rep.Seq)
		if m.seen[key] {
			m.repeated++
		} else {
			m.seen[key] = true
			m.reports = append(m.reports, rep)
		}
		if rep.Applied != nil {
			m.applied[rep.Instance] = *rep.Applied
		}
		i := Instance{App: rep.App, ID: rep.Instance, Calls: rep.Calls}
		for s := range m.streams {
			if s.ID != rep.Instance {
				continue
			}
			if len(rep.Calls) > 0 {
				s.Calls = rep.Calls
			}
			i.Calls = s.Calls
		}
		set := m.setOf(i)
		answer = governance.ReportAnswer{Version: set.Version, Hash: set.Hash}
	})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		return // the instance has gone
	}
}

func (m *Mesh) takeSpans(w http.ResponseWriter, r *http.Request) {
	var spans []model.SpanModel
	if err := decode(r, &spans); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.update(func() { m.spans = append(m.spans, spans...) })
	w.WriteHeader(http.StatusAccepted)
}

// decode reads JSON, gzipped or plain.
func decode(r *http.Request, into any) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	return json.NewDecoder(io.LimitReader(body, 64<<20)).Decode(into)
}
