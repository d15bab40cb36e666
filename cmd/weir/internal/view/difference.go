package view

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/weirmesh/weir/registry/zookeeper"
)

// WriteDifferences writes what two registries hold of applications, the verdicts
// first.
func WriteDifferences(w io.Writer, list []zookeeper.Difference) error {
	rows := make([]Row, len(list))
	for i, d := range list {
		app := d.App.String()
		if d.App.Namespace == "" {
			app = d.App.Name
		}
		rows[i] = Row{app, held(d.ZooKeeper), held(d.Kubernetes), lookers(d.Consumers), string(d.Verdict)}
	}
	if err := WriteTable(w, Row{"APPLICATION", "ZOOKEEPER", "KUBERNETES", "STILL LOOK IN ZOOKEEPER", "VERDICT"}, rows); err != nil {
		return err
	}
	for i, d := range list {
		if err := writeDifference(w, rows[i][0], d); err != nil {
			return err
		}
	}
	return nil
}

func writeDifference(w io.Writer, app string, d zookeeper.Difference) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n", app, d.Why)
	for _, e := range d.OnlyZooKeeper {
		fmt.Fprintf(&b, "  - only in ZooKeeper   %s\n", entry(e))
	}
	for _, m := range d.Differing {
		fmt.Fprintf(&b, "  ~ %s differs   %s: ZooKeeper %s, Kubernetes %s\n", m.Field, entry(m.Entry), dash(m.ZooKeeper), dash(m.Kubernetes))
	}
	for _, e := range d.OnlyKubernetes {
		fmt.Fprintf(&b, "  + only in Kubernetes  %s\n", entry(e))
	}
	for _, r := range d.Rules {
		fmt.Fprintf(&b, "  ! %s in ZooKeeper for %s, which Kubernetes does not know: %s\n", r.Kind, cmp.Or(r.Interface, r.App), r.Says)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(&b, "  ! %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func entry(e zookeeper.Entry) string {
	text := e.Address.String()
	if e.Protocol == "" {
		text = strings.TrimPrefix(text, "://")
	}
	if e.Interface != "" {
		text += " " + e.Interface
	}
	if e.Instance != "" {
		text += " (" + e.Instance + ")"
	}
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// held returns "2 addresses, 3 interfaces".
func held(h zookeeper.Holding) string {
	if h.Addresses == 0 {
		return "-"
	}
	text := Plural(h.Addresses, "address", "addresses")
	if h.Interfaces > 0 {
		text += ", " + Plural(h.Interfaces, "interface", "interfaces")
	}
	return text
}

// Plural is "1 application" and "2 applications".
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func lookers(list []zookeeper.Looker) string {
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = fmt.Sprintf("%s (%d)", l.App, l.Processes)
	}
	return dash(strings.Join(names, ", "))
}
