package api

import "context"

// What tests of the package's outside look into.
var (
	ReadReport  = readReport
	MaxWire     = maxWire
	MaxInflated = maxInflated
)

// Following reports whether the store is followed for those who watch, Followed how
// often that began.
func Following(a *API) bool { return a.live.now.Load() != nil }

// Followed is the other one.
func Followed(a *API) int64 { return a.live.follows.Load() }

// PutAwayExpired is what Run does every minute.
var PutAwayExpired = (*API).putAwayExpired

// Bounds of one pod.
const (
	MaxOwnStreams = maxOwnStreams
	MaxOwnReports = maxOwnReports
)

// NewPlaces are those of reports under way.
func NewPlaces(most int) func(context.Context) (func(), error) { return newPlaces(most).enter }
