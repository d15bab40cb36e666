package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/run"
)

const (
	livePath = "/api/v1/live"
	// maxViews is how many applications one stream follows by the second.
	maxViews = 4
	// maxMissed is how many events a stream is told that comes back; one that was
	// away for more reads the list.
	maxMissed = 10_000
)

func (a *API) registerLive(h *httpapi.API) {
	schemas := h.Huma().OpenAPI().Components.Schemas
	events := &huma.Schema{Description: "The data of each event."}
	for _, t := range []reflect.Type{
		reflect.TypeFor[LiveHello](), reflect.TypeFor[LiveHealth](), reflect.TypeFor[LiveSamples](), reflect.TypeFor[governance.Event](), reflect.TypeFor[LiveChange](),
	} {
		events.OneOf = append(events.OneOf, schemas.Schema(t, true, ""))
	}
	text := &huma.Schema{Type: huma.TypeString}
	h.Handle("GET "+livePath, access.Viewer, http.HandlerFunc(a.watch), httpapi.Unattended(), httpapi.Documented(huma.Operation{
		OperationID: "watch-live", Tags: []string{"history"}, Summary: "Follow how everything is, as it happens",
		Description: "Server-sent events: hello, health, samples, event and change (docs/live.md).",
		Parameters: []*huma.Param{
			{Name: "app", In: "query", Description: "Applications to follow by the second, as namespace/name; at most 4.", Schema: &huma.Schema{Type: huma.TypeArray, Items: text}},
			{Name: "instance", In: "query", Description: "Only of this instance of theirs.", Schema: text},
			{Name: "after", In: "query", Description: "The last id that was read; for clients that cannot send Last-Event-ID.", Schema: text},
			{Name: "Last-Event-ID", In: "header", Description: "The last id that was read.", Schema: text},
		},
		Responses: map[string]*huma.Response{
			"200":     {Description: "The stream.", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: events}}},
			"default": {Description: "A problem."},
		},
	}))
}

// readWatch reads what a stream is asked to be, and which events its client has; nil
// for one that begins.
func readWatch(r *http.Request) (*watcher, *governance.Seen, error) {
	q := r.URL.Query()
	w := &watcher{principal: httpapi.Actor(r.Context()), namespaces: namespaces(r.Context()), frames: make(chan frame, maxFrames)}
	w.scope = strings.Join(w.namespaces, " ")
	for name := range q {
		if !slices.Contains([]string{"app", "instance", "after"}, name) {
			return nil, nil, httpapi.BadRequest("query."+name, "there is no such parameter: there are app, instance, after")
		}
	}
	for _, text := range q["app"] {
		app, err := governance.ParseApp(text)
		if err != nil {
			return nil, nil, httpapi.BadRequest("query.app", fmt.Sprintf("%q is no application: write namespace/name", text))
		}
		if err := access.Require(r.Context(), access.Viewer, app.Namespace); err != nil {
			return nil, nil, err
		}
		if k := (viewKey{app, q.Get("instance")}); !slices.Contains(w.views, k) {
			w.views = append(w.views, k)
		}
	}
	if len(w.views) > maxViews {
		return nil, nil, httpapi.BadRequest("query.app", fmt.Sprintf("there are more than %d", maxViews))
	}
	// The header is newer: a browser sends it when it comes back by itself.
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		if has, err := governance.ParseSeen(text); err == nil {
			return w, &has, nil
		}
	}
	if text := q.Get("after"); text != "" {
		has, err := governance.ParseSeen(text)
		if err != nil {
			return nil, nil, httpapi.BadRequest("query.after", "it is no id of this stream")
		}
		return w, &has, nil
	}
	return w, nil, nil
}

// watch serves one live stream.
func (a *API) watch(rw http.ResponseWriter, r *http.Request) {
	w, has, err := readWatch(r)
	if err == nil {
		err = a.admitWatcher(w)
	}
	if err != nil {
		a.http.WriteProblem(rw, r, err)
		return
	}
	defer a.live.leave(w)
	header := rw.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	rw.WriteHeader(http.StatusOK)
	s := &liveStream{api: a, watcher: w, has: has, out: &eventWriter{w: rw, ctl: http.NewResponseController(rw), timeout: a.cfg.WriteTimeout}}
	s.out.write(liveEvent("hello", LiveHello{Now: a.cfg.Now().UTC(), Version: a.cfg.Version, Every: governance.Duration(healthBeat * a.cfg.LiveTick)}))
	s.serve(r)
}

func (a *API) admitWatcher(w *watcher) error {
	select {
	case <-a.draining:
		return busy("this control plane is stopping: come again", comeWithin)
	default:
	}
	return a.live.join(w, a.cfg.MaxWatchers)
}

