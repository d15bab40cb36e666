package agentless

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jvm answers as the management port of examples/java/spring-hystrix does: its
// stream is made of the recorded words, with the settings that were written.
type jvm struct {
	word map[string]any // the recorded one

	mu       sync.Mutex
	process  string
	env      map[string]string // what was written
	below    map[string]string // application.properties
	commands []string
	calls    float64 // in each rolling window
	closed   bool    // management.endpoint.env.post.enabled=false
	hidden   bool    // hystrix.stream is not exposed
	mute     bool    // the stream says nothing
	noise    string  // said between its words
	deny     int     // what all is answered with
	hangs    bool    // nothing is answered
	refuses  bool    // nobody listens
	requests int
	streams  int
	most     int
	server   *memhttp.Server
	qos      *memhttp.Server        // at Dubbo's own port; nil for none
	instead  http.Handler           // answers for another kind of process
	ports    []registry.ServicePort // of its container; nil for those of Spring's
	config   func() map[string]string
	started  time.Time

	prometheus string // the annotation prometheus.io/port
}

func newJVM(t *testing.T) *jvm {
	t.Helper()
	j := &jvm{process: "p1", env: map[string]string{}, below: map[string]string{}, commands: []string{quote}}
	for line := range bytes.SplitSeq(recorded(t), []byte("\n")) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && bytes.Contains(data, []byte(quote)) {
			if err := json.Unmarshal(data, &j.word); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	j.server = memhttp.Start(t, j)
	return j
}

// restart is the end of a process, and the begin of the next, which knows nothing.
func (j *jvm) restart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.process += "'"
	j.started = time.Now()
	j.env = map[string]string{}
	if j.config != nil {
		j.below = j.config()
	}
}

func (j *jvm) set(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

func (j *jvm) written() map[string]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := maps.Clone(j.env)
	delete(out, markerKey)
	return out
}

// shown is setting, for those who do not hold the mutex.
func (j *jvm) shown(command, suffix string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.setting(command, suffix, "")
}

func (j *jvm) setting(command, suffix, otherwise string) string {
	for _, at := range []string{j.env[commandPrefix+command+"."+suffix], j.below[commandPrefix+command+"."+suffix], j.env[commandPrefix+"default."+suffix], otherwise} {
		if at != "" {
			return at
		}
	}
	return ""
}

