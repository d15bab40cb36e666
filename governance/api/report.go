package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/httpapi"
)

// Limits of a report's size.
const (
	maxWire     = 1 << 20 // as it is sent
	maxInflated = 8 << 20
)

// readReport reads and checks one report; now is what its times are held against.
// It reads no more than it may, whatever is sent.
func readReport(body io.Reader, encoding string, now time.Time) (governance.Report, error) {
	var rep governance.Report
	wire := &limited{r: body, left: maxWire, what: fmt.Sprintf("%d bytes as it is sent", maxWire)}
	var plain io.Reader = wire
	switch strings.ToLower(encoding) {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(wire)
		if err != nil {
			if wire.over {
				return rep, wire.error()
			}
			return rep, httpapi.BadRequest("body", "it is not gzip, though Content-Encoding says so")
		}
		plain = z
	default:
		return rep, httpapi.NewProblem(http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Encoding %q is not understood: send gzip, or plain JSON", encoding))
	}
	inflated := &limited{r: plain, left: maxInflated, what: fmt.Sprintf("%d bytes inflated", maxInflated)}
	data, err := io.ReadAll(inflated)
	switch {
	case wire.over:
		return rep, wire.error()
	case inflated.over:
		return rep, inflated.error()
	case err != nil && (errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)) || isFlate(err):
		return rep, httpapi.BadRequest("body", "the gzip is damaged, or ends too early")
	case err != nil:
		return rep, httpapi.BadRequest("body", "it could not be read to its end")
	}
	// Fields that are not known are passed over: a newer SDK may say more.
	if err := json.Unmarshal(bytes.TrimSpace(data), &rep); err != nil {
		return rep, httpapi.BadRequest("body", "it is no report: "+strings.TrimPrefix(err.Error(), "json: "))
	}
	err = checkReport(&rep, now)
	return rep, err
}

func isFlate(err error) bool {
	// compress/flate's errors are types of its own, which all say so.
	return err != nil && strings.HasPrefix(err.Error(), "flate:")
}

// limited reads up to a limit and remembers that there was more.
type limited struct {
	r    io.Reader
	left int64
	what string
	over bool
}

var errTooMuch = errors.New("too much")

func (l *limited) Read(p []byte) (int, error) {
	if l.over {
		return 0, errTooMuch
	}
	// One byte more tells the end at the limit from what goes beyond it.
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		l.over = true
		return 0, errTooMuch
	}
	return n, err
}

func (l *limited) error() error {
	return httpapi.NewProblem(http.StatusRequestEntityTooLarge, "a report has at most "+l.what+": send what happened in several").WithHeader("Connection", "close")
}

var states = []governance.State{
	governance.StateClosed, governance.StateOpen, governance.StateHalfOpen,
	governance.StateForcedOpen, governance.StateForcedClosed, governance.StateDisabled,
}

// maxCount is more than happens in a second, and far from overflowing when a day
// of all instances is added up.
const maxCount = 1 << 32

// maxKind bounds the names of what was dropped.
const maxKind = 64

// words makes one line of what a program says, which is shortened rather than
// refused.
func words(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), governance.MaxReason)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

func checkReport(rep *governance.Report, now time.Time) error {
	for _, err := range []error{
		checkWire("body.wire", rep.Wire), checkApp("body.app", rep.App), checkText("body.instance", rep.Instance, maxID, true),
		checkText("body.name", rep.Name, maxID, false), checkText("body.boot", rep.Boot, maxID, true),
	} {
		if err != nil {
			return err
		}
	}
	if rep.Seq < 1 {
		return httpapi.BadRequest("body.seq", "reports are numbered from 1")
	}
	for _, limit := range []struct {
		field     string
		have, max int
	}{
		{"calls", len(rep.Calls), maxCalls}, {"samples", len(rep.Samples), governance.MaxSamples},
		{"transitions", len(rep.Transitions), governance.MaxTransitions}, {"dropped", len(rep.Dropped), 100},
	} {
		if limit.have > limit.max {
			return httpapi.BadRequest("body."+limit.field, fmt.Sprintf("there are %d, and at most %d are taken", limit.have, limit.max))
		}
	}
	for i, c := range rep.Calls {
		if err := checkApp(fmt.Sprintf("body.calls[%d]", i), c); err != nil {
			return err
		}
	}
	for kind := range rep.Dropped {
		if err := checkText("body.dropped", kind, maxKind, true); err != nil {
			return err
		}
	}
	if a := rep.Applied; a != nil {
		if err := checkApplied(a); err != nil {
			return err
		}
	}
	for i := range rep.Samples {
		if err := checkSample(&rep.Samples[i], fmt.Sprintf("body.samples[%d]", i), now); err != nil {
			return err
		}
	}
	for i := range rep.Transitions {
		if err := checkTransition(&rep.Transitions[i], fmt.Sprintf("body.transitions[%d]", i), now); err != nil {
			return err
		}
	}
	return nil
}

