package reference

import "strings"

// eventsPage tells the words by which Weir says what happened.
func eventsPage(root string) (string, error) {
	p := newPage("Events, states and tags", `The words by which Weir says what happened: in `+"`weir events`"+` and `+"`GET /api/v1/events`"+`, on the overview,
in histories, and on spans.`)
	for _, section := range []struct {
		title, intro, dir string
		want              func(constant) bool
	}{
		{
			"Events", "Kept exactly, for a year ([policies.md](../policies.md#history)).", "governance",
			func(c constant) bool { return c.group == "Kinds of events." },
		},
		{
			"States of circuits", "See [breaker.md](../breaker.md#states).", "governance",
			func(c constant) bool { return c.kind == "State" },
		},
		{
			"What needs attention", "Kinds of items on the overview ([attention.md](../attention.md)).", "governance/console",
			func(c constant) bool { return c.group == "Kinds of attention." },
		},
		{
			"Tags of spans", "Set by the SDK and the gateway; they lead from a span to metrics, policies and routes ([tracing.md](../tracing.md#from-a-span-to-metrics-and-policies)).", "tracing",
			func(c constant) bool { return strings.HasPrefix(c.value, "weir.") },
		},
	} {
		s, err := read(root, section.dir)
		if err != nil {
			return "", err
		}
		all, err := s.constants(section.want)
		if err != nil {
			return "", err
		}
		p.heading(2, section.title)
		p.text(section.intro)
		p.table([]string{"Word", ""}, rows(all))
	}
	return p.String(), nil
}
