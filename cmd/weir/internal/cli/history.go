package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
)

// rangeFlags adds the flags of a range of time.
func rangeFlags(c *cobra.Command, q url.Values) (set func()) {
	from := c.Flags().String("from", "-1h", "begin: 2026-11-20T15:00:00Z, or before now, such as -1h")
	to := c.Flags().String("to", "", "end (default: now)")
	return func() {
		setIf(q, "from", *from)
		setIf(q, "to", *to)
	}
}

func (m *Main) historyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "history NAMESPACE/APP [COMMAND]",
		Short: "Show what a command counted over time, and what happened to it",
		Long: `History shows the points of one command of an application, merged over its
instances: calls, errors, refusals, fallbacks and percentiles of latency, with
changes of circuits and policies among them. Without a command it lists the
application's commands.`,
		Example: `  weir history shop/inventory
  weir history shop/inventory InventoryService.reserve --from -1h
  weir history shop/orders InventoryService.reserve --peer shop/inventory --step 10s`,
		Args: cobra.RangeArgs(1, 2),
	}
	ask := m.askAPI(c)
	q := url.Values{}
	span := rangeFlags(c, q)
	var peer, at, instance string
	var step time.Duration
	c.Flags().StringVar(&peer, "peer", "", "the application that serves the command, for the series of its caller")
	c.Flags().StringVar(&at, "at", "", "provider or caller: on which side of the calls it is counted (default: caller with --peer, else provider)")
	c.Flags().StringVar(&instance, "instance", "", "only this instance (default: all, merged)")
	c.Flags().DurationVar(&step, "step", 0, "distance of points (default: chosen by the range)")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		app, err := governance.ParseApp(args[0])
		if err != nil {
			return usage(errors.New(strings.TrimPrefix(err.Error(), "governance: ")))
		}
		span()
		path := client.Path("/api/v1/apps", app.Namespace, app.Name)
		if len(args) == 1 {
			return m.showApp(ctx, cl, path, q, *format)
		}
		events := url.Values{"app": {app.String()}, "command": {args[1]}, "from": q["from"]}
		setIf(events, "to", q.Get("to"))
		q.Set("command", args[1])
		if peer != "" && at == "" {
			at = string(governance.Caller)
		}
		setIf(q, "peer", peer)
		setIf(q, "at", at)
		setIf(q, "instance", instance)
		if step > 0 {
			q.Set("step", step.String())
		}
		var answer struct {
			governance.SeriesResult
			Events []governance.Event `json:"events"`
		}
		if _, err := cl.Do(ctx, client.Request{Path: path + "/series", Query: q}, &answer); err != nil {
			return err
		}
		var list struct {
			Items []governance.Event `json:"items"`
		}
		if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/events", Query: events}, &list); err != nil {
			return err
		}
		answer.Events = list.Items
		return show(m, *format, answer, view.Row{"TIME", "STATE", "CALLS", "ERRORS", "REFUSED", "FALLBACK", "P50", "P99", "MAX", "INSTANCES", "EVENT"}, historyRows(answer.SeriesResult, list.Items))
	})
	return c
}

func (m *Main) showApp(ctx context.Context, cl *client.Client, path string, q url.Values, format view.Format) error {
	var app api.AppDetail
	if _, err := cl.Do(ctx, client.Request{Path: path, Query: q}, &app); err != nil {
		return err
	}
	if format == view.Table {
		fmt.Fprintf(m.Stdout, "%s: %s\n", app.App, instancesText(app.Live, fmt.Sprintf("of which %d enforce what they should", app.Live-app.Behind)))
	}
	rows := make([]view.Row, 0, len(app.Commands))
	for _, s := range app.Commands {
		rows = append(rows, view.Row{s.Command, string(s.At), or(s.Peer.String(), "-")})
	}
	return show(m, format, app, view.Row{"COMMAND", "AT", "PEER"}, rows)
}

