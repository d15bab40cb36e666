package sketch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Encoded, a sketch is
//
//	byte     version, 1
//	uvarint  the largest value, in nanoseconds
//	uvarint  how many bins follow, at most 640
//	and for each bin that is not empty, from the lowest up
//	uvarint  its index, less the index before and one (the first: its index)
//	uvarint  how many values it holds, at least 1
//
// where bin i, 0 to 1092, holds the durations d with γ^(i-1) < d ≤ γ^i
// nanoseconds, γ = 1.02/0.98, and bin 0 also all shorter ones. Nothing follows.
// Varints are those of Protocol Buffers (encoding/binary's Uvarint), in their
// shortest form. The largest value lies in the last bin. Equal sketches have equal
// encodings.
const encodingVersion = 1

// maxEncoded is more than any valid encoding takes.
const maxEncoded = 1 + 2*binary.MaxVarintLen64 + maxBins*2*binary.MaxVarintLen64

// AppendBinary appends the encoded sketch to b. The error is always nil; it is
// there for encoding.BinaryAppender.
func (s *Sketch) AppendBinary(b []byte) ([]byte, error) {
	n := 0
	for _, c := range s.bins {
		if c > 0 {
			n++
		}
	}
	b = append(b, encodingVersion)
	b = binary.AppendUvarint(b, uint64(max(s.limit, 0)))
	b = binary.AppendUvarint(b, uint64(n))
	next := 0
	for i, c := range s.bins {
		if c == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(s.first+i-next))
		b = binary.AppendUvarint(b, c)
		next = s.first + i + 1
	}
	return b, nil
}

// MarshalBinary returns the encoded sketch. The error is always nil.
func (s *Sketch) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// UnmarshalBinary makes s the sketch that data encodes. On an error s is as it was.
func (s *Sketch) UnmarshalBinary(data []byte) error {
	if _, err := read(data, nil); err != nil {
		return err
	}
	s.Reset()
	return s.MergeBinary(data)
}

// MergeBinary adds what data encodes to s, as decoding and Merge do, without a
// sketch in between. On an error s is as it was.
func (s *Sketch) MergeBinary(data []byte) error {
	largest, err := read(data, nil)
	if err != nil {
		return err
	}
	// Checked above, so it cannot fail half-way.
	_, err = read(data, func(i int, n uint64) { s.add(i, n) })
	s.limit = max(s.limit, largest)
	return err
}

// read checks data and hands out its bins, from the lowest up.
func read(data []byte, bin func(i int, n uint64)) (largest time.Duration, err error) {
	if len(data) == 0 {
		return 0, errors.New("sketch: no data")
	}
	if data[0] != encodingVersion {
		return 0, fmt.Errorf("sketch: encoding version %d is not known, only %d", data[0], encodingVersion)
	}
	if len(data) > maxEncoded {
		return 0, fmt.Errorf("sketch: %d bytes are more than any sketch takes", len(data))
	}
	data = data[1:]
	next := func() uint64 {
		v, n := binary.Uvarint(data)
		if n <= 0 || n > 1 && data[n-1] == 0 {
			if err == nil {
				err = errors.New("sketch: cut short, or a number that is not in its shortest form")
			}
			return 0
		}
		data = data[n:]
		return v
	}
	limit, bins := next(), next()
	if err != nil {
		return 0, err
	}
	if limit > math.MaxInt64 || bins > maxBins {
		return 0, fmt.Errorf("sketch: %d bins, or a largest value of %d ns, are out of range", bins, limit)
	}
	at, first, total := -1, 0, uint64(0)
	for k := range bins {
		gap, n := next(), next()
		if err != nil {
			return 0, err
		}
		if gap > maxIndex || n == 0 || total+n < total {
			return 0, errors.New("sketch: a bin out of range, without a value, or with too many")
		}
		total += n
		at += int(gap) + 1
		if k == 0 {
			first = at
		}
		if at > maxIndex || at-first >= maxBins {
			return 0, fmt.Errorf("sketch: bins %d to %d are out of range", first, at)
		}
		if bin != nil {
			bin(at, n)
		}
	}
	if len(data) > 0 {
		return 0, fmt.Errorf("sketch: %d bytes too many", len(data))
	}
	// Logarithms may differ in their last bit between machines.
	largest = time.Duration(limit)
	if off := index(largest) - at; bins > 0 && (off < -1 || off > 1) || bins == 0 && limit != 0 {
		return 0, errors.New("sketch: the largest value is not in the last bin")
	}
	return largest, nil
}
