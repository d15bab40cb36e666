package api

import "context"

// What tests of the package's outside look into.
var (
	ReadReport  = readReport
	MaxWire     = maxWire
	MaxInflated = maxInflated
)

// PutAwayExpired is what Run does every minute.
var PutAwayExpired = (*API).putAwayExpired

// Bounds of one pod.
const (
	MaxOwnStreams = maxOwnStreams
	MaxOwnReports = maxOwnReports
)

// NewPlaces are those of reports under way.
func NewPlaces(most int) func(context.Context) (func(), error) { return newPlaces(most).enter }
