package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/governance/console"
)

func (m *Main) systemCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "system",
		Short: "Show the processes of Weir, the database, and what waits",
		Long: `System shows how an installation of Weir is: every control plane, gateway and
collector with its version, the database and what its tables take, what waits in
queues, the registry, and the versions of the SDK in running services. It answers
when the database is away, too, as far as the control plane knows.`,
		Example: `  weir system
  weir system -o json`,
		Args: cobra.NoArgs,
	}
	api := m.askAPI(c)
	format := output(c, view.Formats...)
	api.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		var s console.System
		if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/system"}, &s); err != nil {
			return err
		}
		if *format != view.Table {
			return view.Encode(m.Stdout, *format, s)
		}
		return m.tellSystem(s)
	})
	return c
}

func (m *Main) tellSystem(s console.System) error {
	fmt.Fprintf(m.Stdout, "weir       %s, since %s\n", s.Version, s.Started.Local().Format(time.DateTime))
	fmt.Fprintf(m.Stdout, "database   %s\n", databaseText(s.Database))
	fmt.Fprintf(m.Stdout, "registry   %s\n", registryText(s.Registry))
	fmt.Fprintf(m.Stdout, "sdk        %s\n", sdkText(s.SDK))
	for _, u := range s.Unknown {
		fmt.Fprintf(m.Stdout, "! not known: %s: %s\n", u.What, u.Why)
	}
	for _, table := range []struct {
		header view.Row
		rows   []view.Row
	}{
		{view.Row{"ROLE", "NODE", "VERSION", "STARTED", "SEEN", "NOTES"}, nodeRows(s)},
		{view.Row{"QUEUE", "WHERE", "DEPTH", "LIMIT", "SINCE", "WHAT"}, queueRows(s)},
		{view.Row{"TABLE", "PARTS", "TAKES", "ROWS, ABOUT", "FROM", "TO"}, tableRows(s.Partitions)},
	} {
		if len(table.rows) == 0 {
			continue
		}
		fmt.Fprintln(m.Stdout)
		if err := view.WriteTable(m.Stdout, table.header, table.rows); err != nil {
			return err
		}
	}
	return nil
}

func databaseText(d console.SystemDatabase) string {
	if d.OK {
		return fmt.Sprintf("PostgreSQL %s, %s, %d of %d connections", d.Version, view.Bytes(d.Bytes), d.Connections, d.MaxConnections)
	}
	text := "AWAY: " + d.Error
	if !d.Since.IsZero() {
		text += "; it last answered at " + d.Since.Local().Format(time.TimeOnly)
	}
	if !d.AsOf.IsZero() {
		text += "; what it holds is told as of " + d.AsOf.Local().Format(time.TimeOnly)
	}
	return text
}

func registryText(r console.SystemRegistryNow) string {
	switch {
	case !r.Open:
		return "not known: " + r.Unknown
	case !r.Stale.IsZero():
		return fmt.Sprintf("%s, STALE since %s: the API server does not answer", view.Plural(r.Apps, "application", "applications"), r.Stale.Local().Format(time.TimeOnly))
	}
	return view.Plural(r.Apps, "application", "applications")
}

func sdkText(list []console.SystemSDK) string {
	var out []string
	for _, k := range list {
		out = append(out, fmt.Sprintf("%s on %d", or(k.Version, "unknown"), k.Instances))
	}
	return or(strings.Join(out, ", "), "no instances")
}

func nodeRows(s console.System) []view.Row {
	var rows []view.Row
	for _, n := range s.Nodes {
		started := "-"
		if !n.Started.IsZero() {
			started = n.Started.Local().Format(time.DateTime)
		}
		notes := n.Notes
		if n.Current != nil && *n.Current {
			notes = append([]string{fmt.Sprintf("serves revision %d of the routes, the newest", n.Revision)}, notes...)
		}
		rows = append(rows, view.Row{n.Role, n.Name, or(n.Version, "-"), started, n.Seen.Local().Format(time.TimeOnly), or(strings.Join(notes, "; "), "-")})
	}
	return rows
}

func queueRows(s console.System) []view.Row {
	amount := func(n int64, unit string) string {
		if unit == "bytes" {
			return view.Bytes(n)
		}
		return fmt.Sprintf("%d %s", n, unit)
	}
	var rows []view.Row
	for _, q := range s.Queues {
		where, limit, since := or(q.Node, "the database"), "-", "-"
		if q.Limit > 0 {
			limit = amount(q.Limit, q.Unit)
		}
		if !q.Oldest.IsZero() {
			since = q.Oldest.Local().Format(time.TimeOnly)
		}
		rows = append(rows, view.Row{q.Name, where, amount(q.Depth, q.Unit), limit, since, or(q.Detail, "-")})
	}
	return rows
}

// tableRows adds the parts of each table up, the largest table first.
func tableRows(parts []console.SystemPartition) []view.Row {
	type table struct {
		name        string
		parts       int
		bytes, rows int64
		from, to    time.Time
	}
	var tables []*table
	at := map[string]*table{}
	for _, p := range parts {
		name := p.Schema + "." + p.Table
		t := at[name]
		if t == nil {
			t = &table{name: name, from: p.From}
			at[name], tables = t, append(tables, t)
		}
		t.parts, t.bytes, t.rows = t.parts+1, t.bytes+p.Bytes, t.rows+p.Rows
		if !p.From.IsZero() && (t.from.IsZero() || p.From.Before(t.from)) {
			t.from = p.From
		}
		if p.To.After(t.to) {
			t.to = p.To
		}
	}
	slices.SortStableFunc(tables, func(a, b *table) int { return cmp.Compare(b.bytes, a.bytes) })
	day := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.DateOnly)
	}
	var rows []view.Row
	for _, t := range tables {
		rows = append(rows, view.Row{t.name, fmt.Sprint(t.parts), view.Bytes(t.bytes), fmt.Sprint(t.rows), day(t.from), day(t.to)})
	}
	return rows
}
