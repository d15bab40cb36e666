package agentless

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/governance"
)

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
		if i := w.instance("1"); !w.current("1") || i.SDK != hystrixName || i.Name != "delivery-1" || len(i.Lacks) != 0 {
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
		seen := false
		for range 60 {
			w.after(100 * time.Millisecond)
			seen = seen || strings.Contains(strings.Join(w.instance("1").Lacks, "\n"), "somebody changed its settings")
		}
		if !seen {
			w.Error("nobody could read of it")
		}
		if drifts := testutil.ToFloat64(s.metrics.drifts); drifts != 1 || !w.current("1") || j.written()[key] != "true" {
			w.Errorf("%g times, %v: %+v", drifts, j.written(), w.instance("1"))
		}
		events, err := w.store.Events(w.Context(), governance.EventQuery{App: delivery, Kinds: []string{governance.EventDrifted}})
		if err != nil || len(events) != 1 || events[0].Instance != "1" || !strings.Contains(events[0].Reason, "circuitBreaker.forceOpen is false in it, and should be true") {
			w.Errorf("told are %+v (%v)", events, err)
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

// What a pod counted before its stream was read from here is missing, and what
// comes first is marked.
func TestWhatRanUnheardIsMarked(t *testing.T) {
	bubble(t, func(w *world) {
		j := newJVM(w.T)
		j.calls = 40
		w.cluster.pods["1"] = j
		_, end := w.control()
		defer end()
		w.after(45 * time.Second)
		got, err := w.store.Series(w.Context(), governance.SeriesQuery{
			App: delivery, Series: governance.Series{Command: quote, At: governance.Provider}, From: time.Now().Add(-time.Minute), To: time.Now(), Step: time.Second,
		})
		if err != nil || len(got.Points) < 20 {
			w.Fatalf("%+v, %v", got, err)
		}
		if !got.Points[0].Lossy || got.Points[len(got.Points)-1].Lossy {
			w.Errorf("first %+v, last %+v", got.Points[0], got.Points[len(got.Points)-1])
		}
	})
}
