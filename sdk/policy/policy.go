// Package policy keeps one instance's policies the same as its control plane's:
// a stream of server-sent events brings the whole set whenever it changes, the
// set is checked and applied as one, and the last good one lies in a file that is
// applied before the first dial. Nothing here ever waits for the control plane,
// and a control plane that is gone changes nothing: what was applied stays,
// expiries included.
//
// It imports the standard library only.
package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
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

const (
	// MaxMessage bounds one policy set on the wire.
	MaxMessage = 16 << 20

	// silence is how long a stream may be silent before it counts as dead.
	silence = governance.HeartbeatInterval * 5 / 2
	// backoffMost bounds the wait between two attempts, slowRetry is the wait
	// after an answer that only people can mend.
	backoffMost = 30 * time.Second
	slowRetry   = 30 * time.Second
	// A stream that lived this long was a good one: the next attempt is the first.
	goodStream = 30 * time.Second
	// A control plane that says, in answers to reports, that this instance should
	// have another set than the stream brought is given this long before the
	// stream is opened anew, and no stream is ended more often than that.
	wantedGrace  = 3 * time.Second
	wantedPeriod = 30 * time.Second
	// A set older than the enforced one is a replica's that lags, unless it is
	// still the newest after this long: then the control plane's store went back.
	olderGrace = 2 * time.Minute
	// maxCalls is how many applications may be declared as called; a control plane
	// takes no more.
	maxCalls = 500
	// Clocks closer than this count as equal.
	sameClock = 250 * time.Millisecond
)

// Config says whose policies a Client keeps, and where they come from.
type Config struct {
	URL      string // of the control plane, such as http://control.weir-system.svc:9000
	App      governance.App
	Instance string
	Name     string           // the instance's, for people
	Calls    []governance.App // applications it is known to call; AddCalls adds others
	SDK      string           // the version of the SDK, such as "go/0.1.0"

	// Apply puts a whole set in force, or none of it. offset is how far the
	// control plane's clock, by which policies expire, is ahead of this
	// machine's. Calls never overlap.
	Apply func(policies []governance.Version, offset time.Duration) error
	// Changed, if set, is called after every set that was applied or refused. It
	// must not block.
	Changed func()

	// Token returns what to send as Authorization: Bearer; it is asked before
	// every attempt, since tokens of pods are rotated. Empty sends none.
	Token func() (string, error)
	// Transport makes connections; it must not bound the time of a request. Nil
	// stands for one of the client's own, which uses no proxy.
	Transport http.RoundTripper
	// StateDir is where the last good set is kept; empty keeps none.
	StateDir string
	Logger   *slog.Logger
}

// Client keeps the stream. Its methods are safe for concurrent use.
type Client struct {
	cfg  Config
	log  *slog.Logger
	base *url.URL
	http *http.Client
	own  *http.Transport // what Close has to tidy up; nil for the caller's

	saveFailed bool // by run's goroutine

	mu     sync.Mutex
	calls  []governance.App
	opened []governance.App // the calls that the open stream was told of
	status Status
	offset time.Duration
	cancel context.CancelCauseFunc // of the open stream
	// When a report's answer first wanted another set, and which; when the stream
	// was last ended for that; when an older set was first seen.
	wantedSince, wantedEnded, olderSince time.Time
	wanted                               string
}

// Source is where the set in force came from.
type Source string

// The sources.
const (
	FromNowhere Source = ""
	FromFile    Source = "file"
	FromStream  Source = "stream"
)

// Status tells how the client stands.
type Status struct {
	// Applied is what is enforced, with why a newer set was refused.
	Applied governance.Applied
	Source  Source
	// Since is when the set came into force here.
	Since time.Time
	// Offset is how far the control plane's clock is ahead.
	Offset time.Duration
	// Connected tells that a stream is open, Heard when it last gave a sign of
	// life.
	Connected bool
	Heard     time.Time
	// Connects counts streams that were opened, Failures attempts that failed and
	// streams that broke, Sets what was applied from the stream.
	Connects, Failures, Sets, Refusals int64
	// Problem says why there is no stream; empty while there is one.
	Problem string
}

