package governance

import "time"

// WireVersion is the version of the documents below. A control plane serves the
// two versions before its own.
const WireVersion = 1

// Where an instance reaches its control plane, below its address.
const (
	// StreamPath is a GET of server-sent events, one EventPolicies for each
	// change. Its query names the instance: "app" (namespace/name), "instance"
	// (the pod's UID, or a generated id), "name" (the pod's name, for people),
	// "calls" (namespace/name of an application it calls; repeated), "wire",
	// "sdk" ("go/0.1.0"), and its Last-Event-ID the last set that it has.
	// A comment line at least every HeartbeatInterval says that the stream lives.
	StreamPath = "/api/v1/stream"
	// ReportsPath takes a POST of a Report, gzip or plain, and answers a
	// ReportAnswer with 202.
	ReportsPath = "/api/v1/reports"
	// EventPolicies is the name of the event whose data is a PolicySet. Its id is
	// "version:hash".
	EventPolicies = "policies"
	// HeartbeatInterval is how often a silent stream is heard from.
	HeartbeatInterval = 15 * time.Second
)

// PolicySet is everything one instance has to enforce.
type PolicySet struct {
	Wire int `json:"wire"`
	// Version is the version of all policies of which this is the part of one
	// instance: no change up to it is missing. It never falls. Two sets of
	// different versions may be the same; the hash tells.
	Version int64 `json:"version"`
	// Hash is HashPolicies(Policies): two sets with one hash are the same.
	Hash string `json:"hash"`
	// Now is the control plane's clock, by which Expires is meant; an instance
	// whose clock differs corrects by the difference.
	Now      time.Time `json:"now"`
	Policies []Version `json:"policies"` // sorted by key
}

// Report is what an instance tells, about once a second while there is anything
// to tell and within milliseconds of a new policy set.
type Report struct {
	Wire     int    `json:"wire"`
	App      App    `json:"app"`
	Instance string `json:"instance"`
	Name     string `json:"name,omitempty"`
	// Calls are the applications it calls, when they became more since the
	// stream was opened.
	Calls []App `json:"calls,omitempty"`
	// Seq numbers the reports of one process, so that a repeated one counts once.
	Seq int64 `json:"seq"`
	// Boot tells one process of an instance from the next, whose Seq begins anew.
	Boot        string       `json:"boot"`
	Sent        time.Time    `json:"sent"`
	Applied     *Applied     `json:"applied,omitempty"`
	Samples     []Sample     `json:"samples,omitempty"`
	Transitions []Transition `json:"transitions,omitempty"`
	// Dropped counts, since the process began, what could not be told for lack
	// of room, by kind: "samples", "transitions".
	Dropped map[string]int64 `json:"dropped,omitempty"`
}

// Applied says which policy set an instance enforces. When it refused the newest
// one, Version and Hash are of the one it keeps, and Refused says why.
type Applied struct {
	Version int64    `json:"version" doc:"Of the set of policies that is enforced."`
	Hash    string   `json:"hash" doc:"Of that set."`
	Refused *Refusal `json:"refused,omitempty" doc:"A newer set that could not be taken."`
	// Unmet are policies of the set that are enforced in part, or not at all, since
	// what the instance runs on has no such thing. SDKs enforce all or refuse.
	Unmet []Unmet `json:"unmet,omitempty" doc:"Policies of the set that the instance cannot enforce in full."`
}

// Unmet is why an instance does not enforce a policy of its set in full.
type Unmet struct {
	Policy  string `json:"policy" doc:"The policy, as namespace/name."`
	Version int64  `json:"version" doc:"The version of the policy."`
	Reason  string `json:"reason" doc:"What of it is not enforced, and why."`
}

// Refusal is why an instance did not take a set.
type Refusal struct {
	Version int64  `json:"version" doc:"Of the set that is refused."`
	Hash    string `json:"hash" doc:"Of that set."`
	Policy  string `json:"policy,omitempty" doc:"The policy at fault, as namespace/name."` // the key of the one at fault
	Reason  string `json:"reason" doc:"Why it cannot be taken."`
}

// ReportAnswer tells what the instance should have, so that one whose stream
// went silent notices.
type ReportAnswer struct {
	Version int64  `json:"version"`
	Hash    string `json:"hash"`
}
