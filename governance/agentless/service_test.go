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
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
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
	requests int
	streams  int
	most     int
	server   *memhttp.Server
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
	j.env = map[string]string{}
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
	deny := j.deny
	j.mu.Unlock()
	if deny != 0 {
		w.WriteHeader(deny)
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
		over := j.process != begun
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
}

var deliveryApp = registry.App{Namespace: "shop", Name: "delivery"}

func (c *cluster) snapshot() registry.Snapshot {
	s := registry.Snapshot{App: deliveryApp}
	if c.asks {
		s.Service.Govern = &registry.Govern{}
	}
	for n, id := range slices.Sorted(maps.Keys(c.pods)) {
		s.Instances = append(s.Instances, registry.Instance{ID: id, Name: "delivery-" + id, Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)}), Health: registry.Ready})
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
	return registry.Pod{ID: id, Containers: []registry.Container{{
		Name: "delivery", Image: "delivery@sha256:1", Process: "containerd://" + j.process, Ports: []registry.ServicePort{{Name: "http", Target: 8080}, {Name: "management", Target: 8081}},
	}}}, nil
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
		if port != "8081" {
			return nil, errors.New("nobody listens")
		}
		w.cluster.mu.Lock()
		ids := slices.Sorted(maps.Keys(w.cluster.pods))
		n := int(netip.MustParseAddr(host).As4()[3]) - 1
		w.cluster.mu.Unlock()
		if n >= len(ids) {
			return nil, errors.New("no such pod")
		}
		return w.cluster.pods[ids[n]].server.Dial(ctx, network, address)
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

func TestASwitchIsPulledConfirmedAndReleased(t *testing.T) {
	bubble(t, func(w *world) {
		j := newJVM(w.T)
		j.calls = 40
		j.below["hystrix.command."+quote+".circuitBreaker.requestVolumeThreshold"] = "15"
		w.cluster.pods["1"] = j
		begin := time.Now()
		_, end := w.control()
		defer end()
		w.after(25 * time.Second)
		if i := w.instance("1"); !w.current("1") || i.SDK != sdkName || i.Name != "delivery-1" || len(i.Lacks) != 0 {
			w.Fatalf("at first it is %+v", i)
		}
		if len(j.written()) != 0 {
			w.Fatalf("without a policy %v was written", j.written())
		}
		if got := w.total(begin); got.Success != 80 || got.Refused() != 0 {
			w.Errorf("it counted %+v", got)
		}
		pulled := version(w.T, 1, quote, governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen, MinCalls: 5}}, governance.KindSwitch)
		w.policies.publish(pulled)
		w.after(3 * time.Second)
		if !w.current("1") || j.written()["hystrix.command."+quote+".circuitBreaker.forceOpen"] != "true" || j.written()["hystrix.command."+quote+".circuitBreaker.requestVolumeThreshold"] != "5" {
			w.Fatalf("pulled: %v, %+v", j.written(), w.instance("1"))
		}
		w.after(20 * time.Second)
		if got := w.total(begin); got.Switched == 0 || got.ShortCircuited != 0 {
			w.Errorf("pulled, it counted %+v", got)
		}
		j.restart()
		w.after(10 * time.Second)
		if !w.current("1") || j.written()["hystrix.command."+quote+".circuitBreaker.forceOpen"] != "true" {
			w.Fatalf("after a restart: %v, %+v", j.written(), w.instance("1"))
		}
		w.policies.publish()
		w.after(3 * time.Second)
		if got := j.written(); !w.current("1") || got["hystrix.command."+quote+".circuitBreaker.forceOpen"] != "" || got["hystrix.command."+quote+".circuitBreaker.requestVolumeThreshold"] != "15" {
			w.Fatalf("released: %v, %+v", got, w.instance("1"))
		}
		events, err := w.store.Events(w.Context(), governance.EventQuery{App: delivery, Kinds: []string{governance.EventTransition}})
		if err != nil {
			w.Fatal(err)
		}
		var told []string
		for _, e := range slices.Backward(events) {
			told = append(told, string(e.Transition.To)+" "+e.Policy)
		}
		const name = "shop/delivery.CarrierClient-quote-String.switch"
		if want := []string{"forcedOpen " + name, "closed ", "forcedOpen " + name, "closed "}; !slices.Equal(told, want) {
			w.Errorf("events are %q", told)
		}
		if j.most != 1 {
			w.Errorf("%d streams at once", j.most)
		}
	})
}