// New returns a client, which does nothing until Load and Run.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("policy: %q is no control plane's address: write it as http://host:9000", cfg.URL)
	}
	if cfg.App.Namespace == "" || cfg.App.Name == "" || cfg.Instance == "" || cfg.Apply == nil {
		return nil, errors.New("policy: App, Instance and Apply are required")
	}
	c := &Client{cfg: cfg, base: base, log: cfg.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	transport := cfg.Transport
	if transport == nil {
		c.own = &http.Transport{TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1}
		transport = c.own
	}
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, app := range cfg.Calls {
		c.AddCalls(app)
	}
	return c, nil
}

// Load applies the last good set from its file, if there is one. It is called
// once, before Run, and before the service takes traffic.
func (c *Client) Load() {
	if c.cfg.StateDir == "" {
		return
	}
	name := fileName(c.cfg.StateDir, c.cfg.App)
	s, err := readFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err == nil && s.App != c.cfg.App:
		err = fmt.Errorf("it is of %s", s.App)
	case err == nil:
		_, err = check(s.Set)
	}
	if err == nil {
		err = c.cfg.Apply(s.Set.Policies, time.Duration(s.Offset))
	}
	if err != nil {
		c.log.Warn("the file of last known policies is ignored", "file", name, "error", err)
		return
	}
	c.log.Info("last known policies are in force until the control plane is heard", "file", name, "version", s.Set.Version, "policies", len(s.Set.Policies), "saved", s.Saved)
	c.mu.Lock()
	c.status.Applied = governance.Applied{Version: s.Set.Version, Hash: s.Set.Hash}
	c.status.Source, c.status.Since, c.offset = FromFile, time.Now(), time.Duration(s.Offset)
	c.mu.Unlock()
	c.changed()
}

// Status returns how the client stands.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Offset = c.offset
	if r := s.Applied.Refused; r != nil {
		copied := *r
		s.Applied.Refused = &copied
	}
	return s
}

// AddCalls declares that this instance calls another application. The next
// report tells the control plane. An App that can be none is left out.
func (c *Client) AddCalls(app governance.App) {
	if !validApp(app) {
		return
	}
	c.mu.Lock()
	known := slices.Contains(c.calls, app) || len(c.calls) >= maxCalls
	if !known {
		c.calls = append(c.calls, app)
		slices.SortFunc(c.calls, governance.App.Compare)
	}
	c.mu.Unlock()
	if !known {
		c.changed()
	}
}

// validApp leaves out what a control plane would refuse, and the stream with it.
func validApp(app governance.App) bool {
	for _, part := range []string{app.Namespace, app.Name} {
		if part == "" || len(part) > governance.MaxNameLength || !utf8.ValidString(part) ||
			strings.ContainsFunc(part, func(c rune) bool { return c <= ' ' || c == '/' || c == 0x7f }) {
			return false
		}
	}
	return true
}

// NewCalls returns all applications that this instance calls when the control
// plane was not told of some of them as the stream was opened, else nil.
func (c *Client) NewCalls() []governance.App {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) == len(c.opened) { // they only become more
		return nil
	}
	return slices.Clone(c.calls)
}

func (c *Client) changed() {
	if c.cfg.Changed != nil {
		c.cfg.Changed()
	}
}

// Wanted takes the answer to a report. When it goes on to want another set than
// the one that the stream brought, the stream is opened anew.
func (c *Client) Wanted(a governance.ReportAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have, now := c.status.Applied, time.Now()
	refused := have.Refused != nil && have.Refused.Hash == a.Hash
	if !c.olderSince.IsZero() && now.Sub(c.olderSince) >= olderGrace {
		refused = false // it was too old, and would now be taken
	}
	if a.Hash == "" || a.Hash == have.Hash || refused || !c.status.Connected {
		c.wanted = ""
		return
	}
	if c.wanted != a.Hash {
		c.wanted, c.wantedSince = a.Hash, now
	}
	if now.Sub(c.wantedSince) < wantedGrace || now.Sub(c.wantedEnded) < wantedPeriod || c.cancel == nil {
		return
	}
	c.wantedEnded = now
	c.cancel(fmt.Errorf("the control plane wants version %d, which the stream did not bring", a.Version))
}

