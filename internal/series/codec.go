package series

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/weirmesh/weir/governance"
)

// A chunk is the byte 1 and then, deflated, columns over its seconds, so that
// like stands beside like:
//
//	uvarint  how many seconds, 1 to 60
//	uvarint  for each second how far it is from the one before; the first from
//	         the minute's begin
//	varint   for each of the eleven counts, and the calls in flight, for each
//	         second the difference from the second before
//	byte     for each second its state, 0x80 added where the sample is lossy
//	uvarint  for each second the length of its latency sketch
//	bytes    the sketches
//
// A bucket is the byte 1 and then the eleven counts, calls in flight and
// instances as uvarints, a byte that is 1 where it is lossy, how many states
// follow (uvarint), for each a byte and how many instances (uvarint), and the
// latency sketch up to the end.
const (
	codecVersion = 1
	minute       = 60
	// maxInflated is more than sixty of the largest sketches take.
	maxInflated = 2 << 20
	maxSketch   = 16 << 10
)

// states by their codes, which are never given another meaning.
var states = []governance.State{
	"", governance.StateClosed, governance.StateOpen, governance.StateHalfOpen,
	governance.StateForcedOpen, governance.StateForcedClosed, governance.StateDisabled,
}

const lossyBit = 0x80

// errCodec is what all of this file's decoding errors wrap.
var errCodec = errors.New("not an encoded series")

func stateCode(s governance.State) byte { return byte(max(0, slices.Index(states, s))) }

func columns(c *governance.Counts) [11]*int64 {
	return [11]*int64{
		&c.Success, &c.Failure, &c.Ignored, &c.Timeout, &c.Canceled, &c.Rejected, &c.ShortCircuited, &c.Switched,
		&c.FallbackSuccess, &c.FallbackFailure, &c.Slow,
	}
}

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

