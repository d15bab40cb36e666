package postgres

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/weirmesh/weir/tracing"
)

// maxPayload is about how much one row holds, in bytes before compression: a trace
// that brings more at once has several, so that none is too large to be read.
const maxPayload = 4 << 20

// maxTerm is the longest value, in bytes, that can be searched for by an index;
// longer ones are found by their key, more slowly.
const maxTerm = 256

// hashString is what stands for a service in a row. Two names may have one hash:
// rows say where to look, not what is there.
func hashString(text string) int32 { return int32(xxhash.Sum64String(text)) }

// Terms of names have a prefix that no tag's key begins with.
const (
	spanPrefix   = "\x00s"
	remotePrefix = "\x00r"
)

// termBits is the length of the hash of a term. It is short on purpose: most terms
// are unique, such as the id of an order, and an index with an entry for each would
// be larger than what it indexes. With a million entries, a look for one term of
// fifty million fragments finds about a thousand others besides, which is faster
// than an index that does not fit into memory.
const termBits = 20

func termHash(text []byte) int32 { return int32(xxhash.Sum64(text) & (1<<termBits - 1)) }

func termHashString(text string) int32 {
	return int32(xxhash.Sum64String(text) & (1<<termBits - 1))
}

// term returns the hash of what a condition of a query needs a fragment to have.
func term(c tracing.Condition) int32 {
	if c.Value == "" || len(c.Value) > maxTerm {
		return termHashString(c.Key)
	}
	return termHashString(c.Key + "=" + c.Value)
}

// place is one span of a batch.
type place struct {
	trace   uint64
	service string
	span    *tracing.Span
}

// encoder turns a batch of spans into rows in PostgreSQL's binary copy format. It
// is used again for one batch after the other.
type encoder struct {
	places []place
	rows   []byte
	traces []int64
	terms  []int32
	proto  []byte
	text   []byte
}

var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

const copyColumns = "at, trace, service, longest, batch, terms, payload"

// encode fills e.rows and e.traces. lowest and highest bound the time of a row,
// now is that of spans without one. sample, if not nil, is given the payload of
// each row before it is compressed.
func (e *encoder) encode(waiting []*pending, batch, lowest, now, highest int64, compress *zstd.Encoder, sample func([]byte)) {
	e.places, e.traces = e.places[:0], e.traces[:0]
	for _, p := range waiting {
		for i := range p.spans {
			s := &p.spans[i]
			e.places = append(e.places, place{s.TraceID.Low, s.Local.Service, s})
		}
	}
	slices.SortStableFunc(e.places, func(a, b place) int {
		if a.trace != b.trace {
			return cmp.Compare(a.trace, b.trace)
		}
		return cmp.Compare(a.service, b.service)
	})
	e.rows = append(e.rows[:0], copyHeader...)
	for from := 0; from < len(e.places); {
		first := e.places[from]
		to := from + 1
		for to < len(e.places) && e.places[to].trace == first.trace && e.places[to].service == first.service {
			to++
		}
		if n := len(e.traces); n == 0 || e.traces[n-1] != int64(first.trace) {
			e.traces = append(e.traces, int64(first.trace))
		}
		for from < to {
			from += e.row(e.places[from:to], batch, lowest, now, highest, compress, sample)
		}
	}
	e.rows = binary.BigEndian.AppendUint16(e.rows, math.MaxUint16) // the end
}

// row appends one row with the first of the places, and returns with how many.
func (e *encoder) row(places []place, batch, lowest, now, highest int64, compress *zstd.Encoder, sample func([]byte)) (used int) {
	var at, longest int64
	e.terms, e.proto = e.terms[:0], e.proto[:0]
	for used < len(places) && len(e.proto) < maxPayload {
		s := places[used].span
		used++
		if s.Timestamp != 0 && (at == 0 || s.Timestamp < at) {
			at = s.Timestamp
		}
		longest = max(longest, s.Duration)
		e.addTerms(s)
		e.proto = tracing.AppendProto(e.proto, *s)
	}
	if at == 0 {
		at = now
	}
	if sample != nil {
		sample(e.proto)
	}
	slices.Sort(e.terms)
	e.terms = slices.Compact(e.terms)

	b := e.rows
	b = binary.BigEndian.AppendUint16(b, 7)
	b = appendInt64(b, min(max(at, lowest), highest))
	b = appendInt64(b, int64(places[0].trace))
	b = appendInt32(b, hashString(places[0].service))
	b = appendInt32(b, int32(min(longest, math.MaxInt32)))
	b = appendInt64(b, batch)
	b = appendInt32Array(b, e.terms)
	length := len(b)
	b = append(b, 0, 0, 0, 0)
	b = compress.EncodeAll(e.proto, b)
	binary.BigEndian.PutUint32(b[length:], uint32(len(b)-length-4))
	e.rows = b
	return used
}

func (e *encoder) addTerms(s *tracing.Span) {
	add := func(prefix, text string) {
		e.text = append(append(e.text[:0], prefix...), text...)
		e.terms = append(e.terms, termHash(e.text))
	}
	if s.Name != "" {
		add(spanPrefix, s.Name)
	}
	if s.Remote.Service != "" {
		add(remotePrefix, s.Remote.Service)
	}
	for _, t := range s.Tags {
		e.terms = append(e.terms, termHashString(t.Key))
		if t.Value != "" && len(t.Value) <= maxTerm {
			e.text = append(append(append(e.text[:0], t.Key...), '='), t.Value...)
			e.terms = append(e.terms, termHash(e.text))
		}
	}
	for _, a := range s.Annotations {
		e.terms = append(e.terms, termHashString(a.Value))
	}
}

func appendInt64(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(v))
}

func appendInt32(b []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 4), uint32(v))
}

const int4OID = 23

func appendInt32Array(b []byte, list []int32) []byte {
	dimensions, size := uint32(1), 20+8*len(list)
	if len(list) == 0 {
		dimensions, size = 0, 12
	}
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, dimensions)
	b = binary.BigEndian.AppendUint32(b, 0) // no nulls
	b = binary.BigEndian.AppendUint32(b, int4OID)
	if len(list) == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	b = binary.BigEndian.AppendUint32(b, 1)
	for _, v := range list {
		b = appendInt32(b, v)
	}
	return b
}
