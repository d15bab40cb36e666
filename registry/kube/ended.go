package kube

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// endedTimeout bounds the question which pods have ended.
const endedTimeout = 5 * time.Second

const (
	// endedPause is about how long losses are gathered before it is asked which pods
	// have ended: when slices vanish, those of a whole namespace do, for every process
	// that follows any of it.
	endedPause = time.Second
	// endedPauseMax is the longest pause after questions that failed.
	endedPauseMax = time.Minute
)

// endedQuestion is the question which pods of a namespace have ended. Guarded by
// hub.mu.
type endedQuestion struct {
	timer *time.Timer   // of the question that is due; nil while it runs
	pause time.Duration // before the next, about
	again bool          // somebody asked while it ran
}

// askEnded finds out which of a namespace's pods have run to their end. Metadata
// do not tell, and a pod that was evicted stays as an object for long while its
// address is given away, even to a pod of a namespace that nobody here watches. One
// question does for all that were lost meanwhile, of whatever application. mu is held.
func (h *Hub) askEnded(namespace string) {
	switch q := h.endedOf[namespace]; {
	case h.closed:
	case q == nil:
		q = &endedQuestion{pause: endedPause}
		h.endedOf[namespace] = q
		h.askEndedSoon(namespace, q)
	case q.timer == nil:
		q.again = true
	}
}

// askEndedSoon plans a question. mu is held.
func (h *Hub) askEndedSoon(namespace string, q *endedQuestion) {
	q.timer = time.AfterFunc(q.pause/8+rand.N(q.pause*7/8), func() { // a fleet lost them at the same moment
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.closed {
			return
		}
		if !h.wantsEnded(namespace) {
			delete(h.endedOf, namespace)
			return
		}
		q.timer = nil
		h.wg.Go(func() { h.findEnded(namespace, q) })
	})
}

// wantsEnded reports whether anything was lost, and is doubted, of what somebody cares
// for in a namespace. It is asked of the rest once somebody does. mu is held.
func (h *Hub) wantsEnded(namespace string) (wanted bool) {
	now := h.clock.now()
	for a := range h.spaceOf(namespace).losing {
		if a.name.Namespace != namespace {
			continue
		}
		cared := a.cared(now)
		for _, l := range a.lost {
			l.asked = l.asked && cared
			wanted = wanted || l.asked && !l.pod.refers(a)
		}
	}
	return wanted
}

// findEnded asks once.
func (h *Hub) findEnded(namespace string, q *endedQuestion) {
	uids, err := h.ended(h.ctx, namespace)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		// Probes are left to tell until it is known.
		h.log.Debug("it is not known which pods have ended; asking again", slog.String("namespace", namespace), slog.String("error", err.Error()))
		q.pause, q.again = min(2*q.pause, endedPauseMax), true
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			q.pause = max(q.pause, time.Duration(seconds)*time.Second)
		}
	} else {
		q.pause = endedPause
	}
	now := h.clock.now()
	space := h.spaceOf(namespace)
	for _, text := range uids {
		u, _ := parseUID(text)
		if p := space.pods[u]; p != nil && p.known && !p.ended {
			p.ended = true
			p.touchApps(now)
			podTable{space}.touchLosing(p, now)
		}
	}
	if !q.again || h.closed {
		delete(h.endedOf, namespace)
		return
	}
	q.again = false
	h.askEndedSoon(namespace, q)
}

// endedPods returns the UIDs of a namespace's pods that have run to their end. It
// takes the right to list pods, which consumers have.
func (c *client) endedPods(ctx context.Context, namespace string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, endedTimeout)
	defer cancel()
	opts := metav1.ListOptions{
		FieldSelector: "status.phase!=Running,status.phase!=Pending,status.phase!=Unknown",
		Limit:         pageSize,
	}
	var uids []string
	for {
		page, err := c.list(ctx, podsResource, namespace, opts)
		if err != nil {
			return nil, err
		}
		err = meta.EachListItem(page, func(obj runtime.Object) error {
			o, err := meta.Accessor(obj)
			if err == nil {
				uids = append(uids, string(o.GetUID()))
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read list: %w", err)
		}
		list, err := meta.ListAccessor(page)
		if err != nil {
			return nil, fmt.Errorf("read list: %w", err)
		}
		if opts.Continue = list.GetContinue(); opts.Continue == "" {
			return uids, nil
		}
	}
}
