package agentless

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/governance"
)

// gifts answers as the management port of examples/java/spring-resilience4j does:
// circuit breakers that are made with their first call, counters that say nothing of
// what is not counted, and updates as the actuator takes them.
type gifts struct {
	mu          sync.Mutex
	began       float64
	circuits    map[string]*guarded
	updates     []string
	hidden      string // an endpoint that is not exposed
	readonly    bool
	summary     bool // no histogram
	scrapes     int
	config      func() map[string]string // what it reads of a ConfigMap; nil for none
	read        map[string]string
	environment map[string]string // what it reads first
	// refreshing is called while it reads that again, and slow says how long an answer
	// with its circuit breakers is under way.
	refreshing func()
	slow       func() time.Duration
}

type guarded struct {
	State        string `json:"state"`
	NotPermitted int    `json:"notPermittedCalls"`
	Threshold    string `json:"failureRateThreshold"`
	ok           int
}

func newGifts(w *world, id string) *gifts {
	g := &gifts{began: float64(time.Now().Unix()), circuits: map[string]*guarded{}}
	j := newJVM(w.T)
	j.instead = g
	w.cluster.pods[id] = j
	return g
}

// restart ends the process and begins another one.
func (g *gifts) restart(j *jvm) {
	j.restart()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.began = float64(time.Now().Unix())
	g.circuits, g.updates = map[string]*guarded{}, nil
	if g.config != nil {
		g.read = g.config()
	}
}

// call calls something that is guarded.
func (g *gifts) call(name string, times int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.circuits[name]
	if c == nil {
		c = &guarded{State: "CLOSED", Threshold: "50.0%"}
		if own := g.read[instanceKey("circuitbreaker.%s.failureRateThreshold", name)]; own != "" {
			c.Threshold = own + ".0%"
		}
		g.circuits[name] = c
	}
	switch c.State {
	case circuitForcedOpen:
		c.NotPermitted += times
	case circuitDisabled:
	default:
		c.ok += times
	}
}

func (g *gifts) state(name string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.circuits[name]; c != nil {
		return c.State
	}
	return ""
}

func (g *gifts) put(name, state string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.circuits[name].State, g.circuits[name].NotPermitted = state, 0
}

func (g *gifts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.refreshing != nil && strings.HasSuffix(r.URL.Path, "/refresh") {
		g.refreshing()
	}
	if g.slow != nil && strings.HasSuffix(r.URL.Path, "/circuitbreakers") {
		out := httptest.NewRecorder()
		g.answer(out, r)
		select {
		case <-time.After(g.slow()):
		case <-r.Context().Done():
			return
		}
		if _, err := w.Write(out.Body.Bytes()); err != nil {
			panic(err) // it ends the answer
		}
		return
	}
	g.answer(w, r)
}

