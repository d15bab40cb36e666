package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What one password costs: argon2id with 19 MiB, two passes and one lane.
const (
	argonMemory  = 19 * 1024 // KiB
	argonPasses  = 2
	argonLanes   = 1
	argonKeySize = 32
	saltSize     = 16
)

// Bounds of what a stored hash may ask for, so that a row cannot take the
// memory of the process.
const (
	maxArgonMemory = 256 * 1024
	maxArgonPasses = 16
)

// Bounds of a password, in bytes.
const (
	MinPassword = 12
	MaxPassword = 256
)

// Passwords hashes and checks passwords. At most a few at a time: each takes
// 19 MiB and some tens of milliseconds of a core. The zero value is not usable.
type Passwords struct {
	slots chan struct{}
	dummy string
}

// NewPasswords allows so many hashes at a time, 2 when zero.
func NewPasswords(atOnce int) *Passwords {
	if atOnce <= 0 {
		atOnce = 2
	}
	return &Passwords{slots: make(chan struct{}, atOnce), dummy: encodePassword("", make([]byte, saltSize))}
}

// Random returns a new password of 100 random bits, in groups that can be typed.
func (p *Passwords) Random() string {
	text := strings.ToLower(rand.Text())
	return text[0:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:20]
}

// Hash returns what to store of a password. It fails only when ctx ends before
// its turn.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	var out string
	err := p.turn(ctx, func() { out = encodePassword(password, salt) })
	return out, err
}

// Check reports whether a password is the one of a stored hash. An empty hash
// takes as long as any other and matches nothing, so that an answer's time does
// not tell which accounts exist.
func (p *Passwords) Check(ctx context.Context, password, hash string) (bool, error) {
	match := false
	known := hash != ""
	if !known {
		hash = p.dummy
	}
	if len(password) > MaxPassword {
		password = password[:MaxPassword] + "…" // matches nothing, and costs no more
	}
	var bad error
	err := p.turn(ctx, func() { match, bad = checkPassword(password, hash) })
	if err == nil {
		err = bad
	}
	return match && known, err
}

func (p *Passwords) turn(ctx context.Context, work func()) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
		work()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// encodePassword returns "$argon2id$v=19$m=…,t=…,p=…$salt$key".
func encodePassword(password string, salt []byte) string {
	key := argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonLanes, argonKeySize)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes, enc.EncodeToString(salt), enc.EncodeToString(key))
}

func checkPassword(password, hash string) (bool, error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, fmt.Errorf("access: a stored password is no argon2id hash")
	}
	var version int
	var memory, passes uint32
	var lanes uint8
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return false, fmt.Errorf("access: a stored password has an unknown version %q", parts[2])
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); n != 3 || err != nil ||
		memory < 8 || memory > maxArgonMemory || passes < 1 || passes > maxArgonPasses || lanes < 1 {
		return false, fmt.Errorf("access: a stored password has parameters %q out of bounds", parts[3])
	}
	enc := base64.RawStdEncoding
	salt, err := enc.DecodeString(parts[4])
	if err != nil || len(salt) < 8 {
		return false, fmt.Errorf("access: a stored password has no salt")
	}
	want, err := enc.DecodeString(parts[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false, fmt.Errorf("access: a stored password has no key")
	}
	have := argon2.IDKey([]byte(password), salt, passes, memory, lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(have, want) == 1, nil
}

// TokenPrefix begins every API token, so that people and scanners know one.
const TokenPrefix = "weir_"

// NewToken returns a new API token of 256 random bits.
func NewToken() string { return TokenPrefix + newSecret() }

// NewSession returns a new session id of 256 random bits.
func NewSession() string { return newSecret() }

func newSecret() string {
	raw := make([]byte, 32)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// HashSecret is what is stored and looked up of a token or a session. A plain
// hash will do, since both are random.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
