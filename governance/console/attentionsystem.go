package console

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/internal/node"
)

// systemAilments tells what is wrong with this installation of Weir itself.
func (f *facts) systemAilments() []Attention {
	if f.system == nil {
		return slices.Concat(f.registryAway(), f.notKnown(true))
	}
	return slices.Concat(f.databaseAway(), f.registryAway(), f.notKnown(f.system.database.OK), f.queuesFull(), f.partitionsMissing(), f.versionsDiffer(), f.nodesNote())
}

func systemAttention(kind, severity, text string, params map[string]string) Attention {
	return Attention{Kind: kind, Severity: severity, Params: params, Text: text, Link: "/system"}
}

func (f *facts) databaseAway() []Attention {
	d := f.system.database
	if d.OK {
		return nil
	}
	a := databaseAttention(d.Error)
	a.Since = d.Since
	if a.Since.IsZero() {
		a.Since = d.AsOf
	}
	return []Attention{a}
}

func databaseAttention(why string) Attention {
	return systemAttention(KindDatabase, Critical, "The database does not answer, and what is shown of it is as it was last known: "+why, map[string]string{"why": why})
}

// registryAway tells of a registry that is not in touch, by the system view, or by
// what the overview itself was answered while that view is late. Where there is no
// cluster there is none to miss.
func (f *facts) registryAway() []Attention {
	r := foundRegistry{unknown: f.unlisted}
	if f.system != nil {
		r = f.system.registry
	}
	var a Attention
	switch {
	case r.unknown != "" && r.unknown != noCluster:
		a = systemAttention(KindRegistry, Warning, "The applications of the cluster are not known: "+r.unknown, map[string]string{"why": r.unknown})
	case !r.stale.IsZero():
		a = systemAttention(KindRegistry, Warning, "The registry is out of touch with the cluster, and shows the last state it knew.", map[string]string{})
		a.Since = r.stale
	default:
		return nil
	}
	a.Link = "/registry"
	return []Attention{a}
}

// notKnown tells what could not be found out, where the database is not to blame
// for all of it.
func (f *facts) notKnown(blameless bool) (out []Attention) {
	if !blameless {
		return nil
	}
	unknown := f.unknown
	if f.system != nil {
		unknown = slices.Concat(unknown, f.system.unknown)
	}
	told := map[string]bool{}
	for _, u := range unknown {
		if told[u.What] {
			continue // two have asked for it
		}
		told[u.What] = true
		out = append(out, systemAttention(KindUnknown, Warning, "Not known now: "+u.What+" ("+u.Why+").", map[string]string{"what": u.What, "why": u.Why}))
	}
	return out
}

// queuesFull tells of queues that are nearly full, and of those in which something
// waits for too long.
func (f *facts) queuesFull() (out []Attention) {
	one := func(role, name string, q node.Queue) {
		whose := strings.TrimSpace(role + " " + name)
		params := map[string]string{"queue": q.Name, "role": role, "node": name, "depth": strconv.FormatInt(q.Depth, 10)}
		if q.Limit > 0 {
			if p := 100 * float64(q.Depth) / float64(q.Limit); p >= queueWarn {
				severity := Warning
				if p >= queueCritical {
					severity = Critical
				}
				params["limit"], params["percent"] = strconv.FormatInt(q.Limit, 10), fmt.Sprintf("%.0f", p)
				out = append(out, systemAttention(KindQueue, severity,
					fmt.Sprintf("Queue %q of %s is %.0f %% full: %d of %d %s.", q.Name, whose, p, q.Depth, q.Limit, q.Unit), params))
				return
			}
		}
		if q.Depth > 0 && !q.Oldest.IsZero() && f.time.Sub(q.Oldest) >= waitsFor {
			a := systemAttention(KindQueue, Warning, fmt.Sprintf("In queue %q of %s something has waited since %s.", q.Name, whose, q.Oldest.UTC().Format(time.RFC3339)), params)
			a.Since = q.Oldest
			out = append(out, a)
		}
	}
	for _, n := range slices.Concat([]node.Node{f.system.self}, f.system.others(), f.system.collectors) {
		for _, q := range n.Facts.Queues {
			one(n.Role, n.Name, q)
		}
	}
	for _, q := range f.system.staged {
		one(roleControl, "", q)
	}
	for _, q := range f.system.unlinked {
		one(roleTracing, "", q)
	}
	return out
}

// partitionsMissing tells of tables for which no part is made ahead, and of rows
// that no part was made for.
func (f *facts) partitionsMissing() (out []Attention) {
	last := map[string]time.Time{}
	parts := slices.Concat(f.system.governance, f.system.tracing)
	for _, p := range parts {
		table := p.Schema + "." + p.Table
		if p.To.After(last[table]) {
			last[table] = p.To
		}
	}
	for _, p := range parts {
		table := p.Schema + "." + p.Table
		if last[table].IsZero() || !p.From.IsZero() || !p.To.IsZero() || p.Rows <= 0 {
			continue
		}
		out = append(out, systemAttention(KindPartition, Warning,
			fmt.Sprintf("About %d rows of table %s belong to no day for which a part was made.", p.Rows, table), map[string]string{"table": table, "rows": strconv.FormatInt(p.Rows, 10)}))
	}
	for _, table := range slices.Sorted(maps.Keys(last)) {
		to := last[table]
		if to.IsZero() || to.Sub(f.time) >= partitionAhead {
			continue
		}
		severity := Warning
		if !to.After(f.time) {
			severity = Critical
		}
		out = append(out, systemAttention(KindPartition, severity,
			fmt.Sprintf("Table %s has no part for what comes after %s.", table, to.UTC().Format(time.RFC3339)), map[string]string{"table": table, "to": to.UTC().Format(time.RFC3339)}))
	}
	return out
}

// versionsDiffer tells of processes that run another version than this one, as
// they do for a while when all are replaced.
func (f *facts) versionsDiffer() []Attention {
	others := map[string][]string{}
	add := func(role, name, version string) {
		if version != "" && version != f.system.self.Version {
			others[version] = append(others[version], role+" "+name)
		}
	}
	for _, n := range slices.Concat(f.system.others(), f.system.collectors) {
		add(n.Role, n.Name, n.Version)
	}
	for _, g := range f.system.gateways {
		add(roleGateway, g.Name, g.Version)
	}
	if len(others) == 0 {
		return nil
	}
	var says []string
	for _, version := range slices.Sorted(maps.Keys(others)) {
		says = append(says, version+" ("+names(others[version])+")")
	}
	return []Attention{systemAttention(KindVersions, Info,
		fmt.Sprintf("Processes of Weir run different versions: %s here, and %s.", f.system.self.Version, strings.Join(says, ", ")),
		map[string]string{"here": f.system.self.Version, "others": strings.Join(says, ", ")})}
}

// nodesNote tells what processes say of themselves.
func (f *facts) nodesNote() (out []Attention) {
	for _, n := range slices.Concat([]node.Node{f.system.self}, f.system.others(), f.system.collectors) {
		for _, note := range n.Facts.Notes {
			out = append(out, systemAttention(KindNode, Warning, strings.TrimSpace(n.Role+" "+n.Name)+": "+note, map[string]string{"role": n.Role, "node": n.Name, "note": note}))
		}
	}
	return out
}