func (j *jvm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	j.mu.Lock()
	j.requests++
	deny, hangs, refuses := j.deny, j.hangs, j.refuses
	j.mu.Unlock()
	if refuses {
		panic(http.ErrAbortHandler) // connections that were there end too
	}
	if hangs {
		<-r.Context().Done()
		return
	}
	if deny != 0 {
		w.WriteHeader(deny)
		return
	}
	if j.instead != nil {
		j.instead.ServeHTTP(w, r)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /actuator":
		j.mu.Lock()
		defer j.mu.Unlock()
		stream := `,"hystrix.stream":{"href":"http://elsewhere/actuator/hystrix.stream"}`
		if j.hidden {
			stream = ""
		}
		if j.config != nil {
			stream += `,"refresh":{"href":"x"}`
		}
		fmt.Fprintf(w, `{"_links":{"self":{"href":"x"},"env":{"href":"x"}%s}}`, stream)
	case "OPTIONS /actuator/env":
		j.mu.Lock()
		defer j.mu.Unlock()
		allow := "GET,HEAD,POST,DELETE,OPTIONS"
		if j.closed {
			allow = "GET,HEAD,OPTIONS"
		}
		w.Header().Set("Allow", allow)
	case "GET /actuator/env":
		pattern := regexp.MustCompile(r.URL.Query().Get("pattern"))
		j.mu.Lock()
		defer j.mu.Unlock()
		source := func(from map[string]string) map[string]any {
			out := map[string]any{}
			for k, v := range from {
				if pattern.MatchString(k) {
					out[k] = map[string]string{"value": v}
				}
			}
			return out
		}
		err := json.NewEncoder(w).Encode(map[string]any{"propertySources": []any{
			map[string]any{"name": "manager", "properties": source(j.env)}, map[string]any{"name": "applicationConfig", "properties": source(j.below)},
		}})
		if err != nil {
			panic(err) // it ends the answer
		}
	case "POST /actuator/env":
		var in struct{ Name, Value string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.closed {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		j.env[in.Name] = in.Value
		fmt.Fprintln(w, "{}")
	case "POST /actuator/refresh":
		j.mu.Lock()
		defer j.mu.Unlock()
		now := j.config()
		refresh(w, j.below, now)
		j.below = now
	case "GET /actuator/hystrix.stream":
		j.stream(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (j *jvm) stream(w http.ResponseWriter, r *http.Request) {
	j.mu.Lock()
	begun := j.process
	if j.streams++; j.streams > j.most {
		j.most = j.streams
	}
	j.mu.Unlock()
	defer j.set(func() { j.streams-- })
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		j.mu.Lock()
		var out bytes.Buffer
		for _, name := range j.commands {
			c := maps.Clone(j.word)
			flag := func(s *setting, otherwise string) bool { return j.setting(name, s.suffix, otherwise) == "true" }
			num := func(s *setting, otherwise string) int {
				n, _ := strconv.Atoi(j.setting(name, s.suffix, otherwise))
				return n
			}
			c["name"], c["currentTime"] = name, time.Now().UnixMilli()
			c["propertyValue_circuitBreakerForceOpen"] = flag(forceOpen, "false")
			c["propertyValue_circuitBreakerForceClosed"] = flag(forceClosed, "false")
			c["propertyValue_circuitBreakerEnabled"] = flag(enabled, "true")
			c["propertyValue_circuitBreakerRequestVolumeThreshold"] = num(minCalls, "20")
			c["propertyValue_circuitBreakerErrorThresholdPercentage"] = num(errorPercent, "50")
			c["propertyValue_circuitBreakerSleepWindowInMilliseconds"] = num(sleepWindow, "5000")
			c["propertyValue_executionIsolationThreadTimeoutInMilliseconds"] = num(timeout, "1000")
			for k := range c {
				if strings.HasPrefix(k, "rollingCount") {
					c[k] = 0.0
				}
			}
			c["rollingCountSuccess"] = j.calls
			if flag(forceOpen, "false") {
				c["rollingCountSuccess"], c["rollingCountShortCircuited"] = 0.0, j.calls
			}
			c["isCircuitBreakerOpen"] = false
			data, err := json.Marshal(c)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(&out, "data: %s\n\n", data)
		}
		out.WriteString(j.noise)
		over := j.process != begun || j.refuses
		if j.mute {
			out.Reset()
		}
		j.mu.Unlock()
		if over {
			return
		}
		if _, err := w.Write(out.Bytes()); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(500 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}

// cluster is what the registry says.
type cluster struct {
	mu     sync.Mutex
	pods   map[string]*jvm // by UID
	asks   bool            // the annotation is there
	away   bool
	notify []func(registry.Snapshot)

	problem string            // with the annotation that names one
	reads   bool              // pods read a ConfigMap
	config  map[string]string // it, nil for none
	written time.Time
	writes  int
}

var deliveryApp = registry.App{Namespace: "shop", Name: "delivery"}

func (c *cluster) snapshot() registry.Snapshot {
	s := registry.Snapshot{App: deliveryApp}
	if c.asks {
		s.Service.Govern = &registry.Govern{Problem: c.problem}
		if c.reads {
			s.Service.Govern.Config = deliveryApp.Name
		}
	}
	for n, id := range slices.Sorted(maps.Keys(c.pods)) {
		in := registry.Instance{ID: id, Name: "delivery-" + id, Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)}), Health: registry.Ready}
		if c.pods[id].ports != nil {
			in.Endpoints = []registry.Endpoint{{Protocol: "dubbo", Port: 20880}}
		}
		s.Instances = append(s.Instances, in)
	}
	return s
}

func (c *cluster) Governed(context.Context) ([]registry.App, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.away:
		return nil, &registry.Error{Code: registry.Unavailable, Message: "the API server does not answer"}
	case !c.asks:
		return nil, nil
	}
	return []registry.App{deliveryApp}, nil
}

func (c *cluster) Subscribe(_ registry.App, notify func(registry.Snapshot)) (func(), error) {
	c.mu.Lock()
	c.notify = append(c.notify, notify)
	s := c.snapshot()
	c.mu.Unlock()
	notify(s)
	return func() {}, nil
}

// change changes it, and tells everybody.
func (c *cluster) change(f func()) {
	c.mu.Lock()
	f()
	s, all := c.snapshot(), slices.Clone(c.notify)
	c.mu.Unlock()
	for _, notify := range all {
		notify(s)
	}
}

func (c *cluster) Pod(_ context.Context, _, name string) (registry.Pod, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := strings.TrimPrefix(name, "delivery-")
	j := c.pods[id]
	switch {
	case c.away:
		return registry.Pod{}, &registry.Error{Code: registry.Unavailable, Message: "the API server does not answer"}
	case j == nil:
		return registry.Pod{}, &registry.Error{Code: registry.NotFound, Message: "there is no pod " + name}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	ports := j.ports
	if ports == nil {
		ports = []registry.ServicePort{{Name: "http", Target: 8080}, {Name: "management", Target: 8081}}
	}
	return registry.Pod{ID: id, PrometheusPort: j.prometheus, Containers: []registry.Container{{
		Name: "delivery", Image: "delivery@sha256:1", Process: "containerd://" + j.process, Started: j.started, Ports: ports,
	}}}, nil
}

func (c *cluster) Config(_ context.Context, namespace, name string) (registry.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config == nil || name != deliveryApp.Name {
		return registry.Config{}, &registry.Error{Code: registry.NotFound, Message: "there is no configmaps/" + name + " in namespace " + namespace}
	}
	return registry.Config{Documents: maps.Clone(c.config), Written: c.written}, nil
}

func (c *cluster) SetConfig(_ context.Context, _, _, _, document, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config[document] = text; text == "" {
		delete(c.config, document)
	}
	c.written, c.writes = time.Now(), c.writes+1
	return nil
}

// policies are what the control plane would say.
type policies struct {
	mu      sync.Mutex
	now     []governance.Version
	changed chan struct{}
}

func (p *policies) Policies(app governance.App) (governance.PolicySet, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := governance.ForInstance(p.now, app, nil)
	return governance.PolicySet{Version: int64(len(p.now)), Hash: governance.HashPolicies(set), Policies: set}, true
}

func (p *policies) PoliciesChanged() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *policies) publish(now ...governance.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
	close(p.changed)
	p.changed = make(chan struct{})
}

// store is one that can be away, and that knows who collects.
type store struct {
	*memory.Store
	mu   sync.Mutex
	seen map[string]time.Time
	away bool
}

var errAway = &governance.Error{Code: governance.Unavailable, Message: "the database is away"}

func (s *store) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errAway
	}
	return nil
}

