package kube

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// calm is how long something has to stay as this process wrote it for a loss to be
	// the first again.
	calm = time.Minute
	// The pause before what was written is written again, after the second loss in a row
	// and after the last of many.
	firstContestWait = 100 * time.Millisecond
	maxContestWait   = time.Minute
	// contested losses in a row are more than an accident.
	contested = 4
)

// contest paces what somebody else keeps undoing. Every write succeeds in such a fight,
// so it is the losses that are counted, and the pause outlives each single repair.
type contest struct {
	losses int // in a row
	pause  time.Duration
}

// lost takes note that what was written at a time is no longer there. The first loss is
// mended at once; each that soon follows another waits twice as long.
func (c *contest) lost(written, now time.Time) {
	if now.Sub(written) >= calm {
		*c = contest{losses: 1}
		return
	}
	if c.losses++; c.losses > 1 {
		c.pause = min(max(2*c.pause, firstContestWait), maxContestWait)
	}
}

// managers names the field managers that hold one of the annotations, the last that
// wrote first. None where nobody holds them: they were taken away.
func managers(fields []metav1.ManagedFieldsEntry, annotations ...string) string {
	held := slices.Clone(fields)
	slices.SortStableFunc(held, func(a, b metav1.ManagedFieldsEntry) int {
		if a.Time == nil || b.Time == nil {
			return 0
		}
		return b.Time.Compare(a.Time.Time)
	})
	var names []string
	for _, entry := range held {
		var owned struct {
			Metadata struct {
				Annotations map[string]any `json:"f:annotations"`
			} `json:"f:metadata"`
		}
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.Raw, &owned) != nil {
			continue
		}
		if slices.ContainsFunc(annotations, func(key string) bool { _, ok := owned.Metadata.Annotations["f:"+key]; return ok }) {
			names = append(names, entry.Manager)
		}
	}
	return strings.Join(slices.Compact(names), ", ")
}
