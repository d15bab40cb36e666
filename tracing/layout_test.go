package tracing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// timed reads spans written as "id parent kind service time duration flags…", "-"
// for none. A service is a host of its own, by its name; "a/b" is service a on the
// host b, and "a/" one of which no address is known. Flags are shared, error, or a
// tag as key=value.
func timed(t testing.TB, lines ...string) []tracing.Span {
	t.Helper()
	var out []tracing.Span
	for _, line := range lines {
		f := strings.Fields(line)
		for i := range f {
			if f[i] == "-" {
				f[i] = ""
			}
		}
		s := tracing.Span{TraceID: tracing.TraceID{Low: 1}}
		fmt.Sscanf(f[0], "%x", &s.ID)
		fmt.Sscanf(f[1], "%x", &s.ParentID)
		s.Kind, _ = tracing.ParseKind(strings.ToUpper(f[2]))
		service, host, apart := strings.Cut(f[3], "/")
		if !apart {
			host = service
		}
		s.Name, s.Local.Service = "n"+f[0], service
		if host != "" {
			s.Local.IPv4 = netip.AddrFrom4([4]byte{10, 0, 0, host[0]})
		}
		s.Timestamp, _ = strconv.ParseInt(f[4], 10, 64)
		s.Duration, _ = strconv.ParseInt(f[5], 10, 64)
		for _, flag := range f[6:] {
			switch key, value, tag := strings.Cut(flag, "="); {
			case flag == "shared":
				s.Shared = true
			case flag == "error":
				s.Tags = append(s.Tags, tracing.Tag{Key: tracing.TagError})
			case tag:
				s.Tags = append(s.Tags, tracing.Tag{Key: key, Value: value})
			default:
				t.Fatalf("%s: what is %s?", line, flag)
			}
		}
		if err := s.Normalize(); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, s)
	}
	return out
}

