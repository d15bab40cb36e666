package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// CheckWrites returns what is wrong with a call of Store.Apply before any state
// is looked at, joined Errors of code Invalid. Where there is more than one
// write, fields begin with the write's place, "[2].match.path".
func CheckWrites(writes []Write, c Change) error {
	var v validation
	v.add("", c.Validate())
	if len(writes) > MaxWrites {
		v.bad("", "%d routes are too many for one change: write at most %d", len(writes), MaxWrites)
		return v.err()
	}
	seen := make(map[Key]bool, len(writes))
	for i, w := range writes {
		field := ""
		if len(writes) > 1 {
			field = fmt.Sprintf("[%d]", i)
		}
		switch {
		case !w.Delete:
			v.add(field, w.Route.Validate())
		case w.Route.Namespace == "" || w.Route.Name == "":
			v.bad(field, "a deletion names no route")
		}
		if w.Expect < AnyRevision {
			v.bad(field, "%d is no revision", w.Expect)
		}
		if seen[w.Route.Key()] {
			v.bad(field, "route %s is written twice in one change", w.Route.Key())
		}
		seen[w.Route.Key()] = true
	}
	return v.err()
}

// add takes over the problems of a part.
func (v *validation) add(field string, err error) {
	for _, p := range Problems(err) {
		e := *p
		switch {
		case e.Field == "":
			e.Field = field
		case field != "":
			e.Field = field + "." + e.Field
		}
		v.errs = append(v.errs, &e)
	}
}

// Pending returns the writes that change something, given the newest version of
// each route that has one, tombstones included. Its errors, one for each write
// whose expectation does not hold, are Conflict and NotFound.
func Pending(writes []Write, current func(Key) (Version, bool)) ([]Write, error) {
	var pending []Write
	var errs []error
	for _, w := range writes {
		key := w.Route.Key()
		have, lives := current(key)
		lives = lives && !have.Deleted
		if err := w.expected(have, lives); err != nil {
			errs = append(errs, err)
			continue
		}
		if !w.Delete && lives && have.Unreadable == "" && Equal(have.Route, w.Route) {
			continue
		}
		pending = append(pending, w)
	}
	return pending, errors.Join(errs...)
}

func (w Write) expected(have Version, lives bool) error {
	key := w.Route.Key()
	const again = "read it again, and write with the revision that it has"
	switch {
	case !lives && w.Delete:
		return &Error{Code: NotFound, Message: fmt.Sprintf("there is no route %s", key)}
	case !lives && w.Expect > 0:
		return &Error{Code: Conflict, Message: fmt.Sprintf("route %s is not there any more; it was expected at revision %d", key, w.Expect), Fix: again}
	case lives && w.Expect == 0:
		return &Error{Code: Conflict, Message: fmt.Sprintf("route %s exists already, at revision %d", key, have.Revision), Fix: again}
	case lives && w.Expect > 0 && w.Expect != have.Revision:
		return &Error{
			Code:    Conflict,
			Message: fmt.Sprintf("route %s is at revision %d, not at %d: somebody changed it (%s: %s)", key, have.Revision, w.Expect, have.Actor, have.Reason),
			Fix:     again,
		}
	}
	return nil
}

// Equal reports whether two routes are the same document.
func Equal(a, b Route) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// AllServe reports whether every one of the nodes serves at least rev.
func AllServe(nodes []Node, rev Revision) bool {
	return !slices.ContainsFunc(nodes, func(n Node) bool { return n.Revision < rev })
}