type inflater interface {
	io.Reader
	flate.Resetter
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

// EncodeChunk encodes the samples of one minute, which begins at the Unix second
// start: at least one, each of another second of it, in order.
func EncodeChunk(start int64, samples []governance.Sample) ([]byte, error) {
	raw := binary.AppendUvarint(nil, uint64(len(samples)))
	before := start
	for i, s := range samples {
		if s.Second < start || s.Second >= start+minute || i > 0 && s.Second <= before || len(s.Latency) > maxSketch {
			return nil, fmt.Errorf("encode a chunk: second %d does not belong after %d in the minute of %d", s.Second, before, start)
		}
		raw = binary.AppendUvarint(raw, uint64(s.Second-before))
		before = s.Second
	}
	for col := range len(columns(&governance.Counts{})) {
		var last int64
		for i := range samples {
			v := *columns(&samples[i].Counts)[col]
			raw = binary.AppendVarint(raw, v-last)
			last = v
		}
	}
	var last int64
	for _, s := range samples {
		raw = binary.AppendVarint(raw, int64(s.InFlight)-last)
		last = int64(s.InFlight)
	}
	for _, s := range samples {
		code := stateCode(s.State)
		if s.Lossy {
			code |= lossyBit
		}
		raw = append(raw, code)
	}
	for _, s := range samples {
		raw = binary.AppendUvarint(raw, uint64(len(s.Latency)))
	}
	for _, s := range samples {
		raw = append(raw, s.Latency...)
	}
	out := bytes.NewBuffer(make([]byte, 0, 64+len(raw)/2))
	out.WriteByte(codecVersion)
	w := deflaters.Get().(*flate.Writer) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer deflaters.Put(w)
	w.Reset(out)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// DecodeChunk returns the samples of the minute that begins at start, each with
// the given series.
func DecodeChunk(start int64, sr governance.Series, data []byte) ([]governance.Sample, error) {
	if len(data) == 0 || data[0] != codecVersion {
		return nil, fmt.Errorf("%w: a chunk of another version", errCodec)
	}
	inflate := inflaters.Get().(inflater) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer inflaters.Put(inflate)
	if err := inflate.Reset(bytes.NewReader(data[1:]), nil); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(inflate, maxInflated+1))
	if err != nil || len(raw) > maxInflated {
		return nil, fmt.Errorf("%w: a chunk that does not inflate", errCodec)
	}
	r := reader{data: raw}
	n := int(r.uvarint(minute))
	if r.bad || n < 1 {
		return nil, fmt.Errorf("%w: a chunk of %d seconds", errCodec, n)
	}
	out := make([]governance.Sample, n)
	at := start
	for i := range out {
		step := int64(r.uvarint(minute - 1))
		if i > 0 && step == 0 {
			r.bad = true
		}
		at += step
		out[i] = governance.Sample{Series: sr, Second: at}
	}
	if at >= start+minute {
		r.bad = true
	}
	for col := range len(columns(&governance.Counts{})) {
		var last int64
		for i := range out {
			last += r.varint()
			*columns(&out[i].Counts)[col] = last
		}
	}
	var last int64
	for i := range out {
		last += r.varint()
		out[i].InFlight = int(last)
	}
	for i := range out {
		code := r.byte()
		out[i].Lossy = code&lossyBit != 0
		out[i].State = r.state(code &^ lossyBit)
	}
	lengths := make([]int, n)
	for i := range out {
		lengths[i] = int(r.uvarint(maxSketch))
	}
	for i := range out {
		out[i].Latency = r.bytes(lengths[i])
	}
	if r.bad || len(r.data) > 0 {
		return nil, fmt.Errorf("%w: a chunk that is cut off, or followed by something", errCodec)
	}
	return out, nil
}

// EncodeBucket encodes a bucket but for its Start.
func EncodeBucket(b Bucket) []byte {
	out := []byte{codecVersion}
	for _, v := range columns(&b.Counts) {
		out = binary.AppendUvarint(out, uint64(*v))
	}
	out = binary.AppendUvarint(out, uint64(b.InFlight))
	out = binary.AppendUvarint(out, uint64(b.Instances))
	lossy := byte(0)
	if b.Lossy {
		lossy = 1
	}
	out = append(out, lossy)
	out = binary.AppendUvarint(out, uint64(len(b.States)))
	for code, s := range states {
		if n, ok := b.States[s]; ok {
			out = append(out, byte(code))
			out = binary.AppendUvarint(out, uint64(n))
		}
	}
	return append(out, b.Latency...)
}

// DecodeBucket returns the bucket that starts at the Unix second start.
func DecodeBucket(start int64, data []byte) (Bucket, error) {
	b := Bucket{Start: start}
	r := reader{data: data}
	if r.byte() != codecVersion {
		return b, fmt.Errorf("%w: a bucket of another version", errCodec)
	}
	for _, v := range columns(&b.Counts) {
		*v = int64(r.uvarint(1<<63 - 1))
	}
	b.InFlight = int(r.uvarint(1<<62 - 1))
	b.Instances = int(r.uvarint(1<<62 - 1))
	b.Lossy = r.byte() == 1
	n := int(r.uvarint(uint64(len(states))))
	for range n {
		if r.bad {
			break
		}
		if b.States == nil {
			b.States = make(map[governance.State]int, n)
		}
		b.States[r.state(r.byte())] = int(r.uvarint(1<<62 - 1))
	}
	if len(r.data) > maxSketch || r.bad || len(b.States) != n {
		return b, fmt.Errorf("%w: a bucket that is cut off, or too long", errCodec)
	}
	if len(r.data) > 0 {
		b.Latency = slices.Clone(r.data)
	}
	return b, nil
}

// reader takes values off the front of data; once something is wrong, bad stays
// set and everything else reads as zero.
type reader struct {
	data []byte
	bad  bool
}

func (r *reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.data)
	if r.bad || n <= 0 || v > most {
		r.bad = true
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) byte() byte {
	if r.bad || len(r.data) == 0 {
		r.bad = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n > len(r.data) {
		r.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) state(code byte) governance.State {
	if int(code) >= len(states) {
		r.bad = true
		return ""
	}
	return states[code]
}