func (g *gifts) answer(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, name := strings.TrimPrefix(r.URL.EscapedPath(), "/actuator"), ""
	if rest, ok := strings.CutPrefix(at, "/circuitbreakers/"); ok {
		name, _ = url.PathUnescape(rest)
		at = "/circuitbreakers/{name}"
	}
	if g.hidden != "" && strings.HasPrefix(at, "/"+g.hidden) || g.readonly && name != "" || strings.Contains(name, "/") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch r.Method + " " + at {
	case "GET ":
		links := map[string]any{"self": map[string]string{"href": "x"}}
		for _, l := range []string{"prometheus", "circuitbreakers", "circuitbreakers-name"} {
			if (g.hidden == "" || !strings.HasPrefix(l, g.hidden)) && (!g.readonly || l != "circuitbreakers-name") {
				links[l] = map[string]string{"href": "x"}
			}
		}
		if g.config != nil {
			links["refresh"], links["env"] = map[string]string{"href": "x"}, map[string]string{"href": "x"}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"_links": links}); err != nil {
			panic(err) // it ends the answer
		}
	case "GET /circuitbreakers":
		if err := json.NewEncoder(w).Encode(map[string]any{"circuitBreakers": g.circuits}); err != nil {
			panic(err)
		}
	case "GET /prometheus":
		g.scrapes++
		fmt.Fprintf(w, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %g\n", g.began)
		kind := "histogram"
		if g.summary {
			kind = "summary"
		}
		fmt.Fprintf(w, "# TYPE %s %s\n", callsFamily, kind)
		for name, c := range g.circuits {
			labels := fmt.Sprintf(`kind="successful",name=%q`, name)
			if !g.summary {
				fmt.Fprintf(w, "%s_bucket{%s,le=\"0.1\"} %d\n%[1]s_bucket{%[2]s,le=\"+Inf\"} %[3]d\n", callsFamily, labels, c.ok)
			}
			fmt.Fprintf(w, "%s_count{%s} %d\n%[1]s_sum{%[2]s} 1\n", callsFamily, labels, c.ok)
		}
	case "POST /refresh":
		now := g.config()
		refresh(w, g.read, now)
		g.read = now
	case "GET /env":
		masked := map[string]any{}
		for key := range g.read {
			masked[key] = map[string]string{"value": "******"}
		}
		pattern, above := regexp.MustCompile(r.URL.Query().Get("pattern")), map[string]any{}
		for key := range g.environment {
			if pattern.MatchString(key) {
				above[key] = map[string]string{"value": "******"}
			}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"propertySources": []any{
			map[string]any{"name": "systemEnvironment", "properties": above},
			map[string]any{"name": "configmap.delivery.shop", "properties": masked},
		}}); err != nil {
			panic(err)
		}
	case "POST /circuitbreakers/{name}":
		var in struct{ UpdateState string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		to := map[string]string{updateClose: "CLOSED", updateForceOpen: circuitForcedOpen, updateDisable: circuitDisabled}[in.UpdateState]
		if to == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if g.circuits[name] == nil {
			g.circuits[name] = &guarded{Threshold: "50.0%"} // the actuator makes it, with none of the application's settings
		}
		g.circuits[name].State, g.circuits[name].NotPermitted = to, 0
		g.updates = append(g.updates, in.UpdateState+" "+name)
		fmt.Fprintf(w, `{"circuitBreakerName":%q,"currentState":%q,"message":"done"}`, name, to)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestACircuitBreakerIsHeldOpenConfirmedAndReleased(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		begin := time.Now()
		_, end := w.control()
		defer end()
		w.after(7 * time.Second)
		g.call(price, 40)
		g.call("wrapping", 10)
		w.after(13 * time.Second)
		if i := w.instance("1"); !w.current("1") || i.SDK != resilienceName || len(i.Lacks) != 0 {
			w.Fatalf("at first it is %+v", i)
		}
		if got := w.total(begin); got != (governance.Counts{Success: 50}) {
			w.Errorf("it counted %+v", got)
		}
		w.policies.publish(version(w.T, 1, price, switched, governance.KindSwitch))
		w.after(2 * time.Second)
		if !w.current("1") || g.state(price) != circuitForcedOpen || g.state("wrapping") != "CLOSED" {
			w.Fatalf("pulled: %s, %+v", g.state(price), w.instance("1"))
		}
		g.call(price, 30)
		w.after(15 * time.Second)
		if got := w.total(begin); got != (governance.Counts{Success: 50, Switched: 30}) {
			w.Errorf("pulled, it counted %+v", got)
		}
		g.restart(w.cluster.pods["1"])
		w.after(12 * time.Second)
		// It has no such circuit breaker until the first call, and none is made for it.
		i := w.instance("1")
		if len(g.updates) != 0 || i.Applied == nil || len(i.Applied.Unmet) != 1 || !strings.Contains(i.Applied.Unmet[0].Reason, "makes one with the first call") {
			w.Fatalf("after a restart: %q, %+v", g.updates, i)
		}
		g.call(price, 1)
		w.after(7 * time.Second)
		if !w.current("1") || g.state(price) != circuitForcedOpen || len(w.instance("1").Applied.Unmet) != 0 {
			w.Fatalf("after the first call: %s, %+v", g.state(price), w.instance("1"))
		}
		w.policies.publish()
		w.after(3 * time.Second)
		if !w.current("1") || g.state(price) != "CLOSED" {
			w.Fatalf("released: %s, %+v", g.state(price), w.instance("1"))
		}
		events, err := w.store.Events(w.Context(), governance.EventQuery{App: delivery, Kinds: []string{governance.EventTransition}})
		if err != nil {
			w.Fatal(err)
		}
		var told []string
		for _, e := range slices.Backward(events) {
			told = append(told, string(e.Transition.To)+" "+e.Policy)
		}
		const name = "shop/delivery.PriceClient-price-String.switch"
		if want := []string{"forcedOpen " + name, "closed ", "forcedOpen " + name, "closed "}; !slices.Equal(told, want) {
			w.Errorf("events are %q", told)
		}
		if want := []string{"FORCE_OPEN " + price, "CLOSE " + price}; !slices.Equal(g.updates, want) {
			w.Errorf("updates are %q", g.updates)
		}
	})
}

