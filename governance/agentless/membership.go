package agentless

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weirmesh/weir/internal/pause"
)

// How control planes share pods out.
const (
	// beat is how often a control plane says that it collects, and memberGone how long
	// after its last word its pods are taken over.
	beat       = time.Second
	memberGone = 4 * time.Second
	// settling is how long a pod that was another's is left alone, so that the other
	// has heard of it and let go.
	settling = 2 * beat
)

// members is who collects, as one control plane sees it.
type members struct {
	self string
	live []string // sorted
	// heard is when each was seen, and beaten when the store was asked last with
	// success.
	heard  map[string]time.Time
	beaten time.Time
}

// take takes in who the store says is live. Whether somebody has changed is
// returned. One that is missing counts until it has been missing for memberGone:
// after a time in which the store was away, all come back one by one.
func (m *members) take(live []string, now time.Time) bool {
	if m.heard == nil || now.Sub(m.beaten) > memberGone/2 {
		for id := range m.heard {
			m.heard[id] = now
		}
	}
	if m.heard == nil {
		m.heard = map[string]time.Time{}
	}
	m.beaten = now
	for _, id := range live {
		m.heard[id] = now
	}
	m.heard[m.self] = now
	var all []string
	for id, at := range m.heard {
		if now.Sub(at) >= memberGone {
			delete(m.heard, id)
			continue
		}
		all = append(all, id)
	}
	slices.Sort(all)
	if slices.Equal(all, m.live) {
		return false
	}
	m.live = all
	return true
}

// owner is who has a pod: the one whose hash with it is the highest, so that a
// change of one control plane moves that one's share alone.
func owner(members []string, pod string) string {
	best, most := "", uint64(0)
	for _, id := range members {
		h := fnv.New64a()
		_, _ = h.Write([]byte(id))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(pod))
		if sum := mix(h.Sum64()); best == "" || sum > most {
			best, most = id, sum
		}
	}
	return best
}

// mix spreads what FNV leaves alike in its high bits.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// storePatience bounds what is asked of the store.
const storePatience = 3 * time.Second

// join says every second that this control plane collects, and shares pods out
// anew when another comes or goes.
func (s *Service) join(ctx context.Context) {
	failing := false
	for {
		look, done := context.WithTimeout(ctx, storePatience)
		live, err := s.cfg.Store.Collect(look, s.members.self, memberGone)
		done()
		if err == nil {
			s.mu.Lock()
			changed := s.members.take(live, s.cfg.Now())
			count := len(s.members.live)
			s.mu.Unlock()
			s.metrics.members.Set(float64(count))
			if changed {
				s.shareOut()
			}
		} else if !failing && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot say that this control plane collects, and will try again", "error", err)
		}
		failing = err != nil
		if !pause.For(ctx, beat*9/10+rand.N(beat/5)) {
			break
		}
	}
	// The others take over at once.
	look, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	_ = s.cfg.Store.EndCollect(look, s.members.self) // they do so a little later
}
