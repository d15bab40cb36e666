// Package view writes what the command line shows: tables for people, JSON and
// YAML for programs, and the differences between two snapshots.
package view

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/registry"
)

// Format is how a command writes its answer.
type Format string

// Formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats are the names of all formats.
var Formats = []string{string(Table), string(JSON), string(YAML)}

// Encode writes v as JSON or YAML, ending in a newline.
func Encode(w io.Writer, f Format, v any) error {
	var raw []byte
	var err error
	if f == YAML {
		raw, err = yaml.Marshal(v)
	} else {
		raw, err = json.MarshalIndent(v, "", "  ")
		raw = append(raw, '\n')
	}
	if err != nil {
		return fmt.Errorf("encode as %s: %w", f, err)
	}
	_, err = w.Write(raw)
	return err
}

// Row is one line of a table.
type Row []string

// WriteTable writes rows under a header, each column as wide as it has to be.
func WriteTable(w io.Writer, header Row, rows []Row) error {
	widths := make([]int, len(header))
	all := append([]Row{header}, rows...)
	for _, r := range all {
		for i, cell := range r {
			widths[i] = max(widths[i], width(cell))
		}
	}
	var b strings.Builder
	for _, r := range all {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-width(cell)+3))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wide are the scripts and signs that take two columns of a terminal.
var wide = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo, unicode.Yi, {
	R16: []unicode.Range16{{Lo: 0x3001, Hi: 0x303e, Stride: 1}, {Lo: 0x30fb, Hi: 0x30fc, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe4f, Stride: 1}, {Lo: 0xff01, Hi: 0xff60, Stride: 1}, {Lo: 0xffe0, Hi: 0xffe6, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, {Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1}},
}}

// width is how many columns of a terminal a text takes.
func width(s string) (n int) {
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case 0xff61 <= r && r <= 0xffdc: // half-width
			n++
		case r >= 0x1100 && unicode.In(r, wide...):
			n += 2
		default:
			n++
		}
	}
	return n
}

// Bytes is a size as people read it, "1.2 GiB".
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, of := float64(n)/unit, 0
	for ; size >= unit && of < 3; of++ {
		size /= unit
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGT"[of])
}

// AppTable is a list of applications with its header; of several clusters, where they
// are named, and by which registry each is called first, where that is said of one.
func AppTable(list []registry.Snapshot, clusters []string) (header Row, rows []Row) {
	chosen := slices.ContainsFunc(list, func(s registry.Snapshot) bool { return s.Choice != "" })
	header = Row{"APPLICATION", "CALLABLE", "MODE", "SPEAKS", "HELD BACK"}
	if chosen {
		header = slices.Insert(header, 3, "REGISTRY")
	}
	if len(clusters) > 0 {
		header = slices.Insert(header, 2, "CLUSTERS")
	}
	for n := range list {
		s := &list[n]
		sum := registry.Summarize(*s)
		row := Row{s.App.String(), Callable(sum) + kept(sum), string(s.Mode), dash(speaks(sum.Endpoints)), dash(heldBack(sum.Held))}
		if chosen {
			row = slices.Insert(row, 3, dash(string(s.Choice)))
		}
		if len(clusters) > 0 {
			row = slices.Insert(row, 2, dash(inClusters(sum.Clusters, clusters)))
		}
		rows = append(rows, row)
	}
	return header, rows
}

