package agentless

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/registry"
)

// shelf answers as the QoS of examples/java/dubbo does.
type shelf struct {
	mu     sync.Mutex
	ok     int
	says   string // in place of metrics
	status int    // of /metrics; 0 for 200
	banned bool   // nobody is let in
	asked  []string
}

func newShelf(w *world, id string, port uint16) *shelf {
	s := &shelf{}
	j := newJVM(w.T)
	j.started = time.Now().Add(-time.Minute)
	j.instead, j.ports = s, []registry.ServicePort{{Name: "dubbo", Target: 20880}, {Name: "qos", Target: port}}
	w.cluster.pods[id] = j
	return s
}

func (s *shelf) call(times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ok += times
}

func (s *shelf) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	if s.banned {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		fmt.Fprint(conn, "\r\nForeign Ip Not Permitted, Consider Config It In Whitelist.\r\n")
		conn.Close()
		return
	}
	switch {
	case r.URL.Path == qosStartup:
		fmt.Fprint(w, "true")
	case r.URL.Path != qosMetrics:
		w.WriteHeader(http.StatusNotFound)
	case s.status != 0:
		w.WriteHeader(s.status)
	case s.says != "":
		fmt.Fprint(w, s.says)
	default:
		fmt.Fprint(w, "# TYPE dubbo_application_info_total counter\ndubbo_application_info_total{application_name=\"delivery\",application_version=\"3.3.6\",} 1.0\n")
		fmt.Fprintf(w, "# TYPE dubbo_provider_requests_succeed_total counter\ndubbo_provider_requests_succeed_total{interface=\"org.example.shop.CatalogueService\",method=\"article\",} %d\n", s.ok)
		fmt.Fprintf(w, "# TYPE dubbo_provider_rt_milliseconds_histogram_seconds histogram\ndubbo_provider_rt_milliseconds_histogram_seconds_bucket{interface=\"org.example.shop.CatalogueService\",method=\"article\",le=\"+Inf\",} %d\n", s.ok)
	}
}

func TestADubboApplicationIsInHistory(t *testing.T) {
	bubble(t, func(w *world) {
		q := newShelf(w, "1", 8081)
		begin := time.Now()
		_, end := w.control()
		defer end()
		w.after(7 * time.Second)
		q.call(40)
		w.after(13 * time.Second)
		if i := w.instance("1"); !w.current("1") || i.SDK != dubboName || len(i.Lacks) != 0 {
			w.Fatalf("it is %+v", i)
		}
		if got := w.total(begin); got != (governance.Counts{Success: 40}) {
			w.Errorf("it counted %+v", got)
		}
		// No policy is enforced where it serves, and that is said of each.
		w.policies.publish(version(w.T, 1, "CatalogueService.article", switched, governance.KindSwitch))
		w.after(5 * time.Second)
		if a := w.instance("1").Applied; a == nil || len(a.Unmet) != 1 || a.Unmet[0].Version != 1 || !strings.Contains(a.Unmet[0].Reason, "publish the policy with at: caller") {
			w.Errorf("of a switch it says %+v", a)
		}
		// What a configuration centre said of it holds, however late this control plane came.
		set, _ := w.policies.Policies(delivery)
		centre := governance.Instance{App: delivery, ID: "1", SDK: dubboName, Seen: time.Now(), Applied: &governance.Applied{Version: set.Version, Hash: "of a configuration centre"}, AppliedAt: time.Now().Add(-time.Second), Beside: true}
		if err := w.store.PutInstances(w.Context(), centre); err != nil {
			w.Fatal(err)
		}
		w.policies.publish()
		q.set(func() { q.status = http.StatusForbidden })
		w.after(20 * time.Second)
		if i := w.instance("1"); i.Applied.Hash != "of a configuration centre" || len(i.Lacks) == 0 {
			w.Errorf("beside a configuration centre it is %+v, %+v", i, i.Applied)
		}
		// Neither its own port nor anything else of QoS is asked.
		q.set(func() {
			for _, asked := range q.asked {
				if asked != "GET /metrics" {
					w.Errorf("it was asked %s", asked)
				}
			}
		})
	})
}

// A process that begins anew counts from nothing; of what ran before, nothing is
// counted twice.
func TestADubboApplicationThatBeginsAnew(t *testing.T) {
	bubble(t, func(w *world) {
		q := newShelf(w, "1", 8081)
		begin := time.Now()
		_, end := w.control()
		defer end()
		w.after(7 * time.Second)
		q.call(40)
		w.after(7 * time.Second)
		q.set(func() { q.ok = 0; q.banned = true })
		w.cluster.pods["1"].restart()
		w.after(20 * time.Second)
		q.set(func() { q.banned = false })
		w.after(20 * time.Second)
		q.call(5)
		w.after(7 * time.Second)
		if got := w.total(begin); got != (governance.Counts{Success: 45}) {
			w.Errorf("it counted %+v", got)
		}
	})
}