func TestWhatSomebodyChangesIsWrittenAgain(t *testing.T) {
	bubble(t, func(w *world) {
		j := newJVM(w.T)
		w.cluster.pods["1"] = j
		w.policies.publish(version(w.T, 1, "", switched, governance.KindSwitch))
		s, end := w.control()
		defer end()
		w.after(10 * time.Second)
		// A person's own property is left alone, whatever becomes of ours.
		key := "hystrix.command.default.circuitBreaker.forceOpen"
		j.set(func() {
			j.env["hystrix.command.x.circuitBreaker.sleepWindowInMilliseconds"] = "1"
			j.env[key] = "false"
		})
		w.after(6 * time.Second)
		if drifts := testutil.ToFloat64(s.metrics.drifts); drifts != 1 || !w.current("1") || j.written()[key] != "true" {
			w.Errorf("%g times, %v: %+v", drifts, j.written(), w.instance("1"))
		}
		w.policies.publish()
		w.after(5 * time.Second)
		if got := j.written(); got[key] != "" || got["hystrix.command.x.circuitBreaker.sleepWindowInMilliseconds"] != "1" {
			w.Errorf("released: %v", got)
		}
	})
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(j *jvm)
		lacks  string
	}{
		"env cannot be written":  {func(j *jvm) { j.closed = true }, "management.endpoint.env.post.enabled=true"},
		"no stream":              {func(j *jvm) { j.hidden = true }, "add hystrix.stream to management.endpoints.web.exposure.include"},
		"asks for credentials":   {func(j *jvm) { j.deny = http.StatusUnauthorized }, "asks for credentials (401)"},
		"no actuator":            {func(j *jvm) { j.deny = http.StatusNotFound }, "no actuator answers at :8081/actuator (port management: answers 404), :8080/actuator"},
		"a stream without words": {func(j *jvm) { j.mute = true }, "has been silent for 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				j := newJVM(w.T)
				c.change(j)
				w.cluster.pods["1"] = j
				_, end := w.control()
				defer end()
				w.after(25 * time.Second)
				if i := w.instance("1"); !strings.Contains(strings.Join(i.Lacks, "\n"), c.lacks) {
					w.Fatalf("it lacks %q", i.Lacks)
				}
				// A switch is not said to hold, though it is written where that can be done.
				w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
				w.after(25 * time.Second)
				i := w.instance("1")
				if w.current("1") || len(j.written()) != 0 && !j.mute {
					w.Fatalf("it is said to enforce: %+v, and %v is written", i, j.written())
				}
				if (j.closed || j.hidden) && (i.Applied.Refused == nil || !strings.Contains(i.Applied.Refused.Reason, c.lacks)) {
					w.Fatalf("it refuses %+v", i.Applied)
				}
				j.set(func() { j.closed, j.hidden, j.mute, j.deny = false, false, false, 0 })
				w.after(45 * time.Second)
				if i := w.instance("1"); !w.current("1") || len(i.Lacks) != 0 {
					w.Fatalf("once it is mended, it lacks %q and applies %+v", i.Lacks, i.Applied)
				}
			})
		})
	}
}

