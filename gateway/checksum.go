package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"slices"
)

// Sum is a checksum over a set of routes that can follow the set: adding a
// version or taking it away are the same operation, Toggle, and the order is
// none. The zero Sum is that of no routes.
type Sum [sha256.Size]byte //nolint:recvcheck // a value to write down, a place to toggle in

// Toggle adds a version to the set, or takes one away that is in it. A version
// is told by its key, its revision and when it was written, which are never
// given twice, rather than by the route's text: gateways of different ages that
// have the same version then agree.
func (s *Sum) Toggle(v Version) {
	var b []byte
	for _, part := range []string{v.Route.Namespace, v.Route.Name} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(v.Revision))
	b = binary.BigEndian.AppendUint64(b, uint64(v.Created.UnixMicro())) // the resolution of PostgreSQL
	for i, x := range sha256.Sum256(b) {
		s[i] ^= x
	}
}

// String returns the sum as Delta and Node have it.
func (s Sum) String() string { return "set256:" + hex.EncodeToString(s[:]) }

// Checksum returns the checksum of the routes that live; tombstones do not
// count. Two tables with one checksum hold the same versions of the same routes.
func Checksum(routes []Version) string { return ChecksumOf(slices.Values(routes)) }

// ChecksumOf is Checksum over a sequence, such as maps.Values.
func ChecksumOf(routes iter.Seq[Version]) string {
	var s Sum
	for v := range routes {
		if !v.Deleted {
			s.Toggle(v)
		}
	}
	return s.String()
}