// liveStream is one client's end of it.
type liveStream struct {
	api     *API
	watcher *watcher
	out     *eventWriter
	// has are the events that the client has; nil until it is known where it begins.
	has     *governance.Seen
	resumed bool
	toldID  string
}

// serve writes until the client goes or is too slow, may no longer see it, the
// stream is old, or the server stops.
func (s *liveStream) serve(r *http.Request) {
	beat := time.NewTicker(s.api.cfg.Heartbeat)
	defer beat.Stop()
	ask := time.NewTicker(s.api.cfg.AskAgain)
	defer ask.Stop()
	age := time.NewTimer(jitter(s.api.cfg.MaxAge))
	defer age.Stop()
	began, _ := access.From(r.Context()) // Handle found one
	stop := run.Draining(r.Context())
	for s.out.err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-stop:
			s.out.goodbye()
			return
		case <-s.api.draining:
			s.out.goodbye()
			return
		case <-age.C:
			s.out.goodbye()
			return
		case <-ask.C:
			if !s.api.stillMay(r, began) {
				return
			}
		case <-beat.C:
			s.out.comment("still here")
		case f, ok := <-s.watcher.frames:
			if !ok {
				s.out.goodbye()
				return
			}
			s.write(r.Context(), f)
		}
	}
}

// stillMay reports whether who watches may still see what they saw when the stream
// began. Where nobody can say, they may.
func (a *API) stillMay(r *http.Request, began access.Principal) bool {
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	now, err := a.http.Again(r.WithContext(ctx))
	var denied *access.DeniedError
	if err != nil {
		return !errors.As(err, &denied)
	}
	return now.Role.Includes(access.Viewer) && slices.Equal(now.Namespaces, began.Namespaces)
}

func (s *liveStream) write(ctx context.Context, f frame) {
	if len(f.data) > 0 {
		s.out.write(f.data)
	}
	if f.begin && !s.resumed {
		s.resumed = true
		if s.has == nil {
			s.has = &governance.Seen{}
			*s.has = f.seen.Clone()
		} else {
			s.resume(ctx, *f.seen)
		}
	}
	for _, e := range f.events {
		s.event(e)
	}
	if f.seen != nil && s.out.err == nil {
		*s.has = s.has.Union(*f.seen)
		if id := s.has.String(); id != s.toldID {
			s.toldID = id
			s.out.write([]byte("id: " + id + "\n\n"))
		}
	}
}

// event tells of one unless the client has it.
func (s *liveStream) event(e liveFeed) {
	if s.out.err != nil || s.has.Has(e.id) {
		return
	}
	s.has.Add(e.id)
	if !s.watcher.sees(e.namespace) {
		return
	}
	s.toldID = s.has.String()
	s.out.write([]byte("id: "+s.toldID+"\nevent: event\ndata: "), e.data, []byte("\n\n"))
}

// resume tells of what happened while the client was away. The follower hands over
// all that is not in known.
func (s *liveStream) resume(ctx context.Context, known governance.Seen) {
	if s.has.High > known.High {
		// Another control plane was ahead of this one, or the store is another one.
		page, cancel := context.WithTimeout(ctx, storePatience)
		now, err := s.api.store.EventsNow(page)
		cancel()
		if err != nil {
			s.out.err = err
			return
		}
		if s.has.High > now.High {
			*s.has = known.Clone()
			s.out.write(liveEvent("change", LiveChange{Topics: []string{topicEvents}}))
			return
		}
	}
	if missed(s.has, &known) > maxMissed {
		s.passOver(known)
		return
	}
	for range maxMissed / eventPage {
		page, cancel := context.WithTimeout(ctx, storePatience)
		list, err := s.api.store.EventsAfter(page, *s.has, s.watcher.namespaces, eventPage)
		cancel()
		if err != nil {
			s.out.err = err // it comes back, and goes on from the same place
			return
		}
		for i := range list {
			feed, err := feedOf(&list[i])
			if err != nil {
				s.out.err = err
				return
			}
			s.event(feed)
		}
		if len(list) < eventPage {
			return
		}
	}
	s.passOver(known)
}

// missed is how many ids of those that are known a client has not seen, at most. It
// is told by the ids alone: those of one namespace may be few among many, and far
// apart in the store.
func missed(has, known *governance.Seen) int64 {
	n := known.High - has.High
	for _, m := range has.Missing {
		n += m.Last - m.First + 1
	}
	return n
}

// passOver leaves what was missed to the list.
func (s *liveStream) passOver(known governance.Seen) {
	*s.has = s.has.Union(known)
	s.out.write(liveEvent("change", LiveChange{Topics: []string{topicEvents}}))
}