func (s *store) PutInstances(ctx context.Context, in ...governance.Instance) error {
	return errors.Join(s.gone(), ctx.Err(), s.Store.PutInstances(ctx, in...))
}

func (s *store) Append(ctx context.Context, r governance.Report) error {
	if err := s.gone(); err != nil {
		return err
	}
	return s.Store.Append(ctx, r)
}

func (s *store) Collect(_ context.Context, id string, gone time.Duration) ([]string, error) {
	if err := s.gone(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = time.Now()
	var out []string
	for other, at := range s.seen {
		if time.Since(at) < gone {
			out = append(out, other)
		}
	}
	return out, nil
}

func (s *store) EndCollect(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, id)
	return nil
}

// world is a cluster with a control plane.
type world struct {
	*testing.T
	cluster  *cluster
	policies *policies
	store    *store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		T: t, cluster: &cluster{pods: map[string]*jvm{}, asks: true}, policies: &policies{changed: make(chan struct{})},
		store: &store{Store: memory.New(memory.Options{}), seen: map[string]time.Time{}},
	}
}

// control starts a control plane; what is returned ends it, in order or not.
func (w *world) control() (s *Service, end func()) {
	w.Helper()
	s = New(Config{Registry: w.cluster, Policies: w.policies, Store: w.store, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(address)
		w.cluster.mu.Lock()
		ids := slices.Sorted(maps.Keys(w.cluster.pods))
		n := int(netip.MustParseAddr(host).As4()[3]) - 1
		w.cluster.mu.Unlock()
		if n >= len(ids) {
			return nil, errors.New("no such pod")
		}
		w.cluster.mu.Lock()
		j := w.cluster.pods[ids[n]]
		w.cluster.mu.Unlock()
		j.mu.Lock()
		server := map[string]*memhttp.Server{"8081": j.server, "22222": j.qos}[port]
		if port == "8081" && j.refuses {
			server = nil
		}
		j.mu.Unlock()
		if server == nil {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return server.Dial(ctx, network, address)
	}})
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	return s, func() { cancel(); <-done }
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // it is the time of the bubble
	synctest.Wait()
}

func (w *world) instance(id string) governance.Instance {
	w.Helper()
	all, err := w.store.Instances(w.Context(), delivery)
	if err != nil {
		w.Fatal(err)
	}
	for _, i := range all {
		if i.ID == id {
			return i
		}
	}
	return governance.Instance{}
}

// current reports whether an instance says that it enforces what it should.
func (w *world) current(id string) bool {
	set, _ := w.policies.Policies(delivery)
	i := w.instance(id)
	return i.Applied != nil && i.Applied.Hash == set.Hash && i.Applied.Refused == nil
}

func (w *world) total(since time.Time) (c governance.Counts) {
	w.Helper()
	all, err := w.store.Totals(w.Context(), governance.TotalsQuery{App: delivery, From: since, To: time.Now()})
	if err != nil {
		w.Fatal(err)
	}
	for _, t := range all.Items {
		c = c.Add(t.Counts)
	}
	return c
}

func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}