// Whoever takes over knows what was held, and takes it back; what somebody else holds
// is left alone, and named.
func TestTheNextControlPlaneTakesBackWhatTheLastOneHeld(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		g.call(price, 1)
		g.call("wrapping", 1)
		w.policies.publish(version(w.T, 1, price, switched, governance.KindSwitch))
		_, end := w.control()
		w.after(5 * time.Second)
		if g.state(price) != circuitForcedOpen {
			w.Fatalf("pulled: %s", g.state(price))
		}
		end()
		w.policies.publish()
		g.put("wrapping", circuitForcedOpen)
		_, end = w.control()
		defer end()
		w.after(10 * time.Second)
		if g.state(price) != "CLOSED" || g.state("wrapping") != circuitForcedOpen {
			w.Errorf("released: %s, and what another holds: %s", g.state(price), g.state("wrapping"))
		}
		if i := w.instance("1"); !w.current("1") || !strings.Contains(strings.Join(i.Lacks, "\n"), "circuit breaker wrapping is FORCED_OPEN") {
			w.Errorf("it is %+v", i)
		}
		// A switch that is pulled and released closes it.
		w.policies.publish(version(w.T, 2, "wrapping", switched, governance.KindSwitch))
		w.after(3 * time.Second)
		w.policies.publish()
		w.after(6 * time.Second)
		if i := w.instance("1"); g.state("wrapping") != "CLOSED" || len(i.Lacks) != 0 {
			w.Errorf("afterwards %s, %+v", g.state("wrapping"), i)
		}
	})
}

func TestACircuitBreakerThatSomebodyLetsGoIsHeldAgain(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		g.call(price, 1)
		w.policies.publish(version(w.T, 1, "", switched, governance.KindSwitch))
		s, end := w.control()
		defer end()
		w.after(5 * time.Second)
		if !w.current("1") || g.state(price) != circuitForcedOpen {
			w.Fatalf("pulled: %s, %+v", g.state(price), w.instance("1"))
		}
		g.call("wrapping", 1) // a switch of everything holds what comes later too
		w.after(7 * time.Second)
		if g.state("wrapping") != circuitForcedOpen || testutil.ToFloat64(s.metrics.drifts) != 0 {
			w.Errorf("what came later is %s", g.state("wrapping"))
		}
		g.put(price, "CLOSED")
		w.after(3 * time.Second)
		if drifts := testutil.ToFloat64(s.metrics.drifts); drifts != 1 || !w.current("1") || g.state(price) != circuitForcedOpen {
			w.Errorf("%g times, %s: %+v", drifts, g.state(price), w.instance("1"))
		}
	})
}