func TestWhoDoesNotAskIsLeftAlone(t *testing.T) {
	bubble(t, func(w *world) {
		j := newJVM(w.T)
		w.cluster.pods["1"], w.cluster.asks = j, false
		w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
		_, end := w.control()
		defer end()
		w.after(time.Minute)
		if j.requests != 0 || w.instance("1").ID != "" {
			w.Fatalf("%d requests", j.requests)
		}
		w.cluster.change(func() { w.cluster.asks = true })
		w.after(10 * time.Second)
		if !w.current("1") {
			w.Fatalf("once it asks: %+v", w.instance("1"))
		}
		w.cluster.change(func() { w.cluster.asks = false })
		w.after(5 * time.Second)
		asked := 0
		j.set(func() { asked = j.requests })
		w.after(time.Minute)
		if j.requests != asked || j.streams != 0 {
			w.Errorf("%d requests more, %d streams", j.requests-asked, j.streams)
		}
	})
}

// Two control planes share pods out, and one that dies is replaced.
func TestPodsGoOnWithWhoIsLeft(t *testing.T) {
	bubble(t, func(w *world) {
		const pods = 12
		for n := range pods {
			j := newJVM(w.T)
			j.calls = 10
			w.cluster.pods[fmt.Sprintf("%02d", n)] = j
		}
		one, endOne := w.control()
		two, endTwo := w.control()
		defer endTwo()
		w.after(12 * time.Second)
		count := func(s *Service) int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.sessions)
		}
		if a, b := count(one), count(two); a == 0 || b == 0 || a+b != pods {
			w.Fatalf("they have %d and %d", a, b)
		}
		endOne()
		w.store.mu.Lock()
		w.store.seen[one.members.self] = time.Now() // it died before it could say so
		w.store.mu.Unlock()
		w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
		w.after(15 * time.Second)
		for id, j := range w.cluster.pods {
			if !w.current(id) {
				w.Errorf("%s is not governed: %+v", id, w.instance(id))
			}
			if j.most > 1 {
				w.Errorf("%s had %d streams at once", id, j.most)
			}
		}
		// What both counted is counted once: three windows' worth, and up to one more at
		// either end, as totals are rounded outwards.
		began := time.Now()
		w.after(30 * time.Second)
		if got := w.total(began); got.Switched < 2*pods*10 || got.Switched > 5*pods*10 {
			w.Errorf("they counted %+v", got)
		}
	})
}

func TestNothingIsLostWhileTheDatabaseIsAway(t *testing.T) {
	bubble(t, func(w *world) {
		j := newJVM(w.T)
		j.calls = 40
		w.cluster.pods["1"] = j
		_, end := w.control()
		defer end()
		w.after(12 * time.Second)
		begin := time.Now()
		away := func(v bool) {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			w.store.away = v
		}
		away(true)
		// A switch that was known before is applied all the same.
		w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
		w.after(60 * time.Second)
		if j.written()["hystrix.command."+quote+".circuitBreaker.forceOpen"] != "true" {
			w.Errorf("the switch does not hold: %v", j.written())
		}
		away(false)
		w.after(15 * time.Second)
		if got := w.total(begin); got.Calls() < 6*40 {
			w.Errorf("of more than a minute there is %+v", got)
		}
		if !w.current("1") {
			w.Errorf("it is %+v", w.instance("1"))
		}
	})
}

func TestTheAPIServerMayGo(t *testing.T) {
	bubble(t, func(w *world) {
		j := newJVM(w.T)
		w.cluster.pods["1"] = j
		_, end := w.control()
		defer end()
		w.after(5 * time.Second)
		w.cluster.mu.Lock()
		w.cluster.away = true
		w.cluster.mu.Unlock()
		w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
		j.set(func() { j.noise = "garbage\ndata: {\n\ndata: " + strings.Repeat("y", 2*maxLine) + "\n\n" })
		w.after(30 * time.Second)
		if !w.current("1") {
			w.Errorf("it is %+v", w.instance("1"))
		}
		w.cluster.change(func() { delete(w.cluster.pods, "1") })
		w.after(time.Minute)
		if i := w.instance("1"); i.ID != "" {
			w.Errorf("a pod that is gone lives: %+v", i)
		}
	})
}
