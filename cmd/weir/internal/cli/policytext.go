package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
)

func targetText(t governance.Target) string {
	s := t.App.String()
	if t.Command != "" {
		s += "/" + t.Command
	}
	if t.At == governance.Caller {
		s += " at caller"
		if len(t.From) > 0 {
			s += " " + joined(t.From)
		}
	}
	return s
}

func joined(apps []governance.App) string {
	names := make([]string, len(apps))
	for i, a := range apps {
		names[i] = a.String()
	}
	return strings.Join(names, ", ")
}

// rulesText says in a line what rules say.
func rulesText(r governance.Rules) string {
	var says []string
	if b := r.Breaker; b != nil {
		if b.Mode != "" {
			says = append(says, string(b.Mode))
		}
		if b.ErrorPercent != 0 {
			says = append(says, fmt.Sprintf("opens at %g %% errors", b.ErrorPercent))
		}
		if b.SlowPercent != 0 {
			says = append(says, fmt.Sprintf("opens at %g %% over %s", b.SlowPercent, b.SlowCall))
		}
		if len(says) == 0 {
			says = append(says, "breaker")
		}
	}
	if r.Timeout != 0 {
		says = append(says, "timeout "+r.Timeout.String())
	}
	if r.Bulkhead != nil {
		says = append(says, fmt.Sprintf("%d at once", r.Bulkhead.Concurrent))
	}
	if r.Fallback != nil {
		says = append(says, fallbackText(*r.Fallback))
	}
	return strings.Join(says, ", ")
}

func fallbackText(f governance.Fallback) string {
	switch {
	case f.Empty:
		return "answers empty"
	case f.Error != "":
		return "answers an error"
	case f.Cached != nil:
		return "answers the last good, " + f.Cached.MaxAge.String()
	}
	value := string(f.Value)
	if len(value) > 40 {
		value = value[:37] + "..."
	}
	return "answers " + value
}

func confirmedText(p api.PolicyAnswer) string {
	c := p.Confirmation
	switch {
	case p.Expired:
		return "expired"
	case c == nil:
		return "-"
	case c.Refused > 0:
		return fmt.Sprintf("%d of %d, %d refused", c.Confirmed, c.Live, c.Refused)
	}
	return fmt.Sprintf("%d of %d", c.Confirmed, c.Live)
}

func endText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return clockText(t)
}

// clockText is a time of day, with its date unless that is today.
func clockText(t time.Time) string {
	t = t.Local()
	if y, m, d := time.Now().Date(); t.Year() == y && t.Month() == m && t.Day() == d {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