// inClusters counts the instances of each cluster, in the order of the clusters:
// "east 2 of 2, west 0 of 3 (3 stand by)".
func inClusters(counts []registry.ClusterCount, order []string) string {
	out := make([]string, 0, len(counts))
	for _, name := range order {
		at := slices.IndexFunc(counts, func(c registry.ClusterCount) bool { return c.Cluster == name })
		if at < 0 {
			continue
		}
		c := counts[at]
		text := fmt.Sprintf("%s %d of %d", c.Cluster, c.Callable, c.Instances)
		if c.Standby > 0 {
			text += " (" + standby(c.Standby) + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// Callable is "2 of 3": how many instances are called, of how many there are.
func Callable(s registry.Summary) string { return fmt.Sprintf("%d of %d", s.Callable, s.Instances) }

// kept is " (1 kept, 2 stand by)" where instances are called though they are not
// ready, or are not called since nearer ones are.
func kept(s registry.Summary) string {
	var parts []string
	if s.Kept > 0 {
		parts = append(parts, fmt.Sprintf("%d kept", s.Kept))
	}
	if s.Standby > 0 {
		parts = append(parts, standby(s.Standby))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// standby is "1 stands by".
func standby(n int) string {
	if n == 1 {
		return "1 stands by"
	}
	return fmt.Sprintf("%d stand by", n)
}

// speaks lists protocols and ports, "dubbo:20000, tri:20001".
func speaks(endpoints []registry.Endpoint) string {
	out := make([]string, len(endpoints))
	for i, e := range endpoints {
		out[i] = e.String()
	}
	return strings.Join(out, ", ")
}

// heldBack counts why instances are not called: "1 not ready, 2 terminating".
func heldBack(held []registry.Held) string {
	out := make([]string, len(held))
	for i, h := range held {
		out[i] = fmt.Sprintf("%d %s", h.Instances, h.Why)
	}
	return strings.Join(out, ", ")
}

// instanceHeader is the header of instanceRow.
var instanceHeader = Row{"INSTANCE", "ADDRESS", "SPEAKS", "HEALTH", "CALLED", "WHY NOT", "NODE"}

// instanceTable are instances with their header; where one names its cluster, all do.
func instanceTable(instances []registry.Instance) (header Row, rows []Row) {
	clustered := slices.ContainsFunc(instances, func(i registry.Instance) bool { return i.Cluster != "" })
	header = instanceHeader
	if clustered {
		header = slices.Insert(slices.Clone(header), 1, "CLUSTER")
	}
	for n := range instances {
		row := instanceRow(&instances[n])
		if clustered {
			row = slices.Insert(row, 1, dash(instances[n].Cluster))
		}
		rows = append(rows, row)
	}
	return header, rows
}

func instanceRow(i *registry.Instance) Row {
	host := "-"
	if i.Host.IsValid() {
		host = i.Host.String()
	}
	return Row{name(i), host, dash(speaks(i.Endpoints)), string(i.Health), called(i), dash(i.Why()), dash(i.Node)}
}

// WriteSnapshot writes all that is known of one application.
func WriteSnapshot(w io.Writer, s registry.Snapshot) error {
	var b strings.Builder
	sum := registry.Summarize(s)
	fmt.Fprintf(&b, "%s   %s callable%s, mode %s", s.App, Callable(sum), kept(sum), s.Mode)
	if s.ModeFrom != "" {
		fmt.Fprintf(&b, " (%s)", s.ModeFrom)
	}
	if s.Choice != "" {
		fmt.Fprintf(&b, ", beside ZooKeeper called by %s (%s)", s.Choice, s.ChoiceFrom)
	}
	b.WriteByte('\n')
	fmt.Fprintf(&b, "service   %s\n", service(s.Service))
	if !s.StaleSince.IsZero() {
		fmt.Fprintf(&b, "stale     since %s: the API server does not answer; this is the last state known\n", s.StaleSince.Local().Format("15:04:05"))
	}
	b.WriteByte('\n')
	header, rows := instanceTable(s.Instances)
	if len(rows) == 0 {
		b.WriteString("no instances\n")
	} else if err := WriteTable(&b, header, rows); err != nil {
		return err
	}
	for i := range s.Instances {
		in := &s.Instances[i]
		fmt.Fprintf(&b, "\n%s\n", name(in))
		for _, line := range details(in) {
			fmt.Fprintf(&b, "  %-10s %s\n", line[0], line[1])
		}
		for _, key := range sortedKeys(in.Metadata) {
			fmt.Fprintf(&b, "    %s = %s\n", key, in.Metadata[key])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// details are the lines about one instance that the table has no room for.
func details(i *registry.Instance) [][2]string {
	var out [][2]string
	add := func(key, value string) {
		if value != "" {
			out = append(out, [2]string{key, value})
		}
	}
	add("id", i.ID)
	add("revision", i.Revision)
	if i.Details.Weight != 0 && i.Details.Weight != registry.DefaultWeight {
		add("weight", fmt.Sprint(i.Details.Weight))
	}
	add("tag", i.Details.Tag)
	add("zone", i.Zone)
	add("cluster", i.Cluster)
	if !i.Details.Started.IsZero() {
		add("started", i.Details.Started.Local().Format("2006-01-02 15:04:05"))
	}
	if i.Kept != nil {
		add("kept", i.Kept.String())
	}
	add("warning", i.Warning)
	if !i.Registered() {
		add("metadata", "none: the instance has registered nothing")
	} else {
		add("metadata", fmt.Sprintf("%d keys", len(i.Metadata)))
	}
	return out
}

func service(s registry.Service) string {
	if s.Host == "" && len(s.Ports) == 0 {
		return "none: no Service bears the application's name"
	}
	ports := make([]string, 0, len(s.Ports))
	for _, p := range s.Ports {
		text := fmt.Sprint(p.Port)
		if p.Target != 0 && p.Target != p.Port {
			text += fmt.Sprintf("→%d", p.Target)
		}
		if p.Name != "" {
			text = p.Name + " " + text
		}
		ports = append(ports, text)
	}
	text := s.Host
	if text == "" {
		text = "one of another cluster, without a name here"
	}
	if len(ports) > 0 {
		text += " (" + strings.Join(ports, ", ") + ")"
	}
	switch {
	case s.External:
		text += ", an ExternalName: it is called by its name"
	case s.Headless:
		text += ", headless: Service mode cannot be had"
	}
	return text
}

// name is the pod's name, or the id of an instance outside Kubernetes.
func name(i *registry.Instance) string {
	if i.Name != "" {
		return i.Name
	}
	return i.ID
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// called is whether an instance gets new calls: "yes", "no" or, though it is not
// ready, "kept".
func called(i *registry.Instance) string {
	switch {
	case !i.Callable():
		return "no"
	case i.Kept != nil:
		return "kept"
	}
	return "yes"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
