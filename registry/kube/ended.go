package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// endedTimeout bounds the question which pods have ended.
const endedTimeout = 5 * time.Second

// askEnded finds out which of an application's pods have run to their end. Metadata
// do not tell, and a pod that was evicted stays as an object for long while its
// address is given away, even to a pod of a namespace that nobody here watches. One
// question does for all that were lost meanwhile. mu is held.
func (a *app) askEnded() {
	h := a.space.hub
	if a.asking || h.closed {
		a.askAgain = a.asking
		return
	}
	a.asking = true
	h.wg.Go(func() {
		uids, err := h.ended(h.ctx, a.name.Namespace)
		h.mu.Lock()
		defer h.mu.Unlock()
		again := a.askAgain
		a.asking, a.askAgain = false, false
		if err != nil {
			// Probes are left to tell.
			h.log.Debug("it is not known which pods have ended", slog.String("namespace", a.name.Namespace), slog.String("error", err.Error()))
			return
		}
		now := h.clock.now()
		for _, text := range uids {
			u, _ := parseUID(text)
			if p := a.space.pods[u]; p != nil && p.known && !p.ended {
				p.ended = true
				p.touchApps(now)
				podTable{a.space}.touchLosing(p, now)
			}
		}
		if again {
			a.askEnded()
		}
	})
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
