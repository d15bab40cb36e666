// Package report tells the control plane what happens in one instance: samples
// about once a second while there are any, transitions of circuits, and within
// milliseconds which policies are in force. Nothing here blocks the service.
// What cannot be told is kept within bounds, then dropped, the oldest first, and
// counted; a report that got no answer is sent again as it was, under the same
// number, until it is accepted or too old.
//
// It imports the standard library only.
package report

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

// What a Reporter holds and how it behaves where its config does not say.
const (
	DefaultInterval = time.Second
	// maxSamples, maxBytes and maxTransitions bound what waits to be told.
	maxSamples     = 20_000
	maxBytes       = 8 << 20
	maxTransitions = 1_000
	// perReport bounds the samples of one report.
	perReport = 1_000
	// tooOld is when what could not be told is worth nothing any more.
	tooOld = 5 * time.Minute
	// idle is how often an instance with nothing to tell is heard, so that it
	// learns by the answer if its stream went silent.
	idle = time.Minute
	// ackJitter spreads the acknowledgements of many instances.
	ackJitter   = 15 * time.Millisecond
	postTimeout = 10 * time.Second
	backoffMost = 30 * time.Second
)

// Config says what a Reporter tells of whom, and to whom.
type Config struct {
	URL      string // of the control plane
	App      governance.App
	Instance string
	Name     string
	// Applied returns what is in force; nil for an instance without policies.
	Applied func() governance.Applied
	// Offset returns how far the control plane's clock is ahead of this machine's;
	// what is told is told by the former. May be nil.
	Offset func() time.Duration
	// NewCalls returns all applications that the instance calls when the control
	// plane does not know some of them, else nil. May be nil.
	NewCalls func() []governance.App
	// Answered takes the control plane's answers. May be nil.
	Answered func(governance.ReportAnswer)
	// Token, Transport and Logger are as in policy.Config.
	Token     func() (string, error)
	Transport http.RoundTripper
	Logger    *slog.Logger
	// Interval is between two looks at the sources; zero for a second.
	Interval time.Duration
}

// Source returns the samples of the seconds that ended before now and were not
// returned before. Calls never overlap.
type Source func(now time.Time) []governance.Sample

// Reporter tells. Its methods are safe for concurrent use.
type Reporter struct {
	cfg  Config
	url  string
	boot string
	// shown is the address for logs: without a password.
	shown string
	http  *http.Client
	own   *http.Transport
	log   *slog.Logger
	// Each holds one token: that there may be something to tell, and that it
	// should be told at once.
	wake, urgent chan struct{}
	left         *outgoing // what Run had begun to tell when it ended

	collecting sync.Mutex // held while sources are asked

	mu          sync.Mutex
	sources     []Source
	samples     []governance.Sample
	bytes       int // of samples
	transitions []governance.Transition
	dropped     map[string]int64
	seq         int64
	nameless    bool               // a series that cannot be told was logged
	refused     bool               // a refusal was logged, and nothing was accepted since
	told        governance.Applied // by the newest report that was accepted
	toldCalls   int
	toldDropped int64
	toldAt      time.Time
	stats       Stats
}

// Stats counts what became of reports since the Reporter was made.
type Stats struct {
	Sent     int64            // reports that were accepted
	Failures int64            // attempts that failed
	Dropped  map[string]int64 // what was not told, by kind: "samples", "transitions"
	Waiting  int              // samples and transitions
	// Acknowledged is the policy version that the control plane last accepted
	// word of.
	Acknowledged int64
	Problem      string // why the last attempt failed; empty when it did not
}

// Kinds of what is dropped.
const (
	kindSamples     = "samples"
	kindTransitions = "transitions"
)

// New returns a reporter, which tells nothing until Run.
func New(cfg Config) (*Reporter, error) {
	base, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("report: %q is no control plane's address: write it as http://host:9000", cfg.URL)
	}
	if cfg.App.Namespace == "" || cfg.App.Name == "" || cfg.Instance == "" {
		return nil, errors.New("report: App and Instance are required")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	r := &Reporter{
		cfg: cfg, url: base.JoinPath(governance.ReportsPath).String(), shown: base.Redacted(), boot: rand.Text(), log: cfg.Logger,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), dropped: make(map[string]int64), toldAt: time.Now(),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	transport := cfg.Transport
	if transport == nil {
		r.own = &http.Transport{TLSHandshakeTimeout: postTimeout, ForceAttemptHTTP2: true}
		transport = r.own
	}
	r.http = &http.Client{
		Transport:     transport,
		Timeout:       postTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return r, nil
}

// AddSource adds samples to what is told.
func (r *Reporter) AddSource(s Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = append(r.sources, s)
}

// Transition tells of one, with the next report.
func (r *Reporter) Transition(t governance.Transition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !validName(t.Command) {
		r.dropped[kindTransitions]++
		return
	}
	if len(r.transitions) >= maxTransitions {
		r.transitions = slices.Delete(r.transitions, 0, 1)
		r.dropped[kindTransitions]++
	}
	r.transitions = append(r.transitions, t)
}

// Poke says that what Applied or NewCalls returns has changed: a report goes out
// within milliseconds, and one that waits to be sent again goes before it: who
// has just heard from the control plane can reach it.
func (r *Reporter) Poke() { put(r.urgent) }

func put(token chan<- struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// Stats returns the counts.
func (r *Reporter) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Dropped = maps.Clone(r.dropped)
	s.Waiting = len(r.samples) + len(r.transitions)
	return s
}

// Run tells until ctx ends; Flush tells the rest.
func (r *Reporter) Run(ctx context.Context) {
	var collector sync.WaitGroup
	collector.Go(func() { r.collectEvery(ctx) })
	defer collector.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-r.urgent:
			// A new policy set reaches thousands of instances in one moment.
			if !pause.For(ctx, mathrand.N(ackJitter)) {
				return
			}
		}
		for {
			out := r.build(time.Now())
			if out == nil {
				break
			}
			if !r.tell(ctx, out) {
				r.left = out
				return
			}
		}
	}
}

