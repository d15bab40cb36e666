package kube

import (
	"crypto/sha256"
	"encoding/hex"
)

// uid is the UID of a pod as it is kept: the 16 bytes of a UUID, which is what API
// servers make, in place of its 36 letters; of any other text a hash. The zero uid is
// nobody's.
type uid [16]byte

// groups are where the parts of a UUID's text begin and end.
var groups = [...][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}}

// parseUID reads a UID. odd is the text where the uid alone does not tell it; else
// empty.
func parseUID(text string) (u uid, odd string) {
	if len(text) == 0 {
		return u, ""
	}
	if len(text) == 36 {
		digits := make([]byte, 0, 32)
		for _, g := range groups {
			digits = append(digits, text[g[0]:g[1]]...)
		}
		if _, err := hex.Decode(u[:], digits); err == nil && u != (uid{}) && u.String() == text {
			return u, ""
		}
	}
	sum := sha256.Sum256([]byte(text))
	return uid(sum[:16]), text
}

// String returns the text of a UUID.
func (u uid) String() string {
	text := u.text()
	return string(text[:])
}

func (u uid) text() (text [36]byte) {
	at := 0
	for i, g := range groups {
		if i > 0 {
			text[g[0]-1] = '-'
		}
		n := (g[1] - g[0]) / 2
		hex.Encode(text[g[0]:g[1]], u[at:at+n])
		at += n
	}
	return text
}
