package httpapi

import (
	"fmt"
	"strconv"
	"time"
)

// Range is a range of time in a query. Embed it in an input.
type Range struct {
	From string `query:"from" doc:"Begin: RFC 3339, Unix seconds, or before now, such as -1h. An hour before the end, if left out."`
	To   string `query:"to" doc:"End, not included, written as from; now, if left out."`
}

// Times returns the range as of now.
func (s Range) Times(now time.Time) (from, to time.Time, err error) {
	if to, err = readTime("query.to", s.To, now, now); err != nil {
		return from, to, err
	}
	if from, err = readTime("query.from", s.From, now, to.Add(-time.Hour)); err != nil {
		return from, to, err
	}
	if !from.Before(to) {
		err = BadRequest("query.from", fmt.Sprintf("%s is not before %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)))
	}
	return from, to, err
}

func readTime(field, text string, now, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 && n < 1<<40 {
		return time.Unix(n, 0), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d <= 0 {
		return now.Add(d), nil
	}
	return otherwise, BadRequest(field, fmt.Sprintf("%q is no time: write one such as 2026-11-20T15:00:00Z, or -1h for an hour ago", text))
}
