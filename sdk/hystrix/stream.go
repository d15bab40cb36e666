package hystrix

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// window is over how many seconds a stream's counts roll.
const window = 10

// rolling counts the last seconds of a command for streams. It counts only while
// there is one.
type rolling struct {
	mu      sync.Mutex
	seconds [window + 1]struct {
		unix    int64
		counts  governance.Counts
		took    time.Duration // by those that ran, together
		latency sketch.Sketch
	}
}

// note counts a call.
func (c *command) note(counts governance.Counts, began time.Time, ran bool) {
	if engines.streaming.Load() == 0 {
		return
	}
	now := time.Now()
	r := &c.rolling
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.seconds[now.Unix()%int64(len(r.seconds))]
	if s.unix != now.Unix() {
		s.unix, s.counts, s.took = now.Unix(), governance.Counts{}, 0
		s.latency.Reset()
	}
	s.counts = s.counts.Add(counts)
	if ran {
		s.latency.Add(now.Sub(began))
		s.took += now.Sub(began)
	}
}

func (r *rolling) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.seconds {
		r.seconds[i].unix = 0
	}
}

// sum returns what was counted in the last ten seconds.
func (r *rolling) sum(now time.Time) (counts governance.Counts, latency *sketch.Sketch, mean time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	latency = new(sketch.Sketch)
	var took time.Duration
	for i := range r.seconds {
		if s := &r.seconds[i]; s.unix > now.Unix()-window && s.unix <= now.Unix() {
			counts = counts.Add(s.counts)
			latency.Merge(&s.latency)
			took += s.took
		}
	}
	if n := latency.Count(); n > 0 {
		mean = took / time.Duration(n)
	}
	return counts, latency, mean
}

// NewStreamHandler returns a handler that serves what Hystrix dashboards and
// Turbine read. It serves nothing before Start.
func NewStreamHandler() *StreamHandler {
	return &StreamHandler{}
}

// StreamHandler publishes every command once a second to all its clients. It
// counts by itself: Weir's own history needs none.
type StreamHandler struct {
	mu      sync.Mutex
	clients map[chan []byte]struct{}
	done    chan struct{} // nil while it is stopped
}

// Start begins to count and to publish. Starting again changes nothing.
func (sh *StreamHandler) Start() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.done != nil {
		return
	}
	sh.done = make(chan struct{})
	if sh.clients == nil {
		sh.clients = make(map[chan []byte]struct{})
	}
	engines.streaming.Add(1)
	go sh.loop(sh.done)
}

// Stop ends counting, publishing and the streams of all clients.
func (sh *StreamHandler) Stop() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.done != nil {
		close(sh.done)
		sh.done = nil
		engines.streaming.Add(-1)
	}
}

var _ http.Handler = (*StreamHandler)(nil)

// ServeHTTP streams until the client goes or Stop is called.
func (sh *StreamHandler) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	events := make(chan []byte, 1)
	sh.mu.Lock()
	done := sh.done
	if done != nil {
		sh.clients[events] = struct{}{}
	}
	sh.mu.Unlock()
	if done == nil {
		http.Error(rw, "hystrix: the stream is not started: call Start on its handler", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		delete(sh.clients, events)
	}()
	flush := http.NewResponseController(rw)
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.Header().Set("Cache-Control", "no-cache")
	if err := flush.Flush(); err != nil {
		http.Error(rw, "Streaming unsupported!", http.StatusInternalServerError)
		return
	}
	for {
		select {
		case <-req.Context().Done():
			return
		case <-done:
			return
		case event := <-events:
			if _, err := rw.Write(event); err != nil {
				return
			}
			if err := flush.Flush(); err != nil {
				return
			}
		}
	}
}

func (sh *StreamHandler) loop(done chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			sh.publish(now)
		}
	}
}

