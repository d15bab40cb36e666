package agentless

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirmesh/weir/governance"
)

// maxLine is more than one event of a stream has: about 3 KiB, and the names.
const maxLine = 64 << 10

// event is one thing that a Hystrix stream says: of a command, or a mere sign of
// life.
type event struct{ command *commandEvent }

// commandEvent is what a stream says of one command, every half second. Counts
// are sums over the command's rolling window, percentiles of the last minute.
type commandEvent struct {
	Name string  `json:"name"`
	Pool string  `json:"threadPool"`
	Time float64 `json:"currentTime"` // of the pod's clock, in Unix milliseconds

	Open         bool    `json:"isCircuitBreakerOpen"`
	ErrorPercent float64 `json:"errorPercentage"`
	Requests     float64 `json:"requestCount"`

	BadRequests        float64 `json:"rollingCountBadRequests"`
	Failure            float64 `json:"rollingCountFailure"`
	FallbackFailure    float64 `json:"rollingCountFallbackFailure"`
	FallbackRejection  float64 `json:"rollingCountFallbackRejection"`
	FallbackSuccess    float64 `json:"rollingCountFallbackSuccess"`
	SemaphoreRejected  float64 `json:"rollingCountSemaphoreRejected"`
	ShortCircuited     float64 `json:"rollingCountShortCircuited"`
	Success            float64 `json:"rollingCountSuccess"`
	ThreadPoolRejected float64 `json:"rollingCountThreadPoolRejected"`
	Timeout            float64 `json:"rollingCountTimeout"`

	Concurrent    float64 `json:"currentConcurrentExecutionCount"`
	MaxConcurrent float64 `json:"rollingMaxConcurrentExecutionCount"`

	// Latency is of calls that ran, in milliseconds by percentile.
	Latency latencies `json:"latencyExecute"`

	MinCalls     float64 `json:"propertyValue_circuitBreakerRequestVolumeThreshold"`
	SleepWindow  float64 `json:"propertyValue_circuitBreakerSleepWindowInMilliseconds"`
	ErrorAllowed float64 `json:"propertyValue_circuitBreakerErrorThresholdPercentage"`
	ForceOpen    bool    `json:"propertyValue_circuitBreakerForceOpen"`
	ForceClosed  bool    `json:"propertyValue_circuitBreakerForceClosed"`
	Enabled      bool    `json:"propertyValue_circuitBreakerEnabled"`
	Isolation    string  `json:"propertyValue_executionIsolationStrategy"`
	TimeoutMilli float64 `json:"propertyValue_executionIsolationThreadTimeoutInMilliseconds"`
	Semaphore    float64 `json:"propertyValue_executionIsolationSemaphoreMaxConcurrentRequests"`
	WindowMilli  float64 `json:"propertyValue_metricsRollingStatisticalWindowInMilliseconds"`
}

// latencies are the percentiles that a stream tells.
type latencies struct {
	P25  float64 `json:"25"`
	P50  float64 `json:"50"`
	P75  float64 `json:"75"`
	P90  float64 `json:"90"`
	P95  float64 `json:"95"`
	P99  float64 `json:"99"`
	P995 float64 `json:"99.5"`
	P100 float64 `json:"100"`
}

// decoder reads events of a Hystrix stream. It passes over what it does not
// understand, and counts it, so that one bad line costs one event.
type decoder struct {
	r       *bufio.Reader
	garbage int // lines that are no events
	long    bool
}

func newDecoder(r io.Reader) *decoder { return &decoder{r: bufio.NewReaderSize(r, maxLine)} }

// next returns the next event. It ends with the reader's error.
func (d *decoder) next() (event, error) {
	for {
		line, err := d.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			d.long = true // and so is what follows, up to its end
			continue
		}
		if d.long {
			d.long = false
			d.garbage++
			if err == nil {
				continue
			}
		}
		if err != nil {
			return event{}, err // a line without its end may be half of one
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || line[0] == ':' {
			continue
		}
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			return event{}, nil // "ping:", or an event's name
		}
		if e, ok := decodeEvent(bytes.TrimPrefix(data, []byte(" "))); ok {
			return e, nil
		}
		d.garbage++
	}
}

// decodeEvent reads one event. It is false for garbage, and true without a field
// for what is of no use here.
func decodeEvent(data []byte) (event, bool) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return event{}, false
	}
	switch head.Type {
	case "HystrixCommand":
		c := &commandEvent{}
		if json.Unmarshal(data, c) != nil || !usable(c.Name) {
			return event{}, false
		}
		return event{command: c}, true
	case "":
		return event{}, false
	}
	return event{}, true // ping, HystrixThreadPool, HystrixCollapser, and what may come
}

// usable reports whether a name can stand in history and in a property's key.
func usable(name string) bool {
	return name != "" && len(name) <= governance.MaxSeriesName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

// whole reads a count: what cannot be one is none.
func whole(v float64) int64 {
	const most = 1 << 32
	if !(v > 0) { // not a number neither
		return 0
	}
	return int64(min(v, most))
}

// state is what the command's circuit does. Half-open is not told by a stream: it
// shows as open.
func (c *commandEvent) state() governance.State {
	switch {
	case !c.Enabled:
		return governance.StateDisabled
	case c.ForceOpen:
		return governance.StateForcedOpen
	case c.ForceClosed:
		return governance.StateForcedClosed
	case c.Open:
		return governance.StateOpen
	}
	return governance.StateClosed
}

// counts are those of the rolling window. What was short-circuited was so by a
// circuit that is held open if held says so.
func (c *commandEvent) counts(held bool) governance.Counts {
	out := governance.Counts{
		Success: whole(c.Success), Failure: whole(c.Failure), Ignored: whole(c.BadRequests), Timeout: whole(c.Timeout),
		Rejected:        whole(c.SemaphoreRejected) + whole(c.ThreadPoolRejected),
		FallbackSuccess: whole(c.FallbackSuccess), FallbackFailure: whole(c.FallbackFailure) + whole(c.FallbackRejection),
	}
	if held {
		out.Switched = whole(c.ShortCircuited)
	} else {
		out.ShortCircuited = whole(c.ShortCircuited)
	}
	return out
}
