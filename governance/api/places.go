package api

import (
	"context"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/access"
)

// maxOwnReports is how many reports of one pod may be under way. It sends one
// after the other; many, or slow ones, would take the places of all others.
const maxOwnReports = 8

// places are those of reports under way.
type places struct {
	all chan struct{}

	mu  sync.Mutex
	own map[string]int // by the UIDs of pods
}

func newPlaces(most int) *places {
	return &places{all: make(chan struct{}, most), own: map[string]int{}}
}

// enter takes a place for the one who acts in ctx; leave gives it back.
func (p *places) enter(ctx context.Context) (leave func(), err error) {
	pod := ""
	if who, ok := access.From(ctx); ok && who.Instance != nil {
		pod = who.Instance.PodUID
	}
	if pod != "" && !p.take(pod) {
		return nil, busy("this pod has reports under way here already: send one after the other", 3*time.Second)
	}
	select {
	case p.all <- struct{}{}:
		return func() { <-p.all; p.give(pod) }, nil
	default:
		p.give(pod)
		return nil, busy("too many reports are under way here: send it again", 3*time.Second)
	}
}

func (p *places) take(pod string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own[pod] >= maxOwnReports {
		return false
	}
	p.own[pod]++
	return true
}

func (p *places) give(pod string) {
	if pod == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own[pod]--; p.own[pod] <= 0 {
		delete(p.own, pod)
	}
}