// collectEvery looks at the sources at this instance's own moment of each
// second, which spreads the load of many instances.
func (r *Reporter) collectEvery(ctx context.Context) {
	if !pause.For(ctx, mathrand.N(r.cfg.Interval)) {
		return
	}
	ticker := time.NewTicker(r.cfg.Interval)
	defer ticker.Stop()
	for {
		r.collect(time.Now())
		put(r.wake)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// collect takes over what the sources have, within the bounds.
func (r *Reporter) collect(now time.Time) {
	r.collecting.Lock()
	defer r.collecting.Unlock()
	r.mu.Lock()
	sources := slices.Clone(r.sources)
	r.mu.Unlock()
	for _, source := range sources {
		fresh := r.tellable(source(now))
		r.mu.Lock()
		for i := range fresh {
			r.bytes += sizeOf(&fresh[i])
		}
		r.samples = append(r.samples, fresh...)
		r.trim(now)
		r.mu.Unlock()
	}
}

// tellable leaves out the samples of series that the control plane would refuse,
// and with them the whole report.
func (r *Reporter) tellable(samples []governance.Sample) []governance.Sample {
	before := len(samples)
	name := ""
	samples = slices.DeleteFunc(samples, func(s governance.Sample) bool {
		bad := !validName(s.Command)
		if bad {
			name = s.Command
		}
		return bad
	})
	if n := before - len(samples); n > 0 {
		r.mu.Lock()
		r.dropped[kindSamples] += int64(n)
		first := !r.nameless
		r.nameless = true
		r.mu.Unlock()
		if first {
			r.log.Warn("a command's name is empty, no text or too long, so what is counted of it cannot be told", "command", name[:min(len(name), 100)], "limit", governance.MaxSeriesName)
		}
	}
	return samples
}

func validName(s string) bool {
	return s != "" && len(s) <= governance.MaxSeriesName && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// trim drops what is too old or too much, the oldest first.
func (r *Reporter) trim(now time.Time) {
	oldest := now.Add(-tooOld).Unix()
	n, size := 0, r.bytes
	for ; n < len(r.samples); n++ {
		if len(r.samples)-n <= maxSamples && size <= maxBytes && r.samples[n].Second >= oldest {
			break
		}
		size -= sizeOf(&r.samples[n])
	}
	r.samples, r.bytes = slices.Delete(r.samples, 0, n), size
	if n > 0 {
		r.dropped[kindSamples] += int64(n)
	}
}

func sizeOf(s *governance.Sample) int { return 200 + len(s.Command) + len(s.Latency) }

// outgoing is a report on its way.
type outgoing struct {
	report governance.Report
	body   []byte
	begin  time.Time
}

// build returns the next report, or nil when there is nothing to tell.
func (r *Reporter) build(now time.Time) *outgoing {
	var applied governance.Applied
	if r.cfg.Applied != nil {
		applied = r.cfg.Applied()
	}
	var calls []governance.App
	if r.cfg.NewCalls != nil {
		calls = r.cfg.NewCalls()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	dropped := int64(0)
	for _, n := range r.dropped {
		dropped += n
	}
	if len(r.samples) == 0 && len(r.transitions) == 0 && len(calls) <= r.toldCalls && dropped == r.toldDropped &&
		sameApplied(applied, r.told) && now.Sub(r.toldAt) < idle {
		return nil
	}
	r.seq++
	n := min(len(r.samples), perReport)
	rep := governance.Report{
		Wire: governance.WireVersion, App: r.cfg.App, Instance: r.cfg.Instance, Name: r.cfg.Name,
		Calls: calls, Seq: r.seq, Boot: r.boot, Sent: now.UTC(),
		Samples: slices.Clone(r.samples[:n]), Transitions: r.transitions, Dropped: maps.Clone(r.dropped),
	}
	if applied.Hash != "" || applied.Refused != nil {
		rep.Applied = &applied
	}
	for i := range rep.Samples {
		r.bytes -= sizeOf(&rep.Samples[i])
	}
	r.samples = slices.Delete(r.samples, 0, n)
	r.transitions = nil
	if r.cfg.Offset != nil {
		shift(&rep, r.cfg.Offset())
	}
	return &outgoing{report: rep, begin: now}
}

// shift turns times of this machine into the control plane's. Clocks that are
// less than a second apart count as equal.
func shift(rep *governance.Report, offset time.Duration) {
	if offset.Abs() < time.Second {
		return
	}
	for i := range rep.Samples {
		rep.Samples[i].Second += int64(offset.Round(time.Second) / time.Second)
	}
	for i := range rep.Transitions {
		rep.Transitions[i].Time = rep.Transitions[i].Time.Add(offset)
	}
}

func sameApplied(a, b governance.Applied) bool {
	if a.Version != b.Version || a.Hash != b.Hash || (a.Refused == nil) != (b.Refused == nil) {
		return false
	}
	return a.Refused == nil || *a.Refused == *b.Refused
}

// tell sends one report until it is accepted, refused or too old. It returns
// false when ctx ended before.
func (r *Reporter) tell(ctx context.Context, out *outgoing) bool {
	if out.body == nil {
		body, err := encode(&out.report)
		if err != nil {
			r.giveUp(out, "a report that cannot be encoded was dropped", err)
			return true
		}
		out.body = body
	}
	for attempt := 0; ; attempt++ {
		answer, wait, err := r.post(ctx, out.body)
		if err == nil {
			r.accepted(out)
			if r.cfg.Answered != nil {
				r.cfg.Answered(answer)
			}
			return true
		}
		var refused *refusedError
		r.mu.Lock()
		first := r.stats.Problem == ""
		r.stats.Failures++
		r.stats.Problem = err.Error()
		r.mu.Unlock()
		switch {
		case errors.As(err, &refused):
			r.giveUp(out, r.once("the control plane refused a report, which was dropped; it is not logged again until one is accepted"), err)
			return true
		case ctx.Err() != nil:
			return false
		case first:
			r.log.Warn("reports cannot be delivered now; they are kept, as far as there is room, and sent again", "url", r.shown, "error", err)
		}
		if time.Since(out.begin) > tooOld {
			r.giveUp(out, "a report could not be delivered for minutes and was dropped", err)
			return true
		}
		if wait == 0 {
			wait = mathrand.N(min(time.Second<<min(attempt, 10), backoffMost))
		}
		if !r.pause(ctx, wait) {
			return false
		}
	}
}

// pause waits before the next attempt, unless something urgent comes up.
func (r *Reporter) pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-r.urgent:
		return pause.For(ctx, mathrand.N(ackJitter))
	}
}

func (r *Reporter) accepted(out *outgoing) {
	r.mu.Lock()
	back := r.stats.Problem != ""
	r.stats.Problem = ""
	r.stats.Sent++
	if out.report.Applied != nil {
		r.told = *out.report.Applied
		r.stats.Acknowledged = r.told.Version
	}
	r.refused = false
	r.toldCalls = max(r.toldCalls, len(out.report.Calls))
	r.toldDropped = 0
	for _, n := range out.report.Dropped {
		r.toldDropped += n
	}
	r.toldAt = time.Now()
	r.mu.Unlock()
	if back {
		r.log.Info("reports are delivered again", "url", r.shown)
	}
}

// once returns what to log of a refusal: nothing after the first in a row.
func (r *Reporter) once(message string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused {
		return ""
	}
	r.refused = true
	return message
}

// giveUp counts what a report held as dropped.
func (r *Reporter) giveUp(out *outgoing, message string, err error) {
	r.mu.Lock()
	if n := len(out.report.Samples); n > 0 {
		r.dropped[kindSamples] += int64(n)
	}
	if n := len(out.report.Transitions); n > 0 {
		r.dropped[kindTransitions] += int64(n)
	}
	// What is in force was not told either, but telling it again at once would
	// meet the same refusal; the idle report does.
	if out.report.Applied != nil {
		r.told = *out.report.Applied
	}
	r.toldCalls = max(r.toldCalls, len(out.report.Calls))
	r.toldDropped = 0
	for _, n := range r.dropped {
		r.toldDropped += n
	}
	r.toldAt = time.Now()
	r.mu.Unlock()
	if message != "" {
		//nolint:sloglint // each caller's message is constant
		r.log.Warn(message, "url", r.shown, "seq", out.report.Seq, "error", err)
	}
}

// Flush tells, after Run has returned, what is left, the second that has not
// ended included. When ctx ends first, the error says so.
func (r *Reporter) Flush(ctx context.Context) error {
	if r.own != nil {
		defer r.own.CloseIdleConnections()
	}
	r.collect(time.Now().Add(time.Second))
	out := r.left
	for {
		if out == nil {
			out = r.build(time.Now())
		}
		if out == nil {
			return nil
		}
		if !r.tell(ctx, out) {
			r.giveUp(out, "", nil)
			return fmt.Errorf("report: what happened last could not be delivered to %s: %w", r.shown, context.Cause(ctx))
		}
		out = nil
	}
}
