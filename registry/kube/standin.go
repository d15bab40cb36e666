package kube

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
	"unique"

	"github.com/weirmesh/weir/registry"
)

// patience times SnapshotWait is how long an API server is waited for that is there,
// and slow, or has too much to do and says so.
const patience = 5

// wait gives the API server its time to say what a source, which starts, asks for.
func (k *keeper) wait(s *source) {
	if k == nil || len(k.apps)+len(k.interfaces) == 0 {
		return
	}
	k.waitOnce(s, patience)
}

func (k *keeper) waitOnce(s *source, left int) {
	h := k.hub
	time.AfterFunc(h.cfg.SnapshotWait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.closed || s.synced || s.ended {
			return
		}
		if left--; s.there && left > 0 {
			k.waitOnce(s, left)
			return
		}
		s.overdue = true
		h.wakeLocked()
		h.flushSaved()
	})
}

// standsIn reports whether what an earlier process knew is the best there is of what
// depends on the sources: one has not been heard in its time. A refusal is an answer.
func (k *keeper) standsIn(sources []*source) bool {
	late := false
	for _, s := range sources {
		if s.synced {
			continue
		}
		if s.failure != nil && s.failure.Code == registry.Forbidden {
			return false
		}
		late = late || s.overdue
	}
	return late
}

// app returns what an earlier process knew of an application, where that is the best
// there is.
func (k *keeper) app(name registry.App) *registry.Snapshot {
	if k == nil || k.apps[name] == nil || !k.standsIn(k.hub.needInstances(name.Namespace)) {
		return nil
	}
	if k.old(k.apps[name].StaleSince) && !k.tried(name) {
		return nil
	}
	k.say()
	return k.apps[name]
}

// old reports whether what was last known to be true then is to be tried before it is
// called.
func (k *keeper) old(since time.Time) bool {
	return k.hub.clock.wall().Sub(since) > k.hub.cfg.SnapshotTrust
}

// tried reports whether the instances of an application that the file knows, and which
// is old, have been tried. It sees to it that they are.
func (k *keeper) tried(name registry.App) bool {
	switch done, ok := k.trials[name]; {
	case ok:
		return done
	case k.hub.closed:
		return false
	}
	k.trials[name] = false
	old := k.apps[name]
	k.hub.wg.Go(func() { k.try(name, old) })
	return false
}

// try tries the instances of a snapshot. Those at which nobody answers stand by, unless
// nobody answers at any: then it is not they who are gone.
func (k *keeper) try(name registry.App, old *registry.Snapshot) {
	h := k.hub
	dead := make([]bool, len(old.Instances))
	var tries sync.WaitGroup
	for i := range old.Instances {
		if addresses := probedOf(&old.Instances[i]); old.Instances[i].Callable() && len(addresses) > 0 {
			tries.Go(func() { dead[i] = !h.reach(addresses) })
		}
	}
	tries.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if k.apps[name] == old {
		tried := *old
		tried.Instances = slices.Clone(old.Instances)
		for i := range tried.Instances {
			if dead[i] {
				tried.Instances[i].Standby = "it is known from a snapshot file alone, and takes no connection; others do"
			}
		}
		if count := len(tried.Callable()); count > 0 && count < len(old.Callable()) {
			k.apps[name] = &tried
		}
	}
	k.trials[name] = true
	h.wakeLocked()
	h.flushSaved()
}

// probedOf returns where an instance says that it serves.
func probedOf(in *registry.Instance) (addresses []string) {
	for _, e := range in.Endpoints[:min(len(in.Endpoints), probePorts)] {
		addresses = append(addresses, net.JoinHostPort(addressOf(in.Host), strconv.Itoa(int(e.Port))))
	}
	return addresses
}

// knewUntil returns when an earlier process last knew anything of some namespaces to be
// true; zero where it knew nothing of them. What it left earlier is older, and what it
// wrote during an outage is as old as that, however young the file.
func (k *keeper) knewUntil(namespaces []string) (until time.Time) {
	if k == nil {
		return until
	}
	for name, a := range k.apps {
		if slices.Contains(namespaces, k.hub.spaceName(name.Namespace)) && a.StaleSince.After(until) {
			until = a.StaleSince
		}
	}
	return until
}

// providers is app for an interface.
func (k *keeper) providers(iface registry.Interface) ([]registry.App, bool) {
	if k == nil {
		return nil, false
	}
	apps, ok := k.interfaces[iface]
	if !ok || !k.standsIn(k.hub.needMappings()) {
		return nil, false
	}
	k.say()
	return apps, true
}

// used reports whether what an earlier process knew stands in for anything.
func (k *keeper) used() bool {
	if len(k.apps)+len(k.interfaces) == 0 {
		return false
	}
	for _, s := range k.hub.spaces {
		if k.standsIn(s.sources()) {
			return true
		}
	}
	return false
}

// say logs, once, that old knowledge is served.
func (k *keeper) say() {
	if !k.said {
		k.said = true
		k.hub.log.Warn("the API server cannot be heard; what an earlier process knew is used until it can", "file", k.file, "since", k.since, "age", k.hub.clock.wall().Sub(k.since).Round(time.Second))
	}
}

// document returns a document that was read before.
func (k *keeper) document(app registry.App, revision string) []byte {
	if k == nil {
		return nil
	}
	return k.documents[documentKey{app, revision}]
}

// heardApps lets go of what an earlier process knew of a namespace, which has been
// heard by now, and doubts what it called and is not ready: it may have been lost
// with many others.
func (k *keeper) heardApps(s *space, now time.Time) {
	if k == nil || s.sliceSource == nil {
		return
	}
	if synced, _ := heard([]*source{s.sliceSource, s.podSource, s.serviceSource}); !synced {
		return
	}
	for name, old := range k.apps {
		if k.hub.spaceName(name.Namespace) != s.namespace {
			continue
		}
		delete(k.apps, name)
		a := s.apps[name]
		if a == nil || !s.sliceSource.overdue && !s.podSource.overdue && !s.serviceSource.overdue {
			continue // nobody was told of it
		}
		for i := range old.Instances {
			in := &old.Instances[i]
			u, _ := parseUID(in.ID)
			if p := s.pods[u]; p != nil && in.Callable() {
				a.lose(&endpoint{addr: in.Host, pod: p, place: unique.Make(place{node: in.Node, zone: in.Zone}), health: ready}, now)
			}
		}
		a.touch(now)
		k.hub.tidyUnfollowed(a, now)
	}
}