// publish sends everything to all clients; one that lags misses it.
func (sh *StreamHandler) publish(now time.Time) {
	var out []byte
	for _, c := range engines.all() {
		for _, doc := range c.documents(now) {
			data, err := json.Marshal(doc)
			if err != nil { // maps of numbers and texts can always be written
				continue
			}
			out = append(append(append(out, "data: "...), data...), '\n', '\n')
		}
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for client := range sh.clients {
		select {
		case client <- out:
		default:
		}
	}
}

// documents are a command and its pool as Hystrix's dashboard reads them.
func (c *command) documents(now time.Time) []map[string]any {
	s := c.circuit.Status()
	counts, latency, mean := c.rolling.sum(now)
	requests := counts.Ran() - counts.Canceled + counts.Refused()
	failed := counts.Errors() + counts.Refused()
	percent := int64(0)
	if requests > 0 {
		percent = 100 * failed / requests
	}
	timings := make(map[string]int64)
	for _, p := range []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 100} {
		timings[strconv.FormatFloat(p, 'f', -1, 64)] = latency.Quantile(p / 100).Milliseconds()
	}
	e := s.Effective
	concurrent := 0
	if e.Bulkhead != nil {
		concurrent = e.Bulkhead.Concurrent
	}
	b := e.Breaker
	open := s.State == governance.StateOpen || s.State == governance.StateForcedOpen
	const rollingMs = window * 1000
	return []map[string]any{{
		"type": "HystrixCommand", "name": c.name, "group": c.name, "currentTime": now.UnixMilli(), "reportingHosts": 1,
		"isCircuitBreakerOpen": open, "errorPercentage": percent, "errorCount": failed, "requestCount": requests,
		"rollingCountSuccess": counts.Success, "rollingCountFailure": counts.Failure, "rollingCountBadRequests": counts.Ignored,
		"rollingCountTimeout": counts.Timeout, "rollingCountShortCircuited": counts.ShortCircuited + counts.Switched,
		"rollingCountSemaphoreRejected": counts.Rejected, "rollingCountThreadPoolRejected": 0,
		"rollingCountFallbackSuccess": counts.FallbackSuccess, "rollingCountFallbackFailure": counts.FallbackFailure,
		"rollingCountFallbackRejection": 0, "rollingCountExceptionsThrown": counts.FallbackFailure,
		"rollingCountCollapsedRequests": 0, "rollingCountResponsesFromCache": 0,
		"currentConcurrentExecutionCount": s.InFlight,
		"latencyExecute":                  timings, "latencyTotal": timings,
		"latencyExecute_mean": mean.Milliseconds(), "latencyTotal_mean": mean.Milliseconds(),
		"propertyValue_circuitBreakerRequestVolumeThreshold":             b.MinCalls,
		"propertyValue_circuitBreakerSleepWindowInMilliseconds":          time.Duration(b.OpenFor).Milliseconds(),
		"propertyValue_circuitBreakerErrorThresholdPercentage":           int(b.ErrorPercent + 0.5),
		"propertyValue_circuitBreakerForceOpen":                          s.State == governance.StateForcedOpen,
		"propertyValue_circuitBreakerForceClosed":                        s.State == governance.StateForcedClosed,
		"propertyValue_circuitBreakerEnabled":                            s.State != governance.StateDisabled,
		"propertyValue_executionIsolationStrategy":                       "SEMAPHORE",
		"propertyValue_executionIsolationThreadTimeoutInMilliseconds":    time.Duration(e.Timeout).Milliseconds(),
		"propertyValue_executionTimeoutInMilliseconds":                   time.Duration(e.Timeout).Milliseconds(),
		"propertyValue_executionIsolationThreadInterruptOnTimeout":       true,
		"propertyValue_executionIsolationThreadPoolKeyOverride":          nil,
		"propertyValue_executionIsolationSemaphoreMaxConcurrentRequests": concurrent,
		"propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests":  concurrent,
		"propertyValue_metricsRollingStatisticalWindowInMilliseconds":    rollingMs,
		"propertyValue_requestCacheEnabled":                              false, "propertyValue_requestLogEnabled": false,
	}, {
		"type": "HystrixThreadPool", "name": c.name, "currentTime": now.UnixMilli(), "reportingHosts": 1,
		"currentActiveCount": s.InFlight, "currentCompletedTaskCount": 0, "currentTaskCount": 0, "currentQueueSize": 0,
		"currentPoolSize": concurrent, "currentCorePoolSize": concurrent, "currentLargestPoolSize": concurrent, "currentMaximumPoolSize": concurrent,
		"rollingCountThreadsExecuted": counts.Ran(), "rollingMaxActiveThreads": s.InFlight, "rollingCountCommandRejections": counts.Rejected,
		"propertyValue_queueSizeRejectionThreshold":                   0,
		"propertyValue_metricsRollingStatisticalWindowInMilliseconds": rollingMs,
	}}
}