func checkApplied(a *governance.Applied) error {
	if a.Version < 0 {
		return httpapi.BadRequest("body.applied.version", "it is negative")
	}
	if err := checkText("body.applied.hash", a.Hash, maxID, false); err != nil {
		return err
	}
	r := a.Refused
	if r == nil {
		return nil
	}
	r.Reason = words(r.Reason)
	for _, err := range []error{
		checkText("body.applied.refused.hash", r.Hash, maxID, false), checkText("body.applied.refused.policy", r.Policy, 2*governance.MaxNameLength+1, false),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkSeries(s *governance.Series, field string) error {
	if s.At != governance.Provider && s.At != governance.Caller {
		return httpapi.BadRequest(field+".at", fmt.Sprintf("%q is neither provider nor caller", s.At))
	}
	if err := checkText(field+".command", s.Command, governance.MaxSeriesName, true); err != nil {
		return err
	}
	if s.Peer != (governance.App{}) {
		return checkApp(field+".peer", s.Peer)
	}
	return nil
}

func checkSample(s *governance.Sample, field string, now time.Time) error {
	if err := checkSeries(&s.Series, field); err != nil {
		return err
	}
	if err := checkTime(field+".second", time.Unix(s.Second, 0), now); err != nil {
		return err
	}
	if !slices.Contains(states, s.State) {
		return httpapi.BadRequest(field+".state", fmt.Sprintf("%q is no state of a circuit", s.State))
	}
	if s.InFlight < 0 || s.InFlight > 1<<30 {
		return httpapi.BadRequest(field+".inFlight", fmt.Sprintf("%d calls are not under way at once", s.InFlight))
	}
	if err := checkCounts(s.Counts, field+".counts"); err != nil {
		return err
	}
	if len(s.Latency) > 0 {
		var latency sketch.Sketch
		if err := latency.UnmarshalBinary(s.Latency); err != nil {
			return httpapi.BadRequest(field+".latency", "it is no latency sketch of an encoding that is known")
		}
		if n := latency.Count(); n > maxCount {
			return httpapi.BadRequest(field+".latency", fmt.Sprintf("%d calls do not end in one second", n))
		}
	}
	return nil
}

func checkCounts(c governance.Counts, field string) error {
	for _, n := range []int64{
		c.Success, c.Failure, c.Ignored, c.Timeout, c.Canceled, c.Rejected, c.ShortCircuited, c.Switched, c.FallbackSuccess, c.FallbackFailure, c.Slow,
	} {
		if n < 0 || n > maxCount {
			return httpapi.BadRequest(field, fmt.Sprintf("%d calls are not counted in one second", n))
		}
	}
	return nil
}

func checkTransition(t *governance.Transition, field string, now time.Time) error {
	if err := checkSeries(&t.Series, field); err != nil {
		return err
	}
	if err := checkTime(field+".time", t.Time, now); err != nil {
		return err
	}
	if !slices.Contains(states, t.From) || !slices.Contains(states, t.To) {
		return httpapi.BadRequest(field, fmt.Sprintf("%q and %q are no states of a circuit", t.From, t.To))
	}
	t.Cause = words(t.Cause)
	if err := checkText(field+".policy", t.Policy, 2*governance.MaxNameLength+1, false); err != nil {
		return err
	}
	return checkCounts(t.Window, field+".window")
}

func checkTime(field string, t, now time.Time) error {
	switch {
	case t.After(now.Add(governance.MaxSampleAhead)):
		return httpapi.BadRequest(field, fmt.Sprintf("%s lies more than %s ahead of %s, which it is here: set the clock of the instance's node", t.UTC().Format(time.RFC3339), governance.MaxSampleAhead, now.UTC().Format(time.RFC3339)))
	case t.Before(now.Add(-governance.MaxSampleAge)):
		return httpapi.BadRequest(field, fmt.Sprintf("%s lies more than %s before %s, which it is here: set the clock of the instance's node", t.UTC().Format(time.RFC3339), governance.MaxSampleAge, now.UTC().Format(time.RFC3339)))
	}
	return nil
}

func (a *API) report(w http.ResponseWriter, r *http.Request) {
	answer, err := a.takeReport(r)
	if err != nil {
		a.metrics.reports.WithLabelValues("refused").Inc()
		a.http.WriteProblem(w, r, err)
		return
	}
	a.metrics.reports.WithLabelValues("stored").Inc()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	raw, err := json.Marshal(answer)
	if err != nil {
		a.log.ErrorContext(r.Context(), "an answer cannot be encoded", "error", err)
		return
	}
	_, _ = w.Write(raw) // the client went away
}

func (a *API) takeReport(r *http.Request) (governance.ReportAnswer, error) {
	var none governance.ReportAnswer
	place, err := a.reports.enter(r.Context())
	if err != nil {
		return none, err
	}
	defer place()
	if r.ContentLength > maxWire {
		return none, (&limited{what: fmt.Sprintf("%d bytes as it is sent", maxWire)}).error()
	}
	now := a.cfg.Now()
	rep, err := readReport(r.Body, r.Header.Get("Content-Encoding"), now)
	if err != nil {
		return none, err
	}
	if err := requireInstance(r.Context(), rep.App, rep.Instance); err != nil {
		return none, err
	}
	if err := a.fleet.check(rep); err != nil {
		return none, err
	}
	if len(rep.Samples)+len(rep.Transitions) > 0 {
		if err := a.store.Append(r.Context(), rep); err != nil {
			return none, err
		}
		a.metrics.samples.Add(float64(len(rep.Samples)))
	}
	calls, err := a.fleet.heard(r.Context(), rep, now)
	if err != nil {
		return none, err
	}
	return a.hub.wanted(rep.App, calls), nil
}
