package run

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health gathers the checks that decide whether a process is ready to be sent
// work. The zero value is ready to use and, without checks, ready. It is safe for
// concurrent use.
type Health struct {
	mu     sync.Mutex
	checks []*Check
	asked  []asked
}

// asked is a condition that is looked at when somebody asks.
type asked struct {
	name  string
	check func() error
}

// Check is one condition of readiness. It starts out failed. It is safe for
// concurrent use.
type Check struct {
	name   string
	mu     sync.Mutex
	reason string // empty when the check passes
}

// Check adds a condition, failed for now because of reason.
func (h *Health) Check(name, reason string) *Check {
	c := &Check{name: name}
	c.Fail(reason)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, c)
	return c
}

// Ask adds a condition that is looked at whenever somebody asks; check must
// return soon, and be safe for concurrent use.
func (h *Health) Ask(name string, check func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, asked{name, check})
}

// OK makes the check pass.
func (c *Check) OK() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason = ""
}

// Fail makes the check fail; reason is for the operator who asks why.
func (c *Check) Fail(reason string) {
	if reason == "" {
		reason = "not ready"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason = reason
}

// Reasons returns why the process is not ready, as "check: reason" sorted by
// check; nothing when it is.
func (h *Health) Reasons() []string {
	h.mu.Lock()
	checks, questions := slices.Clone(h.checks), slices.Clone(h.asked)
	h.mu.Unlock()
	var out []string
	for _, q := range questions {
		if err := q.check(); err != nil {
			out = append(out, q.name+": "+err.Error())
		}
	}
	for _, c := range checks {
		c.mu.Lock()
		if c.reason != "" {
			out = append(out, c.name+": "+c.reason)
		}
		c.mu.Unlock()
	}
	slices.Sort(out)
	return out
}

// AdminHandler serves what the operator's machinery asks every role:
//
//	/livez    200 for as long as the process answers at all; never a reason to
//	          restart it because something it depends on is away
//	/readyz   200, or 503 with one reason a line
//	/metrics  the registry, in Prometheus's format
func AdminHandler(h *Health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := h.Reasons(); len(reasons) > 0 {
			plain(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
			return
		}
		plain(w, http.StatusOK, "ok\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

func plain(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}
