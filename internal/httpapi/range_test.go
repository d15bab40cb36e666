package httpapi_test

import (
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/httpapi"
)

func TestRanges(t *testing.T) {
	now := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		from, to string
		want     string // empty for a refusal
	}{
		{"", "", "14:00:00 15:00:00"},
		{"-2h", "", "13:00:00 15:00:00"},
		{"-2h", "-1h30m", "13:00:00 13:30:00"},
		{"", "2026-11-20T12:00:00Z", "11:00:00 12:00:00"},
		{"2026-11-20T12:00:00+01:00", "1795176000", "11:00:00 12:00:00"},
		{"-1h", "-2h", ""},
		{"-1h", "-1h", ""},
		{"1h", "", ""}, // an hour from now
		{"yesterday", "", ""},
		{"", "-", ""},
	} {
		from, to, err := httpapi.Range{From: c.from, To: c.to}.Times(now)
		got := ""
		if err == nil {
			got = from.UTC().Format(time.TimeOnly) + " " + to.UTC().Format(time.TimeOnly)
		}
		if got != c.want {
			t.Errorf("%q to %q: got %q (%v), want %q", c.from, c.to, got, err, c.want)
		}
	}
}