func TestWhatResilience4jLacksIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(g *gifts)
		lacks  string
		holds  bool
	}{
		"no circuit breakers": {func(g *gifts) { g.hidden = "circuitbreakers" }, "or, where Resilience4j guards its calls, circuitbreakers and prometheus", false},
		"no metrics":          {func(g *gifts) { g.hidden = "prometheus" }, "add prometheus to management.endpoints.web.exposure.include", true},
		"no histogram":        {func(g *gifts) { g.summary = true }, "percentiles-histogram.resilience4j.circuitbreaker.calls=true", true},
		"read only":           {func(g *gifts) { g.readonly = true }, "management.endpoint.circuitbreakers.access=unrestricted", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				g := newGifts(w, "1")
				c.change(g)
				g.call(price, 3)
				w.policies.publish(version(w.T, 1, price, switched, governance.KindSwitch))
				_, end := w.control()
				defer end()
				w.after(25 * time.Second)
				i := w.instance("1")
				if !strings.Contains(strings.Join(i.Lacks, "\n"), c.lacks) {
					w.Fatalf("it lacks %q", i.Lacks)
				}
				if w.current("1") != c.holds || !c.holds && (i.Applied.Refused == nil || !strings.Contains(i.Applied.Refused.Reason, c.lacks)) {
					w.Fatalf("it applies %+v", i.Applied)
				}
				g.mu.Lock()
				g.hidden, g.summary, g.readonly = "", false, false
				g.mu.Unlock()
				w.after(45 * time.Second)
				if i := w.instance("1"); !w.current("1") || len(i.Lacks) != 0 || i.SDK != resilienceName || g.state(price) != circuitForcedOpen {
					w.Fatalf("once it is mended, it lacks %q and applies %+v", i.Lacks, i.Applied)
				}
			})
		})
	}
}

func TestWhatResilience4jCannotDoIsSaid(t *testing.T) {
	t.Parallel()
	circuits := map[string]circuit{price: {State: "CLOSED", FailureThreshold: "50.0%"}, "wrapping": {State: "CLOSED", FailureThreshold: "50.0%"}}
	for name, c := range map[string]struct {
		command string
		rules   governance.Rules
		unmet   []string
		mode    governance.Mode
	}{
		"a switch": {price, switched, nil, governance.ModeForcedOpen},
		"what is so already": {
			price, governance.Rules{Breaker: &governance.Breaker{ErrorPercent: 50}}, nil, "",
		},
		"thresholds": {
			price,
			governance.Rules{Timeout: governance.Duration(700 * time.Millisecond), Breaker: &governance.Breaker{ErrorPercent: 30, MinCalls: 7}},
			[]string{
				"timeout", "resilience4j.timelimiter.instances[PriceClient#price(String)].timeoutDuration=700ms",
				"resilience4j.circuitbreaker.instances[PriceClient#price(String)].failureRateThreshold=30", ".minimumNumberOfCalls=7",
			}, "",
		},
		"all fields": {
			"wrapping",
			governance.Rules{
				Bulkhead: &governance.Bulkhead{Concurrent: 4}, Fallback: &governance.Fallback{Empty: true},
				Breaker: &governance.Breaker{Mode: governance.ModeDisabled},
			},
			[]string{"resilience4j.bulkhead.instances.wrapping.maxConcurrentCalls=4", "fallback:"}, governance.ModeDisabled,
		},
		"held closed": {
			price, governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedClosed}},
			[]string{"can hold no circuit closed"}, governance.ModeForcedClosed,
		},
		"one that is not there": {"later", switched, []string{"it has no circuit breaker later yet"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := planModes(setOf(version(t, 1, c.command, c.rules, "")), delivery, circuits, nil, nil, someTime)
			if w.modes[c.command] != c.mode {
				t.Errorf("the mode is %q", w.modes[c.command])
			}
			var said strings.Builder
			for _, u := range w.unmet {
				said.WriteString(u.Reason)
				if u.Version != 1 {
					t.Errorf("%+v names no policy", u)
				}
			}
			reasons := said.String()
			for _, want := range c.unmet {
				if !strings.Contains(reasons, want) {
					t.Errorf("%q does not say %s", reasons, want)
				}
			}
			if len(c.unmet) == 0 && reasons != "" {
				t.Errorf("it says %q", reasons)
			}
		})
	}
}
