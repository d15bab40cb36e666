package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/run"
)

// oldestWire is the oldest version of the documents that is still served.
const oldestWire = max(1, governance.WireVersion-2)

// Limits of what an instance says of itself.
const (
	maxCalls = governance.MaxCalls
	maxID    = 253
	// maxOwnStreams is how many streams one instance may hold. It needs one, and
	// for a moment another; many would take the places of all others.
	maxOwnStreams = 16
)

func (a *API) registerInstances(h *httpapi.API) {
	h.HandleInstance("GET "+governance.StreamPath, http.HandlerFunc(a.stream), httpapi.Documented(huma.Operation{
		OperationID: "stream-policies", Tags: []string{"instances"}, Summary: "Follow the policies that an instance has to enforce",
		Description: "Server-sent events named \"policies\", each the whole set, the first at once unless Last-Event-ID says that it is there already. " +
			"The query holds app, instance, name, calls (repeated), wire and sdk.",
	}))
	h.HandleInstance("POST "+governance.ReportsPath, http.HandlerFunc(a.report), httpapi.Body(-1), httpapi.Documented(huma.Operation{
		OperationID: "report", Tags: []string{"instances"}, Summary: "Tell what an instance enforces, and what happened in it",
		Description: "Takes a report as JSON, plain or with Content-Encoding: gzip, and answers 202 with the policy set the instance should have, " +
			"once the report is durable. A repeated report, by instance, boot and seq, counts once.",
	}))
}

// says what an instance may not be called.
func checkText(field, s string, most int, required bool) error {
	switch {
	case s == "" && required:
		return httpapi.BadRequest(field, "it is missing")
	case len(s) > most:
		return httpapi.BadRequest(field, fmt.Sprintf("it is longer than %d bytes", most))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return httpapi.BadRequest(field, "it holds control characters, or is no UTF-8")
	}
	return nil
}

func checkApp(field string, app governance.App) error {
	if app == (governance.App{}) {
		return httpapi.BadRequest(field, "it is missing: write namespace/name")
	}
	for _, part := range []string{app.Namespace, app.Name} {
		if err := checkText(field, part, governance.MaxNameLength, true); err != nil {
			return err
		}
		if strings.ContainsAny(part, " /") {
			return httpapi.BadRequest(field, "it is no namespace/name")
		}
	}
	return nil
}

func checkWire(field string, wire int) error {
	if wire < oldestWire {
		return httpapi.BadRequest(field, fmt.Sprintf("this control plane speaks versions %d to %d, and the instance %d: update its SDK", oldestWire, governance.WireVersion, wire))
	}
	return nil
}

// requireInstance holds who asks against who is spoken of.
func requireInstance(ctx context.Context, app governance.App, instance string) error {
	if err := access.RequireInstance(ctx, app.Namespace); err != nil {
		return err
	}
	p, _ := access.From(ctx) // RequireInstance found one
	if p.Instance != nil && p.Instance.PodUID != "" && p.Instance.PodUID != instance {
		return &access.DeniedError{Message: fmt.Sprintf(
			"the token belongs to pod %s with UID %s, and the request speaks for instance %s: set POD_UID in the pod to metadata.uid (the downward API), or leave it out",
			p.Instance.PodName, p.Instance.PodUID, instance)}
	}
	return nil
}

func readHello(r *http.Request) (governance.Instance, error) {
	q := r.URL.Query()
	i := governance.Instance{ID: q.Get("instance"), Name: q.Get("name"), SDK: q.Get("sdk")}
	app, err := governance.ParseApp(q.Get("app"))
	if err != nil {
		return i, httpapi.BadRequest("query.app", "it is no application: write namespace/name, such as shop/inventory")
	}
	i.App = app
	if len(q["calls"]) > maxCalls {
		return i, httpapi.BadRequest("query.calls", fmt.Sprintf("there are more than %d", maxCalls))
	}
	for _, c := range q["calls"] {
		called, err := governance.ParseApp(c)
		if err == nil {
			err = checkApp("query.calls", called)
		}
		if err != nil {
			return i, httpapi.BadRequest("query.calls", fmt.Sprintf("%q is no application: write namespace/name", c))
		}
		i.Calls = append(i.Calls, called)
	}
	wire := 1
	if text := q.Get("wire"); text != "" {
		if wire, err = strconv.Atoi(text); err != nil {
			return i, httpapi.BadRequest("query.wire", "it is no number")
		}
	}
	if version, hash, ok := strings.Cut(r.Header.Get("Last-Event-ID"), ":"); ok && len(hash) <= maxID {
		if n, err := strconv.ParseInt(version, 10, 64); err == nil && n >= 0 {
			i.Applied = &governance.Applied{Version: n, Hash: hash}
		}
	}
	for _, err := range []error{
		checkApp("query.app", i.App), checkText("query.instance", i.ID, maxID, true), checkText("query.name", i.Name, maxID, false),
		checkText("query.sdk", i.SDK, maxID, false), checkWire("query.wire", wire),
	} {
		if err != nil {
			return i, err
		}
	}
	return i, nil
}

