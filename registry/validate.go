package registry

import (
	"fmt"
	"unicode"
)

// Limits on what may be written into a registry.
const (
	maxInterfaceName = 512
	maxRevision      = 256
	// MaxWeight is the largest Details.Weight.
	MaxWeight = 10000
)

// Validate reports, as an Error with code Invalid, an interface without a name,
// or one that holds what Dubbo takes for a separator.
func (i Interface) Validate() error {
	if i.Name == "" {
		return &Error{Code: Invalid, Message: "interface name is empty"}
	}
	for what, s := range map[string]string{"interface name": i.Name, "interface group": i.Group, "interface version": i.Version} {
		if len(s) > maxInterfaceName {
			return &Error{Code: Invalid, Message: fmt.Sprintf("%s is longer than %d bytes", what, maxInterfaceName)}
		}
		for _, r := range s {
			if unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar || r == '/' || r == ':' {
				return &Error{Code: Invalid, Message: fmt.Sprintf("%s %q holds %q", what, s, r)}
			}
		}
	}
	return nil
}

// ValidateRevision reports, as an Error with code Invalid, a revision that is
// empty, too long or holds spaces or control characters.
func ValidateRevision(revision string) error {
	if revision == "" {
		return &Error{Code: Invalid, Message: "revision is empty"}
	}
	if len(revision) > maxRevision {
		return &Error{Code: Invalid, Message: fmt.Sprintf("revision is longer than %d bytes", maxRevision)}
	}
	for _, r := range revision {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar {
			return &Error{Code: Invalid, Message: fmt.Sprintf("revision %q holds %q", revision, r)}
		}
	}
	return nil
}

// Validate reports, as an Error with code Invalid, what cannot be published:
// a bad application name, a weight out of range, an unknown state, or
// endpoints that cannot be read.
func (r Registration) Validate() error {
	if err := r.App.Validate(); err != nil {
		return err
	}
	if r.Details.Weight < 0 || r.Details.Weight > MaxWeight {
		return &Error{Code: Invalid, Message: fmt.Sprintf("weight %d of %s is not between 0 and %d", r.Details.Weight, r.App, MaxWeight)}
	}
	switch r.Details.State {
	case "", Up, Draining:
	default:
		return &Error{Code: Invalid, Message: fmt.Sprintf("state %q of %s is neither %q nor %q", r.Details.State, r.App, Up, Draining)}
	}
	if _, err := DubboEndpoints(r.Metadata); err != nil {
		return &Error{Code: Invalid, Message: "metadata of " + r.App.String(), Err: err}
	}
	return nil
}
