package tracing

import (
	"cmp"
	"iter"
	"slices"
)

// Node is a span in its place in the tree of its trace.
type Node struct {
	Span     *Span // nil for a root that no span was sent for
	Parent   *Node // nil for the root
	Children []*Node
}

// All yields the nodes below and including n that have a span, breadth-first.
func (n *Node) All() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for queue := []*Node{n}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			if at.Span != nil && !yield(at) {
				return
			}
			queue = append(queue, at.Children...)
		}
	}
}

// place is where a span stands: its id, and for a shared one its endpoint, as
// several servers may have answered one client's span.
type place struct {
	id       ID
	shared   bool
	endpoint Endpoint
}

// treeBuilder finds each span's parent as Zipkin does.
type treeBuilder struct {
	root    *Node
	nodes   map[place]*Node
	parents map[place]place // the zero place for none
	order   []place         // keys of parents, in the order they came
}

// Tree merges the spans of one trace and puts them in the order of calls: a
// shared span below the client with its id, any other below the shared span of
// its own endpoint that has its parent's id, or else below its parent. The first
// span without a parent is the root. Spans whose parent was not sent stand below
// the root, which has no span of its own if every one sent names a parent.
// Siblings are sorted by time. Spans that are each other's ancestors are left out,
// and of two that claim one place all but the last. It returns nil for no spans.
func Tree(spans []Span) *Node {
	if len(spans) == 0 {
		return nil
	}
	merged := Merge(spans)
	b := treeBuilder{nodes: make(map[place]*Node, len(merged)), parents: make(map[place]place, len(merged))}
	for i := range merged {
		b.index(&merged[i])
	}
	for i := range merged {
		b.process(&merged[i])
	}
	if b.root == nil {
		b.root = &Node{}
	}
	for _, at := range b.order {
		up, listed := b.parents[at]
		child := b.nodes[at]
		if !listed || child == nil || child == b.root {
			continue
		}
		parent := b.nodes[up]
		if up == (place{}) || parent == nil || parent == child {
			parent = b.root
		}
		child.Parent = parent
		parent.Children = append(parent.Children, child)
	}
	for n := range b.root.everything() {
		slices.SortStableFunc(n.Children, func(x, y *Node) int { return cmp.Compare(x.Span.Timestamp, y.Span.Timestamp) })
	}
	return b.root
}

// everything is All with the root that has no span.
func (n *Node) everything() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for queue := []*Node{n}; len(queue) > 0; queue = queue[1:] {
			if !yield(queue[0]) {
				return
			}
			queue = append(queue, queue[0].Children...)
		}
	}
}

func (b *treeBuilder) put(at, parent place) {
	if _, again := b.parents[at]; !again {
		b.order = append(b.order, at)
	}
	b.parents[at] = parent
}

func (b *treeBuilder) index(s *Span) {
	if s.Shared {
		b.put(place{s.ID, true, s.Local}, place{id: s.ID})
		return
	}
	b.put(place{id: s.ID}, place{id: s.ParentID})
}

func (b *treeBuilder) process(s *Span) {
	own := place{id: s.ID}
	if s.Shared {
		node := &Node{Span: s}
		// Both ways, for children that do not say where they are.
		b.nodes[place{s.ID, true, s.Local}] = node
		b.nodes[place{id: s.ID, shared: true}] = node
		return
	}
	if s.ParentID == 0 {
		node := &Node{Span: s}
		if b.root == nil {
			b.root = node
			delete(b.parents, own)
			// Children find the root as the parent that is missing.
			return
		}
		b.nodes[own] = node
		return
	}
	if up := (place{s.ParentID, true, s.Local}); b.has(up) {
		b.put(own, up)
	}
	b.nodes[own] = &Node{Span: s}
}

func (b *treeBuilder) has(at place) bool {
	_, ok := b.parents[at]
	return ok
}