// historyRows are points and events in one order of time.
func historyRows(r governance.SeriesResult, events []governance.Event) []view.Row {
	type timed struct {
		at  time.Time
		row view.Row
	}
	var all []timed
	for _, p := range r.Points {
		row := view.Row{clockText(p.Time), statesText(p.States), count(p.Counts.Ran()), count(p.Counts.Errors()), count(p.Counts.Refused()), count(p.Counts.FallbackSuccess), "-", "-", "-", strconv.Itoa(p.Instances), ""}
		if l := p.Latency; l != nil {
			row[6], row[7], row[8] = latencyText(l.P50), latencyText(l.P99), latencyText(l.Max)
		}
		all = append(all, timed{p.Time, row})
	}
	for _, e := range events {
		all = append(all, timed{e.Time, view.Row{clockText(e.Time), "", "", "", "", "", "", "", "", "", eventText(e)}})
	}
	slices.SortStableFunc(all, func(a, b timed) int { return a.at.Compare(b.at) })
	rows := make([]view.Row, len(all))
	for i, t := range all {
		rows[i] = t.row
	}
	return rows
}

func count(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func latencyText(d governance.Duration) string {
	v := time.Duration(d)
	switch {
	case v >= time.Second:
		return v.Round(10 * time.Millisecond).String()
	case v >= 10*time.Millisecond:
		return v.Round(time.Millisecond).String()
	}
	return v.Round(10 * time.Microsecond).String()
}

func statesText(states map[governance.State]int) string {
	names := make([]string, 0, len(states))
	for s, n := range states {
		text := string(s)
		if len(states) > 1 {
			text = fmt.Sprintf("%d %s", n, s)
		}
		names = append(names, text)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// eventText says in a line what happened.
func eventText(e governance.Event) string {
	var s string
	switch t := e.Transition; {
	case e.Kind == governance.EventTransition && t != nil:
		s = fmt.Sprintf("%s → %s: %s", t.From, t.To, oneLine(t.Cause))
		if e.Policy != "" {
			s += fmt.Sprintf(" (%s version %d)", e.Policy, e.Version)
		}
	case e.Kind == governance.EventPublished, e.Kind == governance.EventDeleted:
		verb := "published"
		if e.Kind == governance.EventDeleted {
			verb = "ended"
		}
		s = fmt.Sprintf("%s %s, version %d, by %s: %s", verb, e.Policy, e.Version, e.Actor, oneLine(e.Reason))
	case e.Kind == governance.EventConfirmed:
		s = fmt.Sprintf("%s version %d confirmed by %s", e.Policy, e.Version, e.Reason)
	case e.Kind == governance.EventRefused:
		s = fmt.Sprintf("refused version %d: %s", e.Version, oneLine(e.Reason))
	case e.Kind == governance.EventJoined:
		s = or(e.Reason, e.Instance) + " joined"
	case e.Kind == governance.EventLeft:
		s = or(e.Reason, e.Instance) + " left"
	case e.Kind == governance.EventDrifted:
		s = e.Instance + ": " + oneLine(e.Reason)
	default:
		s = e.Kind + " " + oneLine(e.Reason)
	}
	return s
}

func (m *Main) eventsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "events",
		Short: "List what happened: circuits, policies, confirmations, instances",
		Long:  "Events lists changes of circuits with their cause, policies and switches with who and why, confirmations and refusals, and instances that joined and left; the newest first.",
		Example: `  weir events --from -24h
  weir events --app shop/inventory --kind transition`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	q := url.Values{}
	span := rangeFlags(c, q)
	var app, command, instance string
	var kinds []string
	var limit int
	c.Flags().StringVar(&app, "app", "", "only this application, as namespace/name")
	c.Flags().StringVar(&command, "command", "", "only this command")
	c.Flags().StringVar(&instance, "instance", "", "only this instance")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds: transition, policy.published, policy.deleted, policy.confirmed, policy.refused, instance.joined, instance.left, instance.drifted")
	c.Flags().IntVar(&limit, "limit", 100, "at most this many, 1 to 10000")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		span()
		setIf(q, "app", app)
		setIf(q, "command", command)
		setIf(q, "instance", instance)
		setIf(q, "kind", strings.Join(kinds, ","))
		q.Set("limit", strconv.Itoa(limit))
		var list struct {
			Items []governance.Event `json:"items"`
		}
		if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/events", Query: q}, &list); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(list.Items))
		for _, e := range list.Items {
			rows = append(rows, view.Row{clockText(e.Time), or(e.App.String(), "-"), or(e.Command, "-"), eventText(e)})
		}
		return show(m, *format, list, view.Row{"TIME", "APPLICATION", "COMMAND", "WHAT"}, rows)
	})
	return c
}