func TestWhatKeepsDubbosMetricsFromBeingReadIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		port  uint16
		set   func(*shelf)
		lacks string
	}{
		"not for others":   {8081, func(q *shelf) { q.status = http.StatusForbidden }, "set dubbo.application.qos-anonymous-allow-commands=metrics, which opens this alone of QoS"},
		"nobody let in":    {8081, func(q *shelf) { q.banned = true }, "take dubbo.application.qos-anonymous-access-permission-level=NONE out"},
		"no metrics":       {8081, func(q *shelf) { q.says = "There is no application with data" }, `:8081/metrics says "There is no application with data": add io.micrometer:micrometer-registry-prometheus-simpleclient`},
		"no such command":  {8081, func(q *shelf) { q.status = http.StatusNotFound }, ":8081/metrics is not there: add io.micrometer:micrometer-registry-prometheus-simpleclient"},
		"QoS is elsewhere": {8082, func(*shelf) {}, "no QoS of Dubbo's answers at :8082 (port qos: nobody listens), :22222 (Dubbo's own: nobody listens): leave dubbo.application.qos-enable on"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				q := newShelf(w, "1", c.port)
				c.set(q)
				_, end := w.control()
				defer end()
				w.after(5 * time.Second)
				if lacks := strings.Join(w.instance("1").Lacks, "\n"); !strings.Contains(lacks, c.lacks) {
					w.Fatalf("it lacks %q, not %q", lacks, c.lacks)
				}
				if c.port != 8081 {
					return
				}
				// It is mended, and looked at again.
				q.set(func() { q.status, q.says, q.banned = 0, "", false })
				w.after(75 * time.Second)
				q.call(1)
				w.after(7 * time.Second)
				if i := w.instance("1"); len(i.Lacks) != 0 {
					w.Errorf("mended, it lacks %q", i.Lacks)
				}
			})
		})
	}
}

// A process with both is governed by its actuator, however that behaves while the
// process is looked at: QoS answers always, if only to say no.
func TestQoSTakesNoPodFromAnActuator(t *testing.T) {
	t.Parallel()
	for name, ill := range map[string]func(j *jvm, ill bool){
		"slow":     func(j *jvm, ill bool) { j.hangs = ill },
		"failing":  func(j *jvm, ill bool) { j.deny = map[bool]int{true: http.StatusServiceUnavailable}[ill] },
		"starting": func(j *jvm, ill bool) { j.refuses = ill },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				j := newJVM(w.T)
				q := &shelf{status: http.StatusForbidden}
				if name == "starting" {
					q.status = 0 // what can be counted by then is
				}
				j.qos, j.started = memhttp.Start(w.T, q), time.Now()
				ill(j, true)
				w.cluster.pods["1"] = j
				w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
				_, end := w.control()
				defer end()
				w.after(40 * time.Second)
				if i := w.instance("1"); name != "starting" && (i.SDK != "" || len(i.Lacks) == 0) {
					w.Fatalf("while the actuator is ill, it is %+v", i)
				}
				j.set(func() { ill(j, false) })
				w.after(45 * time.Second)
				if i := w.instance("1"); !w.current("1") || i.SDK != hystrixName {
					w.Fatalf("it is %+v", i)
				}
				// The process stays governed by what has governed it.
				j.set(func() { j.refuses = true })
				w.policies.publish()
				w.after(90 * time.Second)
				if i := w.instance("1"); i.SDK != hystrixName || !strings.Contains(strings.Join(i.Lacks, "\n"), "no actuator answers") {
					w.Fatalf("without its actuator, it is %+v", i)
				}
				j.set(func() { j.refuses = false })
				w.after(30 * time.Second)
				if got := j.written()["hystrix.command."+quote+".circuitBreaker.forceOpen"]; !w.current("1") || got == "true" {
					w.Errorf("released: %+v, %v", w.instance("1"), j.written())
				}
			})
		})
	}
}

// Whatever is scraped by Prometheus is not Dubbo Java for that, and who tells of itself
// is not counted twice.
func TestWhatPrometheusScrapesNeedNotBeDubbo(t *testing.T) {
	t.Parallel()
	const foreign = "# TYPE go_goroutines gauge\ngo_goroutines 3\n"
	const dubbos = "# TYPE dubbo_provider_requests_succeed_total counter\ndubbo_provider_requests_succeed_total{interface=\"a.B\",method=\"c\"} 3\n"
	for name, c := range map[string]struct {
		says, probe string
		status      int
		tells, want bool
	}{
		"another's":            {says: foreign, probe: "<html>"},
		"another's, forbidden": {status: http.StatusForbidden, probe: "<html>"},
		"QoS":                  {says: foreign, probe: "true", want: true},
		"Dubbo's":              {says: foreign + dubbos, probe: "<html>", want: true},
		"dubbo-go with Weir's": {says: foreign + dubbos, probe: "<html>", tells: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				j := newJVM(w.T)
				j.instead = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Path == qosStartup:
						fmt.Fprint(rw, c.probe)
					case r.URL.Path != qosMetrics:
						rw.WriteHeader(http.StatusNotFound)
					case c.status != 0:
						rw.WriteHeader(c.status)
					default:
						fmt.Fprint(rw, c.says)
					}
				})
				j.ports, j.prometheus = []registry.ServicePort{{Name: "metrics", Target: 8081}}, "8081"
				w.cluster.pods["1"] = j
				if c.tells {
					err := w.store.PutInstances(w.Context(), governance.Instance{App: delivery, ID: "1", SDK: "go/1.0.0", Seen: time.Now()})
					if err != nil {
						w.Fatal(err)
					}
				}
				s, end := w.control()
				defer end()
				w.after(12 * time.Second)
				if got := w.instance("1").SDK == dubboName; got != c.want {
					w.Errorf("it is %+v", w.instance("1"))
				}
				if got := testutil.ToFloat64(s.metrics.scrapes) > 0; got != c.want {
					w.Errorf("it was counted: %v", got)
				}
			})
		})
	}
}