// busy answers that there is no place now, and when to come again: not everybody
// at once.
func busy(detail string, within time.Duration) error {
	seconds := 1 + rand.Int64N(max(1, int64(within/time.Second)))
	return httpapi.NewProblem(http.StatusServiceUnavailable, detail).WithHeader("Retry-After", strconv.FormatInt(seconds, 10))
}

func (a *API) stream(w http.ResponseWriter, r *http.Request) {
	hello, err := readHello(r)
	if err == nil {
		err = requireInstance(r.Context(), hello.App, hello.ID)
	}
	if err != nil {
		a.http.WriteProblem(w, r, err)
		return
	}
	select {
	case <-a.draining:
		a.http.WriteProblem(w, r, busy("this control plane is stopping: come again, another one answers", 3*time.Second))
		return
	default:
	}
	sub, full := a.hub.subscribe(hello.App, hello.Calls, a.cfg.MaxStreams)
	if sub == nil {
		a.metrics.turnedAway.Inc()
		if full {
			err = busy(fmt.Sprintf("this control plane holds %d streams, as many as it may: come again, or add one", a.cfg.MaxStreams), 10*time.Second)
		} else {
			err = busy("this control plane has not read the policies yet: come again", 3*time.Second)
		}
		a.http.WriteProblem(w, r, err)
		return
	}
	defer a.hub.unsubscribe(sub)
	member, ok := a.fleet.opened(hello, sub)
	if !ok {
		a.metrics.turnedAway.Inc()
		a.http.WriteProblem(w, r, httpapi.NewProblem(http.StatusTooManyRequests, fmt.Sprintf(
			"instance %s holds %d streams already, as many as it may: it needs one; close the others first", hello.ID, maxOwnStreams)).WithHeader("Retry-After", "5"))
		return
	}
	defer a.fleet.closed(member, sub)
	has := ""
	if hello.Applied != nil {
		has = hello.Applied.Hash
	}
	a.serve(w, r, sub, has)
}

// serve writes until the client goes, the stream is old, or the server stops. has
// is the hash of what the client has already.
func (a *API) serve(w http.ResponseWriter, r *http.Request, sub *subscriber, has string) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	out := &eventWriter{w: w, ctl: http.NewResponseController(w), timeout: a.cfg.WriteTimeout}

	if m, version := a.hub.current(sub); m.hash != has {
		out.policies(m, version, a.cfg.Now())
		a.metrics.sent.Inc()
		has = m.hash
	} else {
		out.comment("you have the newest")
	}
	beat := time.NewTimer(a.beat())
	defer beat.Stop()
	age := time.NewTimer(jitter(a.cfg.MaxAge))
	defer age.Stop()
	stop, draining := run.Draining(r.Context()), (<-chan struct{})(a.draining)
	for out.err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-age.C:
			out.goodbye()
			return
		case <-stop:
			// Everybody at once would come down on the others together.
			stop, draining = nil, nil
			age.Reset(rand.N(a.cfg.DrainOver) + 1)
		case <-draining:
			stop, draining = nil, nil
			age.Reset(rand.N(a.cfg.DrainOver) + 1)
		case <-sub.wake:
			m, version := a.hub.current(sub)
			if m.hash == has {
				continue
			}
			out.policies(m, version, a.cfg.Now())
			a.metrics.sent.Inc()
			has = m.hash
			beat.Reset(a.beat())
		case <-beat.C:
			out.comment("still here")
			beat.Reset(a.beat())
		}
	}
}

// beat is a little less than the heartbeat that is promised.
func (a *API) beat() time.Duration {
	return a.cfg.Heartbeat*9/10 - rand.N(a.cfg.Heartbeat/10+1)
}

// eventWriter writes server-sent events, each whole and flushed. After the first
// error it does nothing.
type eventWriter struct {
	w       http.ResponseWriter
	ctl     *http.ResponseController
	timeout time.Duration
	err     error
}

func (e *eventWriter) write(parts ...[]byte) {
	if e.err != nil {
		return
	}
	// A client that does not read is let go, rather than held with all that waits.
	if err := e.ctl.SetWriteDeadline(time.Now().Add(e.timeout)); err != nil {
		e.err = err
		return
	}
	for _, p := range parts {
		if _, e.err = e.w.Write(p); e.err != nil {
			return
		}
	}
	if e.err = e.ctl.Flush(); e.err == nil {
		e.err = e.ctl.SetWriteDeadline(time.Time{})
	}
}

func (e *eventWriter) comment(text string) { e.write([]byte(": " + text + "\n\n")) }

// comeWithin is over how long clients come again that were let go together.
const comeWithin = 3 * time.Second

// goodbye asks the client to come again at a moment of its own.
func (e *eventWriter) goodbye() {
	e.write(fmt.Appendf(nil, "retry: %d\n: come again\n\n", rand.N(comeWithin).Milliseconds()+1))
}

// policies writes a set: the shared part between what is of this moment.
func (e *eventWriter) policies(m *message, version int64, now time.Time) {
	head := fmt.Appendf(make([]byte, 0, 256), "event: %s\nid: %d:%s\ndata: {\"wire\":%d,\"version\":%d,\"hash\":%q,\"now\":%q,\"policies\":",
		governance.EventPolicies, version, m.hash, governance.WireVersion, version, m.hash, now.UTC().Format(time.RFC3339Nano))
	e.write(head, m.body, []byte("}\n\n"))
}
