package proxy

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
)

// noPriority is below every priority: that of a node with no routes under it.
const noPriority = math.MinInt

// edit is the identity of one build. What a build has made itself it may change
// in place; anything else is shared with tables that requests read, and copied.
type edit struct{ _ byte }

// dict is a persistent map from strings to nodes: a hash trie of 32 ways, whose
// changes copy the few nodes on one path. It knows the highest priority of all
// below, so that neither a change nor a search has to look at every entry. The
// nil dict is empty.
type dict struct {
	owner  *edit
	bitmap uint32
	slots  []slot
	max    int
}

// slot is an entry, or, where sub is set, a dict of those whose hashes begin
// alike.
type slot struct {
	key   string
	value *node
	sub   *dict
}

const (
	hashBits = 64
	dictBits = 5 // of the hash for each level
	few      = 4
)

var hashSeed = maphash.MakeSeed()

func hashOf(key string) uint64 { return maphash.String(hashSeed, key) }

// get returns the node at key, or nil.
func (d *dict) get(key string) *node {
	if d == nil {
		return nil
	}
	if len(d.slots) <= few { // most places have few ways on: looking is cheaper than hashing
		deeper := false
		for i := range d.slots {
			if s := &d.slots[i]; s.sub != nil {
				deeper = true
			} else if s.key == key {
				return s.value
			}
		}
		if !deeper {
			return nil
		}
	}
	return d.find(key, hashOf(key), 0)
}

func (d *dict) find(key string, hash uint64, shift uint) *node {
	for {
		if shift >= hashBits { // equal hashes stand in a list
			for i := range d.slots {
				if d.slots[i].key == key {
					return d.slots[i].value
				}
			}
			return nil
		}
		bit := uint32(1) << (hash >> shift & (1<<dictBits - 1))
		if d.bitmap&bit == 0 {
			return nil
		}
		s := &d.slots[bits.OnesCount32(d.bitmap&(bit-1))]
		if s.sub == nil {
			if s.key == key {
				return s.value
			}
			return nil
		}
		d, shift = s.sub, shift+dictBits
	}
}

// put returns a dict with value at key; a nil value takes the entry out. The
// result is nil when it is empty.
func (d *dict) put(e *edit, key string, value *node) *dict {
	return d.set(e, key, hashOf(key), 0, value)
}

func (d *dict) set(e *edit, key string, hash uint64, shift uint, value *node) *dict {
	if d == nil {
		if value == nil {
			return nil
		}
		d = &dict{owner: e}
	} else if d.owner != e {
		d = &dict{owner: e, bitmap: d.bitmap, slots: slices.Clone(d.slots), max: d.max}
	}
	var at int
	var there bool
	var bit uint32
	if shift >= hashBits {
		at = slices.IndexFunc(d.slots, func(s slot) bool { return s.key == key })
		if there = at >= 0; !there {
			at = len(d.slots)
		}
	} else {
		bit = uint32(1) << (hash >> shift & (1<<dictBits - 1))
		at, there = bits.OnesCount32(d.bitmap&(bit-1)), d.bitmap&bit != 0
	}
	switch {
	case !there:
		if value != nil {
			d.slots = slices.Insert(d.slots, at, slot{key: key, value: value})
			d.bitmap |= bit
		}
	case d.slots[at].sub != nil:
		d.replace(at, bit, slot{sub: d.slots[at].sub.set(e, key, hash, shift+dictBits, value)})
	case d.slots[at].key == key:
		d.replace(at, bit, slot{key: key, value: value})
	case value != nil: // two keys whose hashes begin alike
		old := d.slots[at]
		var sub *dict
		sub = sub.set(e, old.key, hashOf(old.key), shift+dictBits, old.value)
		sub = sub.set(e, key, hash, shift+dictBits, value)
		d.slots[at] = slot{sub: sub}
	}
	if len(d.slots) == 0 {
		return nil
	}
	d.max = noPriority
	for i := range d.slots {
		d.max = max(d.max, d.slots[i].priority())
	}
	return d
}

// replace puts s in the place of a slot, or takes the place away when s is
// empty. A dict of a single entry is not worth a level of its own.
func (d *dict) replace(at int, bit uint32, s slot) {
	if s.sub != nil && len(s.sub.slots) == 1 && s.sub.slots[0].sub == nil {
		s = s.sub.slots[0]
	}
	if s.sub == nil && s.value == nil {
		d.slots = slices.Delete(d.slots, at, at+1)
		d.bitmap &^= bit
		return
	}
	d.slots[at] = s
}

func (s *slot) priority() int {
	if s.sub != nil {
		return s.sub.max
	}
	return s.value.max
}

// top returns the highest priority below.
func (d *dict) top() int {
	if d == nil {
		return noPriority
	}
	return d.max
}
