package registry

import (
	"fmt"
	"time"
)

// Kept says that an instance is called although its readiness does not allow it:
// so many of its application's instances were lost at once, without proof that
// they are gone, that their loss is doubted. It is kept until something proves it
// gone, it is ready again, or Until.
type Kept struct {
	// Because is what would have taken the instance out.
	Because KeptBecause `json:"because"`
	// Lost of Of callable instances were lost when it was decided to keep it.
	Lost int `json:"lost"`
	Of   int `json:"of"`
	// Since is when that was, and Until when it ends at the latest.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// KeptBecause is why an instance would be out if it were not kept.
type KeptBecause string

// Reasons.
const (
	// KeptNotReady: it is said not to be ready.
	KeptNotReady KeptBecause = "not-ready"
	// KeptUnlisted: the endpoints of its application's Service name it no more,
	// though it is still there.
	KeptUnlisted KeptBecause = "unlisted"
)

// String says it in one sentence.
func (k *Kept) String() string {
	until := k.Until.UTC().Format(time.RFC3339)
	switch {
	case k.Because == KeptUnlisted && k.Of == 1:
		return fmt.Sprintf("it left the endpoints of its Service, and is called all the same until %s at the latest: it is the only instance, and nothing proves that it is gone", until)
	case k.Of == 1:
		return fmt.Sprintf("it is not ready, and is called all the same until %s at the latest: it is the only instance, and nothing proves that it is gone", until)
	case k.Because == KeptUnlisted:
		return fmt.Sprintf("it left the endpoints of its Service, and is called all the same until %s at the latest: %d of %d instances were lost at once, and nothing proves that they are gone", until, k.Lost, k.Of)
	}
	return fmt.Sprintf("it is not ready, and is called all the same until %s at the latest: %d of %d instances were lost at once, and nothing proves that they are gone", until, k.Lost, k.Of)
}

// Equal reports whether both say the same; neither may be kept at all.
func (k *Kept) Equal(o *Kept) bool {
	if k == nil || o == nil {
		return k == o
	}
	return k.Because == o.Because && k.Lost == o.Lost && k.Of == o.Of && k.Since.Equal(o.Since) && k.Until.Equal(o.Until)
}
