package api

// What tests of the package's outside look into.
var (
	ReadReport  = readReport
	MaxWire     = maxWire
	MaxInflated = maxInflated
)

// PutAwayExpired is what Run does every minute.
var PutAwayExpired = (*API).putAwayExpired