// Run keeps the stream until ctx ends.
func (c *Client) Run(ctx context.Context) {
	if c.own != nil {
		defer c.own.CloseIdleConnections()
	}
	logged := "" // the kind of problem that was logged last
	for attempt := 0; ctx.Err() == nil; attempt++ {
		begin := time.Now()
		err := c.stream(ctx)
		if ctx.Err() != nil {
			break
		}
		var answer *answerError
		if !errors.As(err, &answer) {
			answer = &answerError{}
		}
		c.mu.Lock()
		opened := c.status.Connected
		c.status.Connected, c.status.Problem = false, err.Error()
		c.status.Failures++
		c.mu.Unlock()
		if opened {
			logged = "" // it worked in between
			if time.Since(begin) >= goodStream {
				attempt = 0
			}
		}
		if kind := cmp.Or(answer.kind, "lost"); kind != logged {
			logged = kind
			c.log.Warn("no stream of policies; what was applied stays in force, and it is tried again", "url", c.base.Redacted(), "error", err)
		}
		if !pause.For(ctx, delay(attempt, answer)) {
			break
		}
	}
	c.mu.Lock()
	c.status.Connected = false
	c.mu.Unlock()
}

// stream opens one stream and follows it to its end; the error says why it ended.
func (c *Client) stream(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing was heard for %s", silence)) })
	defer watchdog.Stop()

	resp, err := c.open(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && parent.Err() == nil {
			return cause
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	c.mu.Lock()
	c.cancel = cancel
	c.status.Connected, c.status.Problem = true, ""
	c.status.Connects++
	c.status.Heard = time.Now()
	c.mu.Unlock()
	c.log.Info("stream of policies opened", "url", c.base.Redacted())

	d := newDecoder(&heard{r: resp.Body, note: func() {
		watchdog.Reset(silence)
		c.mu.Lock()
		c.status.Heard = time.Now()
		c.mu.Unlock()
	}}, MaxMessage)
	for {
		ev, err := d.next()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			if errors.Is(err, io.EOF) {
				return &answerError{kind: "ended", wait: d.ev.wait, text: "the control plane ended the stream"}
			}
			if errors.Is(err, errTooLarge) {
				return &answerError{kind: "large", slow: true, text: err.Error()}
			}
			return err
		}
		if ev.name == governance.EventPolicies {
			c.take(ev.data)
		}
	}
}

// heard calls note whenever something was read.
type heard struct {
	r    io.Reader
	note func()
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.note()
	}
	return n, err
}

