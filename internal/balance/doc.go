// Package balance chooses which instance of an application takes a call, for the
// gateway's upstreams and the SDK's HTTP client alike.
//
// A Pool is given whole snapshots of one application and keeps one Member for each
// address, with whatever connections its user has to it. A choice goes, by weight,
// to the less busy of two; an address that takes no connection is left alone for a
// while and comes back by a single call. What a snapshot holds back for worse days
// (Instance.Standby) is chosen while nothing else takes connections.
package balance