// rows writes a waterfall as "id@start+duration", indented by dots, an orphan after
// a question mark, and how far a span was moved in parentheses.
func rows(w *tracing.Waterfall) string {
	var out []string
	for _, r := range w.Rows {
		text := strings.Repeat(".", r.Depth)
		if r.Orphan {
			text += "?"
		}
		text += fmt.Sprintf("%x@%d+%d", uint64(r.Span.ID), r.Start, r.Duration)
		if r.Moved != 0 {
			text += fmt.Sprintf("(%+d)", r.Moved)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestRows(t *testing.T) {
	for name, c := range map[string]struct {
		spans []string
		want  string
	}{
		"one":                           {[]string{"1 - server a 10 5"}, "1@0+5"},
		"depth first, siblings by time": {[]string{"1 - server a 10 90", "4 1 - a 60 5", "2 1 - a 20 30", "3 2 - a 25 5"}, "1@0+90 .2@10+30 ..3@15+5 .4@50+5"},
		"siblings that begin together":  {[]string{"1 - - a 10 90", "2 1 - a 20 5", "3 1 - a 20 30"}, "1@0+90 .3@10+30 .2@10+5"},
		"client and server share an id": {[]string{"1 - server a 10 90", "2 1 client a 20 50", "2 1 server b 25 40 shared"}, "1@0+90 .2@10+50 ..2@15+40"},
		"a child on the server's side":  {[]string{"2 - client a 20 50", "2 - server b 25 40 shared", "3 2 client b 30 10"}, "2@0+50 .2@5+40 ..3@10+10"},
		"a child on the client's side":  {[]string{"2 - client a 20 50", "2 - server b 25 40 shared", "3 2 - a 30 10"}, "2@0+50 .2@5+40 .3@10+10"},
		"a server whose client is away": {[]string{"1 - server a 10 90", "2 1 server b 25 40 shared", "3 2 - b 30 5"}, "1@0+90 .?2@15+40 ..3@20+5"},
		"an orphan":                     {[]string{"1 - server a 10 90", "3 2 server b 30 20", "4 3 - b 35 5"}, "1@0+90 .?3@20+20 ..4@25+5"},
		"no root":                       {[]string{"3 2 server b 30 20", "4 3 - b 35 5", "5 2 server c 20 5"}, "?5@0+5 ?3@10+20 .4@15+5"},
		"two roots":                     {[]string{"2 - server b 50 20", "1 - server a 10 90", "3 9 - c 60 1", "4 2 - b 55 5"}, "1@0+90 .?3@50+1 2@40+20 .4@45+5"},
		"the root is the earliest":      {[]string{"1 - server b 50 20", "2 - server a 10 90", "3 9 - c 60 1"}, "2@0+90 .?3@50+1 1@40+20"},
		"a root without a time":         {[]string{"1 - - a - -", "2 - - a 10 5", "3 9 - a 12 1"}, "2@0+5 .?3@2+1 1@0+0"},
		"two that are each other's":     {[]string{"1 - server a 10 90", "2 3 - b 20 5", "3 2 - b 15 20", "4 2 - b 21 1"}, "1@0+90 .?3@5+20 ..2@10+5 ...4@11+1"},
		"a circle alone":                {[]string{"2 3 - b 20 5", "3 4 - b 15 20", "4 2 - b 21 1"}, "?3@0+20 .2@5+5 ..4@6+1"},
		"its own parent":                {[]string{"2 2 - b 20 5"}, "2@0+5"},
		"two of one id":                 {[]string{"1 - server a 10 90", "2 1 server b 20 20", "2 1 server c 30 10", "3 2 - c 31 1"}, "1@0+90 .2@10+20 .2@20+10 ..3@21+1"},
		"no times at all":               {[]string{"1 - server a - -", "2 1 - a - -"}, "1@0+0 .2@0+0"},
		"begins with its first child":   {[]string{"1 - server a 10 90", "2 1 client a - -", "3 2 server b/a 40 5", "4 2 server b/a 30 5"}, "1@0+90 .2@20+0 ..4@20+5 ..3@30+5"},
		"begins with its parent":        {[]string{"1 - server a 10 90", "2 1 client a 20 5", "3 2 - a - 3"}, "1@0+90 .2@10+5 ..3@10+3"},
		"before its parent":             {[]string{"1 - server a 100 50", "2 1 - a 40 5"}, "1@60+50 .2@0+5"},
		"parts of one span":             {[]string{"1 - server a 10 -", "1 - server a - 90 error"}, "1@0+90"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := timed(t, c.spans...)
			if got := rows(tracing.Layout(spans)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			slices.Reverse(spans)
			if got := rows(tracing.Layout(spans)); got != c.want {
				t.Errorf("in another order: got  %s\nwant %s", got, c.want)
			}
			check(t, spans)
		})
	}
	if tracing.Layout(nil) != nil {
		t.Error("no spans make a waterfall")
	}
}

func TestClocks(t *testing.T) {
	root := "1 - server a 1000 500"
	for name, c := range map[string]struct {
		spans []string
		want  string
	}{
		"behind":                          {[]string{root, "2 1 client a 1100 100", "3 2 server b 900 60"}, "1@0+500 .2@100+100 ..3@120+60(+220)"},
		"what it calls moves along":       {[]string{root, "2 1 client a 1100 100", "3 2 server b 900 60", "4 3 client b 910 20", "5 3 - b 920 5"}, "1@0+500 .2@100+100 ..3@120+60(+220) ...4@130+20(+220) ...5@140+5(+220)"},
		"further hosts do not":            {[]string{root, "2 1 client a 1100 100", "3 2 server b 900 60", "4 3 client b 910 20", "5 4 server c 1135 10"}, "1@0+500 .2@100+100 ..3@120+60(+220) ...4@130+20(+220) ....5@135+10"},
		"further hosts have their own":    {[]string{root, "2 1 client a 1100 100", "3 2 server b 900 60", "4 3 client b 910 20", "5 4 server c 1120 10"}, "1@0+500 .2@100+100 ..3@120+60(+220) ...4@130+20(+220) ....5@135+10(+15)"},
		"begins with its client":          {[]string{root, "2 1 client a 1100 100", "3 2 server b 1100 60"}, "1@0+500 .2@100+100 ..3@120+60(+20)"},
		"after its client":                {[]string{root, "2 1 client a 1100 100", "3 2 server b 1101 200"}, "1@0+500 .2@100+100 ..3@101+200"},
		"longer than its client":          {[]string{root, "2 1 client a 1100 100", "3 2 server b 900 160"}, "1@0+500 .2@100+100 ..3@101+160(+201)"},
		"one way":                         {[]string{root, "2 1 client a 1100 -", "3 2 server b 900 60"}, "1@0+500 .2@100+0 ..3@101+60(+201)"},
		"as long as its client, with it":  {[]string{root, "2 1 client a 1100 60", "3 2 server b 1100 60"}, "1@0+500 .2@100+60 ..3@100+60"},
		"on the same host":                {[]string{root, "2 1 client a 1100 100", "3 2 server b/a 1050 60"}, "1@0+500 .2@100+100 ..3@50+60"},
		"on no known host":                {[]string{root, "2 1 client a 1100 100", "3 2 server b/ 1050 60"}, "1@0+500 .2@100+100 ..3@50+60"},
		"no call":                         {[]string{root, "2 1 - a 1100 100", "3 2 server b 1050 60"}, "1@0+500 .2@100+100 ..3@50+60"},
		"a message":                       {[]string{root, "2 1 producer a 1100 100", "3 2 consumer b 1050 60"}, "1@0+500 .2@100+100 ..3@50+60"},
		"a server without a time":         {[]string{root, "2 1 client a 1100 100", "3 2 server b - 60"}, "1@0+500 .2@100+100 ..3@100+60"},
		"no root, no clock to go by":      {[]string{"2 1 client a 1100 100", "3 2 server b 1050 60"}, "?2@50+100 .3@0+60"},
		"two roots, two clocks to go by":  {[]string{root, "9 - server c 1000 5", "2 1 client a 1100 100", "3 2 server b 1050 60"}, "1@0+500 .2@100+100 ..3@50+60 9@0+5"},
		"an orphan's caller is not known": {[]string{"1 - client a 1000 500", "3 2 server b 950 60"}, "1@50+500 .?3@0+60"},
		"a shared span":                   {[]string{"1 - client a 1000 500", "1 - server b 950 100 shared"}, "1@0+500 .1@200+100(+250)"},
		"by years":                        {[]string{"1 - client a 9223372036854775807 9223372036854775807", "2 1 server b 1 1"}, "1@0+9223372036854775807 .2@0+1(+9223372036854775807)"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := timed(t, c.spans...)
			if got := rows(tracing.Layout(spans)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			check(t, spans)
		})
	}
}

// parts writes the critical path as "id from-to", and with self what each span took
// itself.
func parts(w *tracing.Waterfall) (critical, self string) {
	var c, s []string
	for _, r := range w.Rows {
		for _, p := range r.Critical {
			c = append(c, fmt.Sprintf("%x %d-%d", uint64(r.Span.ID), p.From, p.To))
		}
		s = append(s, fmt.Sprintf("%x %d", uint64(r.Span.ID), r.Self))
	}
	return strings.Join(c, ", "), strings.Join(s, ", ")
}

func TestCriticalPathAndSelf(t *testing.T) {
	root := "1 - server a 100 100"
	for name, c := range map[string]struct {
		spans          []string
		critical, self string
	}{
		"alone":                         {[]string{root}, "1 0-100", "1 100"},
		"one after another":             {[]string{root, "2 1 - a 110 20", "3 1 - a 140 30"}, "1 0-10, 1 30-40, 1 70-100, 2 10-30, 3 40-70", "1 50, 2 20, 3 30"},
		"without a gap":                 {[]string{root, "2 1 - a 100 50", "3 1 - a 150 50"}, "2 0-50, 3 50-100", "1 0, 2 50, 3 50"},
		"side by side":                  {[]string{root, "2 1 - a 110 50", "3 1 - a 120 60"}, "1 0-20, 1 80-100, 3 20-80", "1 30, 2 50, 3 60"},
		"one within the other":          {[]string{root, "2 1 - a 110 80", "3 1 - a 120 10"}, "1 0-10, 1 90-100, 2 10-90", "1 20, 2 80, 3 10"},
		"they end together":             {[]string{root, "2 1 - a 180 10", "3 1 - a 110 80"}, "1 0-10, 1 90-100, 3 10-90", "1 20, 3 80, 2 10"},
		"down the tree":                 {[]string{root, "2 1 client a 110 80", "3 2 server b 120 60", "4 3 client b 130 20"}, "1 0-10, 1 90-100, 2 10-20, 2 80-90, 3 20-30, 3 50-80, 4 30-50", "1 20, 2 20, 3 40, 4 20"},
		"outlasts its parent":           {[]string{root, "2 1 - a 150 500"}, "1 0-50, 2 50-100", "1 50, 2 500"},
		"what it calls, too":            {[]string{root, "2 1 - a 150 500", "3 2 - a 160 20", "4 2 - a 185 300", "5 2 - a 300 10"}, "1 0-50, 2 50-60, 2 80-85, 3 60-80, 4 85-100", "1 50, 2 180, 3 20, 4 300, 5 10"},
		"begins after its parent's end": {[]string{root, "2 1 - a 250 50"}, "1 0-100", "1 100, 2 50"},
		"ends before its parent begins": {[]string{root, "2 1 - a 10 50"}, "1 90-190", "1 100, 2 50"},
		"begins before its parent":      {[]string{root, "2 1 - a 50 100"}, "1 100-150, 2 50-100", "1 50, 2 100"},
		"a message's receiver":          {[]string{root, "2 1 producer a 110 5", "3 2 consumer b 112 60", "4 3 - b 115 50"}, "1 0-10, 1 15-100, 2 10-15", "1 95, 2 5, 3 10, 4 50"},
		"a receiver is the root":        {[]string{"1 - consumer a 100 100", "2 1 - a 150 50"}, "1 0-50, 2 50-100", "1 50, 2 50"},
		"no time at all":                {[]string{"1 - - a - -", "2 1 - a - -"}, "", "1 0, 2 0"},
		"of no length":                  {[]string{root, "2 1 - a 150 -", "3 1 - a 200 -"}, "1 0-100", "1 100, 2 0, 3 0"},
		"not told how long":             {[]string{root, "2 1 client a 110 -", "3 2 server b 120 30"}, "1 0-10, 1 50-100, 2 10-20, 3 20-50", "1 60, 2 0, 3 30"},
		"a root not told how long":      {[]string{"1 - server a 100 -", "2 1 - a 110 20"}, "1 0-10, 2 10-30", "1 0, 2 20"},
		"orphans":                       {[]string{root, "3 2 - b 150 20"}, "1 0-50, 1 70-100, 3 50-70", "1 80, 3 20"},
		"no root":                       {[]string{"3 2 server b 150 20", "4 2 server c 180 20", "5 4 - c 185 5"}, "3 0-20, 4 30-35, 4 40-50, 5 35-40", "3 20, 4 15, 5 5"},
		"of the first root alone":       {[]string{root, "2 - server b 150 500"}, "1 0-100", "1 100, 2 500"},
		"no end of time":                {[]string{"1 - server a 9223372036854775000 9223372036854775807", "2 1 - a 9223372036854775100 9223372036854775807"}, "1 0-100, 2 100-807", "1 100, 2 707"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := timed(t, c.spans...)
			critical, self := parts(tracing.Layout(spans))
			if want := strings.Join(slices.Sorted(slices.Values(strings.Split(c.critical, ", "))), ", "); strings.Join(slices.Sorted(slices.Values(strings.Split(critical, ", "))), ", ") != want {
				t.Errorf("critical: got  %s\nwant %s", critical, c.critical)
			}
			if self != c.self {
				t.Errorf("self: got  %s\nwant %s", self, c.self)
			}
			check(t, spans)
		})
	}
}

func TestWarnings(t *testing.T) {
	root := "1 - server a 100000 100000"
	for name, c := range map[string]struct {
		spans []string
		want  string
	}{
		"nothing":                 {[]string{root, "2 1 client a 100100 50", "3 2 server b 100110 20"}, ""},
		"a span is missing":       {[]string{root, "3 2 - b 100200 1", "4 2 - b 100200 1"}, "a span was not sent, or is still on its way: what it called hangs below the first span"},
		"spans are missing":       {[]string{root, "3 2 - b 100200 1", "5 4 - b 100200 1"}, "2 spans were not sent, or are still on their way: what they called hangs below the first span"},
		"the root is missing":     {[]string{"3 1 - b 200 1", "4 1 - b 200 1"}, "the span that began this trace was not sent, or is still on its way"},
		"the root and another":    {[]string{"3 1 - b 200 1", "4 2 - b 200 1"}, "2 spans were not sent, or are still on their way: the one that began this trace is among them"},
		"two roots":               {[]string{root, "2 - server a 100000 1"}, "2 spans say that they began this trace"},
		"a circle":                {[]string{root, "2 3 - a 100000 1", "3 2 - a 100000 1"}, "2 spans are each other's ancestors: the earliest was cut off its parent"},
		"twice":                   {[]string{root, "2 1 server b 100000 1", "2 1 server c 100000 1"}, "a span has the id of another"},
		"thrice":                  {[]string{root, "2 1 server b 100000 1", "2 1 server c 100000 1", "2 1 server d 100000 1"}, "2 spans have the id of another"},
		"no time":                 {[]string{"1 - - a - 1"}, "no span has a time"},
		"one without a time":      {[]string{root, "2 1 - a - 1"}, "a span has no time: where it stands is a guess"},
		"clocks":                  {[]string{root, "2 1 client a 110000 1000", "3 2 server b 98000 800", "4 3 - b 98100 10"}, "clocks differ: 2 spans of b were moved by up to 12 ms"},
		"several clocks":          {[]string{root, "2 1 client a 110000 1000", "3 2 server b 98000 800", "4 1 client a 120000 1000", "5 4 server c 120000 800"}, "clocks differ: 2 spans of b and c were moved by up to 12 ms"},
		"earlier than its parent": {[]string{root, "2 1 - a 98500 10"}, "a span begins 1.5 ms before the one that called it: clocks may differ"},
		"a little earlier":        {[]string{root, "2 1 - a 99500 10"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(tracing.Layout(timed(t, c.spans...)).Warnings, "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSharesAndSummary(t *testing.T) {
	spans := timed(t,
		"1 - server web 100 100", "2 1 client web 110 50", "3 2 server app 115 40 error", "4 3 client app 120 30 error weir.refused=open",
		"5 1 client web 170 10 weir.refused=switched weir.policy=shop/app.all.switch", "6 1 - - 190 1 weir.refused=gone",
	)
	w := tracing.Layout(spans)
	if got, want := fmt.Sprint(w.Services), "[{web 3 0 59 100} {app 2 2 40 40} { 1 0 1 1}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s := tracing.Summarize(spans)
	if s.Start != 100 || s.Duration != 100 || s.Root.Name != "n1" || s.Headless || s.Spans != 6 || s.Errors != 2 || s.Depth != 4 || s.Refused != 2 || s.Policy == nil || s.Policy.ID != 5 {
		t.Errorf("%+v", s)
	}
	if got, want := fmt.Sprint(s.Services), "[{web 3 0 0 100} {app 2 2 0 40} { 1 0 0 1}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s := tracing.Summarize(spans[1:]); !s.Headless || s.Root.Name != "n2" || s.Depth != 3 {
		t.Errorf("%+v", s)
	}
}

func TestTrim(t *testing.T) {
	lines := []string{"1 - server a 100 100", "2 1 - a 110 10", "3 1 - a 120 10", "4 1 - a 130 10", "5 2 - a 111 1", "6 5 - a 111 1", "7 3 - a 121 1", "8 4 - a 131 1"}
	for most, want := range map[int]string{
		8: "1@0+100 .2@10+10 ..5@11+1 ...6@11+1 .3@20+10 ..7@21+1 .4@30+10 ..8@31+1",
		7: "1@0+100 .2@10+10 ..5@11+1 .3@20+10 ..7@21+1 .4@30+10 ..8@31+1",
		5: "1@0+100 .2@10+10 ..5@11+1 .3@20+10 .4@30+10",
		2: "1@0+100 .2@10+10",
		1: "1@0+100",
	} {
		w := tracing.Layout(timed(t, lines...))
		w.Trim(most)
		if got := rows(w); got != want {
			t.Errorf("%d: got %s, want %s", most, got, want)
		}
		left := 0
		for i, r := range w.Rows {
			left += r.Below
			if r.Parent >= i || r.Parent >= 0 && w.Rows[r.Parent].Depth != r.Depth-1 {
				t.Errorf("%d: row %d stands below row %d", most, i, r.Parent)
			}
		}
		if left != 8-most {
			t.Errorf("%d: %d are said to be left out", most, left)
		}
		if said := slices.Contains(w.Warnings, fmt.Sprintf("the trace has 8 spans, of which the uppermost %d are shown", most)); said != (most < 8) {
			t.Errorf("%d: %q", most, w.Warnings)
		}
	}
}

// check holds what is true of every waterfall.
func check(t testing.TB, spans []tracing.Span) {
	t.Helper()
	w := tracing.Layout(spans)
	if got, want := len(w.Rows), len(tracing.Merge(spans)); got != want {
		t.Fatalf("%d rows of %d spans", got, want)
	}
	seen := make(map[*tracing.Span]bool)
	var path []tracing.Interval
	tops, counted := 0, 0
	for i, r := range w.Rows {
		if seen[r.Span] {
			t.Fatalf("%x has two rows", uint64(r.Span.ID))
		}
		seen[r.Span] = true
		switch {
		case r.Parent >= i || r.Parent < -1:
			t.Fatalf("row %d stands below row %d", i, r.Parent)
		case r.Parent < 0 && r.Depth != 0 || r.Parent >= 0 && r.Depth != w.Rows[r.Parent].Depth+1:
			t.Fatalf("row %d below row %d has depth %d", i, r.Parent, r.Depth)
		case r.Start < 0 || r.Start > w.Duration || r.Self < 0 || r.Self > r.Duration:
			t.Fatalf("row %d: %+v of %d", i, r, w.Duration)
		}
		if r.Parent < 0 {
			tops++
		}
		for _, p := range r.Critical {
			if p.From >= p.To || p.From < r.Start {
				t.Fatalf("row %d begins at %d and has %+v", i, r.Start, p)
			}
			path = append(path, p)
		}
	}
	for _, s := range w.Services {
		counted += s.Spans
		if s.Self < 0 {
			t.Fatalf("%+v", s)
		}
	}
	if counted != len(w.Rows) || tops == 0 {
		t.Fatalf("%d spans of services, %d at the top", counted, tops)
	}
	// Something holds the trace up at any moment, and never two things at once.
	slices.SortFunc(path, func(a, b tracing.Interval) int { return int(min(1, max(-1, a.From-b.From))) })
	for i, p := range path {
		if p.To > w.Duration || i > 0 && p.From < path[i-1].To {
			t.Fatalf("%+v after %+v of %d", p, path[max(0, i-1)], w.Duration)
		}
		if i > 0 && p.From > path[i-1].To && !w.Headless {
			t.Fatalf("nothing holds the trace up from %d to %d", path[i-1].To, p.From)
		}
	}
	if s := tracing.Summarize(spans); s.Start != w.Start || s.Duration != w.Duration || s.Spans != len(w.Rows) || s.Depth != w.Depth || s.Headless != w.Headless {
		t.Fatalf("%+v is not of %+v", s, w)
	}
	w.Trim(len(w.Rows)/2 + 1)
	for i, r := range w.Rows {
		if r.Parent >= i {
			t.Fatalf("trimmed, row %d stands below row %d", i, r.Parent)
		}
	}
}

// hostile are traces that nobody means well with.
func hostile(n int) map[string][]tracing.Span {
	id := func(i int) tracing.ID { return tracing.ID(i + 1) }
	spans := func(f func(i int) tracing.Span) []tracing.Span {
		out := make([]tracing.Span, n)
		for i := range out {
			out[i] = f(i)
			out[i].TraceID = tracing.TraceID{Low: 7}
		}
		return out
	}
	r := rand.New(rand.NewPCG(3, 4))
	return map[string][]tracing.Span{
		"a chain": spans(func(i int) tracing.Span {
			return tracing.Span{ID: id(i), ParentID: tracing.ID(i), Timestamp: int64(1 + i), Duration: int64(2*n - 2*i)}
		}),
		"a chain without times": spans(func(i int) tracing.Span { return tracing.Span{ID: id(i), ParentID: tracing.ID(i)} }),
		"a chain of calls whose clocks differ": spans(func(i int) tracing.Span {
			return tracing.Span{
				ID: id(i), ParentID: tracing.ID(i), Kind: tracing.Kind(1 + i%2), Timestamp: int64(1 + n - i), Duration: int64(1 + n - i),
				Local: tracing.Endpoint{IPv4: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
			}
		}),
		"one circle": spans(func(i int) tracing.Span {
			return tracing.Span{ID: id(i), ParentID: id((i + 1) % n), Timestamp: int64(n - i)}
		}),
		"many circles": spans(func(i int) tracing.Span { return tracing.Span{ID: id(i), ParentID: id(i ^ 1), Timestamp: int64(i)} }),
		"all below one": spans(func(i int) tracing.Span {
			return tracing.Span{ID: id(i), ParentID: tracing.ID(min(i, 1)), Timestamp: 1 + int64(i), Duration: r.Int64N(int64(n))}
		}),
		"orphans": spans(func(i int) tracing.Span {
			return tracing.Span{ID: id(i), ParentID: id(n + i), Timestamp: 5, Duration: 1}
		}),
		"roots": spans(func(i int) tracing.Span { return tracing.Span{ID: id(i), Timestamp: int64(i), Duration: 1} }),
		"one id, parts": spans(func(i int) tracing.Span {
			return tracing.Span{
				ID: 1, Timestamp: 5, Duration: int64(i), Tags: []tracing.Tag{{Key: strconv.Itoa(i)}},
				Annotations: []tracing.Annotation{{Timestamp: int64(i), Value: "a"}},
			}
		}),
		"one id, each another's": spans(func(i int) tracing.Span {
			return tracing.Span{ID: 1, Timestamp: 5, Duration: 1, Local: tracing.Endpoint{Service: strconv.Itoa(i)}}
		}),
		"one id, shared": spans(func(i int) tracing.Span {
			return tracing.Span{ID: 1, Kind: tracing.Server, Timestamp: 5, Duration: 1, Shared: i > 0, Local: tracing.Endpoint{Service: strconv.Itoa(i)}}
		}),
		"random": spans(func(i int) tracing.Span {
			return tracing.Span{
				ID: id(r.IntN(n)), ParentID: tracing.ID(r.IntN(n)), Kind: tracing.Kind(r.IntN(5)), Shared: r.IntN(5) == 0,
				Timestamp: r.Int64N(1000) * r.Int64N(2), Duration: r.Int64N(500),
				Local: tracing.Endpoint{Service: "abc"[:r.IntN(4)], IPv4: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(3))})},
			}
		}),
		"the end of time": spans(func(i int) tracing.Span {
			return tracing.Span{ID: id(i), ParentID: tracing.ID(r.IntN(i + 1)), Kind: tracing.Kind(r.IntN(5)), Timestamp: math.MaxInt64 - r.Int64N(100), Duration: math.MaxInt64}
		}),
	}
}

// A trace of a hundred thousand spans, however it is made, is laid out in less time
// than anything quadratic would take.
func TestHostileTraces(t *testing.T) {
	const many = 100_000
	for _, n := range []int{1, 2, 3, 10_000, many} {
		for name, spans := range hostile(n) {
			t.Run(fmt.Sprintf("%s of %d", name, n), func(t *testing.T) {
				for i := range spans {
					if err := spans[i].Normalize(); err != nil {
						t.Fatal(err)
					}
				}
				if n < many {
					check(t, spans)
				} else if w := tracing.Layout(spans); len(w.Rows) == 0 || w.Depth == 0 {
					t.Errorf("%d rows, %d levels", len(w.Rows), w.Depth)
				}
			})
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add([]byte{1, 0, 2, 10, 90, 0, 2, 1, 1, 20, 30, 1, 3, 2, 2, 5, 10, 2})
	f.Add([]byte{1, 2, 1, 10, 0, 0, 2, 1, 2, 0, 30, 9, 2, 1, 2, 255, 255, 17})
	f.Add([]byte{1, 1, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0x21, 1, 0, 1, 0, 0, 0x32})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var spans []tracing.Span
		for ; len(raw) >= 6; raw = raw[6:] {
			s := tracing.Span{
				TraceID: tracing.TraceID{Low: 1}, ID: tracing.ID(raw[0]%16 + 1), ParentID: tracing.ID(raw[1] % 18), Kind: tracing.Kind(raw[2] % 5),
				Timestamp: int64(raw[3]), Duration: int64(raw[4]), Shared: raw[5]&1 != 0, Local: tracing.Endpoint{Service: "abc"[:raw[5]>>1&3]},
			}
			if raw[5]&8 != 0 {
				s.Timestamp, s.Duration = s.Timestamp<<55, s.Duration<<55
			}
			if raw[5]&16 != 0 {
				s.Local.IPv4 = netip.AddrFrom4([4]byte{10, 0, 0, raw[5] >> 5})
			}
			if s.Normalize() != nil {
				t.Fatalf("%+v", s)
			}
			spans = append(spans, s)
		}
		if len(spans) > 0 {
			check(t, spans)
		}
	})
}

// large is one trace of n spans, with the tags of real ones.
func large(n int) []tracing.Span {
	var out []tracing.Span
	for g := tracingtest.NewGenerator(9, start); len(out) < n; {
		trace := g.Trace()
		for i := range trace {
			if trace[i].TraceID = (tracing.TraceID{High: 1, Low: 1}); trace[i].ParentID == 0 && len(out) > 0 {
				trace[i].ParentID = out[len(out)/2].ID
			}
		}
		out = append(out, trace...)
	}
	return out[:n]
}

func BenchmarkLayout(b *testing.B) {
	for _, n := range []int{11, 10_000, 100_000} {
		spans := large(n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tracing.Layout(spans)
			}
			perSpan(b, n)
		})
	}
	b.Run("summary-11", func(b *testing.B) {
		spans := large(11)
		for b.Loop() {
			tracing.Summarize(spans)
		}
		perSpan(b, 11)
	})
}
