package api

import (
	"context"

	"github.com/weirmesh/weir/governance"
)

// What tests of the package's outside look into.
var (
	ReadReport  = readReport
	MaxWire     = maxWire
	MaxInflated = maxInflated
)

// Published is the version up to which streams are told.
func Published(a *API) int64 { return a.hub.at() }

// Following reports whether the store is followed for those who watch, Followed how
// often that began.
func Following(a *API) bool { return a.live.now.Load() != nil }

// Followed is the other one.
func Followed(a *API) int64 { return a.live.follows.Load() }

// Watching is how many streams there are.
func Watching(a *API) int { return len(a.live.all()) }

// BehindOf is how many of the instances the health of their application counts as
// behind.
func BehindOf(a *API, app governance.App, all ...governance.Instance) int {
	return a.standings(all)[app].behind
}

// PutAwayExpired is what Run does every minute.
var PutAwayExpired = (*API).putAwayExpired

// Bounds of one pod.
const (
	MaxOwnStreams = maxOwnStreams
	MaxOwnReports = maxOwnReports
	// MaxOwnWatchers is of one principal.
	MaxOwnWatchers = maxOwnWatchers
)

// NewPlaces are those of reports under way.
func NewPlaces(most int) func(context.Context) (func(), error) { return newPlaces(most).enter }

// NewFollower returns what follows a store for one who watches some applications: a
// function that reads what is new, and tells it.
func NewFollower(store governance.Store, apps ...governance.App) func(context.Context) error {
	a := New(Config{Store: store})
	f := newFollowing(a.live)
	w := &watcher{frames: make(chan frame, maxFrames)}
	for _, app := range apps {
		w.views = append(w.views, viewKey{app: app})
	}
	if err := a.live.join(w, 1); err != nil {
		panic(err)
	}
	beat := 0
	return func(ctx context.Context) error {
		f.members()
		beat += reportBeat
		err := f.step(ctx, true, beat)
		for len(w.frames) > 0 {
			<-w.frames
		}
		return err
	}
}
