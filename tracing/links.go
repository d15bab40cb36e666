package tracing

import (
	"cmp"
	"slices"
	"strings"
)

// Link says how often one service called another.
type Link struct {
	Parent string `json:"parent"`
	Child  string `json:"child"`
	Calls  int64  `json:"callCount"`
	Errors int64  `json:"errorCount,omitempty"`
}

type edge struct{ parent, child string }

// Links returns who calls whom in one trace, by Zipkin's rules: of a call seen by
// both sides the server's counts; a client without a server below it counts by
// the name it gave the server; messages link services with their broker only; and
// what is local is passed over on the way to the nearest caller. The result
// depends on the set of spans alone, not on their order, and repeated spans count
// once. It is sorted by parent and child.
func Links(spans []Span) []Link {
	root := Tree(spans)
	if root == nil {
		return nil
	}
	counts := make(map[edge]Link)
	add := func(parent, child string, failed bool) {
		l := counts[edge{parent, child}]
		l.Parent, l.Child = parent, child
		l.Calls++
		if failed {
			l.Errors++
		}
		counts[edge{parent, child}] = l
	}
	for n := range root.All() {
		linkNode(root, n, add)
	}
	out := make([]Link, 0, len(counts))
	for _, l := range counts {
		out = append(out, l)
	}
	sortLinks(out)
	return out
}

func linkNode(root, n *Node, add func(parent, child string, failed bool)) {
	s := n.Span
	local, remote := s.Local.Service, s.Remote.Service
	kind := s.Kind
	if kind == Client && len(n.Children) > 0 {
		return // the server's name is the better one
	}
	if kind == KindUnset {
		if local == "" || remote == "" {
			return
		}
		kind = Client
	}
	var parent, child string
	switch kind {
	case Server, Consumer:
		parent, child = remote, local
		if n == root && parent == "" {
			return // nobody knows who called
		}
	default:
		parent, child = local, remote
	}
	_, failed := s.Tag("error")
	if kind == Producer || kind == Consumer {
		if parent != "" && child != "" {
			add(parent, child, failed)
		}
		return
	}
	if a := caller(n); a != nil && a.Local.Service != "" {
		if kind == Client && local != "" && a.Local.Service != local {
			add(a.Local.Service, local, false) // a span between the two was not sent
		}
		if kind == Server || parent == "" {
			parent = a.Local.Service
		}
		if !failed && a.Kind == Client && s.ParentID == a.ID {
			_, failed = a.Tag("error")
		}
	}
	if parent != "" && child != "" {
		add(parent, child, failed)
	}
}

// caller is the nearest ancestor that is no local span.
func caller(n *Node) *Span {
	for up := n.Parent; up != nil; up = up.Parent {
		if up.Span != nil && up.Span.Kind != KindUnset {
			return up.Span
		}
	}
	return nil
}

// MergeLinks sums links of the same two services, leaves out those that come to
// nothing, and sorts by parent and child.
func MergeLinks(links ...[]Link) []Link {
	counts := make(map[edge]Link)
	for _, list := range links {
		for _, l := range list {
			sum := counts[edge{l.Parent, l.Child}]
			sum.Parent, sum.Child = l.Parent, l.Child
			sum.Calls += l.Calls
			sum.Errors += l.Errors
			counts[edge{l.Parent, l.Child}] = sum
		}
	}
	out := make([]Link, 0, len(counts))
	for _, l := range counts {
		if l.Calls != 0 || l.Errors != 0 {
			out = append(out, l)
		}
	}
	sortLinks(out)
	return out
}

func sortLinks(links []Link) {
	slices.SortFunc(links, func(a, b Link) int {
		return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Child, b.Child))
	})
}

// TraceTime returns when a trace began, in microseconds since 1970: the earliest
// time of a span without a parent or, where there is none, of any span; 0 if no
// span has a time.
func TraceTime(spans []Span) int64 {
	var root, first int64
	for i := range spans {
		t := spans[i].Timestamp
		if t == 0 {
			continue
		}
		if spans[i].ParentID == 0 && (root == 0 || t < root) {
			root = t
		}
		if first == 0 || t < first {
			first = t
		}
	}
	return cmp.Or(root, first)
}