func (c *Client) open(ctx context.Context) (*http.Response, error) {
	c.mu.Lock()
	calls := slices.Clone(c.calls)
	have := c.status.Applied
	c.mu.Unlock()
	q := url.Values{
		"app":      {c.cfg.App.String()},
		"instance": {c.cfg.Instance},
		"wire":     {fmt.Sprint(governance.WireVersion)},
	}
	if c.cfg.Name != "" {
		q.Set("name", c.cfg.Name)
	}
	if c.cfg.SDK != "" {
		q.Set("sdk", c.cfg.SDK)
	}
	for _, app := range calls {
		q.Add("calls", app.String())
	}
	u := c.base.JoinPath(governance.StreamPath)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "identity") // what is compressed is held back
	req.Header.Set("Cache-Control", "no-store")
	req.Header.Set("B3", "0")
	if have.Hash != "" {
		req.Header.Set("Last-Event-ID", fmt.Sprintf("%d:%s", have.Version, have.Hash))
	}
	if c.cfg.Token != nil {
		token, err := c.cfg.Token()
		if err != nil {
			return nil, fmt.Errorf("read the token of this instance: %w", err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	c.mu.Lock()
	c.opened = calls
	c.mu.Unlock()
	return resp, nil
}

// take handles one policy set from the stream.
func (c *Client) take(data []byte) {
	var set governance.PolicySet
	if err := json.Unmarshal(data, &set); err != nil {
		c.refuse(governance.Refusal{Reason: fmt.Sprintf("the set cannot be read: %v", err)})
		return
	}
	now := time.Now()
	offset := set.Now.Sub(now).Round(time.Millisecond)
	if set.Now.IsZero() || offset.Abs() < sameClock {
		offset = 0
	}
	if why := c.tooOld(set, now); why != "" {
		c.refuse(governance.Refusal{Version: set.Version, Hash: set.Hash, Reason: why})
		return
	}
	c.mu.Lock()
	same := set.Hash != "" && c.status.Applied.Hash == set.Hash && (c.offset-offset).Abs() < time.Second
	c.mu.Unlock()
	if !same {
		key, err := check(set)
		if err == nil {
			err = c.cfg.Apply(set.Policies, offset)
		}
		if err != nil {
			c.refuse(governance.Refusal{Version: set.Version, Hash: set.Hash, Policy: key, Reason: err.Error()})
			return
		}
	} else {
		offset = c.Status().Offset
	}
	c.mu.Lock()
	c.status.Applied = governance.Applied{Version: set.Version, Hash: set.Hash}
	c.status.Source = FromStream
	if !same {
		c.status.Since = now
	}
	c.status.Sets++
	c.offset, c.olderSince, c.wanted = offset, time.Time{}, ""
	c.mu.Unlock()
	c.changed()
	if !same {
		c.log.Info("policies applied", "version", set.Version, "policies", len(set.Policies))
	}
	c.save(set, offset)
}

// tooOld says why a set is not taken that is older than the one in force, and
// nothing for one that may be.
func (c *Client) tooOld(set governance.PolicySet, now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.status.Applied.Version
	if set.Version >= have {
		c.olderSince = time.Time{}
		return ""
	}
	if c.olderSince.IsZero() {
		c.olderSince = now
	}
	if now.Sub(c.olderSince) >= olderGrace {
		return "" // not a replica that lags: the store itself went back
	}
	return fmt.Sprintf("version %d is older than %d, which is in force; it will be taken if it is still the newest in %s", set.Version, have, olderGrace)
}

func (c *Client) refuse(r governance.Refusal) {
	c.mu.Lock()
	old := c.status.Applied.Refused
	c.status.Applied.Refused = &r
	c.status.Refusals++
	version := c.status.Applied.Version
	c.mu.Unlock()
	if old == nil || *old != r {
		c.log.Error("policies refused; those in force stay", "version", r.Version, "kept", version, "policy", r.Policy, "reason", r.Reason)
	}
	c.changed()
}

func (c *Client) save(set governance.PolicySet, offset time.Duration) {
	if c.cfg.StateDir == "" {
		return
	}
	name := fileName(c.cfg.StateDir, c.cfg.App)
	err := writeFile(name, saved{App: c.cfg.App, Saved: time.Now().UTC(), Offset: governance.Duration(offset), Set: set})
	if err != nil && !c.saveFailed {
		c.log.Warn("the last known policies cannot be kept in a file, so a start without the control plane will have none; set WEIR_STATE_DIR to a directory that can be written", "file", name, "error", err)
	}
	c.saveFailed = err != nil
}

// check looks at a whole set before any of it is applied, and names the policy at
// fault.
func check(set governance.PolicySet) (policy string, err error) {
	if set.Wire < 1 || set.Hash == "" { // which would else stand for "no policies"
		return "", errors.New("it is no set of policies: its wire or hash is missing")
	}
	if set.Wire > governance.WireVersion {
		return "", fmt.Errorf("the control plane speaks version %d and this SDK %d: update the SDK", set.Wire, governance.WireVersion)
	}
	for i := range set.Policies {
		p := set.Policies[i].Policy.WithDefaults()
		if err := p.Validate(); err != nil {
			return p.Key().String(), err
		}
	}
	return "", nil
}
