// Package governance holds the words of governing calls: what a policy and a
// switch are and where they hold, what instances report about their commands,
// and how both travel between a control plane and running services. It imports
// the standard library only and does no I/O of its own; governance/postgres,
// governance/memory, governance/api and the SDK do.
//
// Three rules run through every word here. A control plane sends whole policy
// sets, never differences, so a receiver that missed ten changes needs only the
// last. An instance enforces what it was told by itself, expiry included, so a
// control plane that is gone changes nothing. And what happened is counted where
// it happened: samples are additive, latency travels as mergeable sketches, and
// percentiles are merged, never averaged.
package governance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// App identifies an application, as registry.App does; written "namespace/name",
// in JSON too. The zero App stands for "any" or "unknown" where that is said.
type App struct { //nolint:recvcheck // texts are read into a pointer, and written from a value
	Namespace string
	Name      string
}

// String returns "namespace/name", and "" for the zero App.
func (a App) String() string {
	if a == (App{}) {
		return ""
	}
	return a.Namespace + "/" + a.Name
}

// Compare orders applications by namespace and name.
func (a App) Compare(b App) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// ParseApp reads "namespace/name". The error's code is Invalid.
func ParseApp(s string) (App, error) {
	ns, name, ok := strings.Cut(s, "/")
	if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
		return App{}, &Error{Code: Invalid, Message: fmt.Sprintf("%q is no application: write namespace/name, such as shop/inventory", s)}
	}
	return App{Namespace: ns, Name: name}, nil
}

// MarshalText writes "namespace/name".
func (a App) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *App) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = App{}
		return nil
	}
	app, err := ParseApp(string(text))
	if err == nil {
		*a = app
	}
	return err
}

// Duration is a time.Duration that JSON writes as Go does, such as "800ms".
type Duration time.Duration //nolint:recvcheck // the same

// String returns Go's spelling.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string such as "10s". Bare numbers are refused: nobody
// knows their unit.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return &Error{Code: Invalid, Message: fmt.Sprintf("%s is no duration: write a number with its unit, such as \"800ms\" or \"10s\"", data)}
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return &Error{Code: Invalid, Message: fmt.Sprintf("%q is no duration: write a number with its unit, such as \"800ms\" or \"10s\"", s)}
	}
	*d = Duration(v)
	return nil
}

// At is the side of a call on which something is enforced or counted.
type At string

// The two sides.
const (
	// Provider: in the instances of the application that serves the call.
	Provider At = "provider"
	// Caller: in the instances of the applications that make the call.
	Caller At = "caller"
)
