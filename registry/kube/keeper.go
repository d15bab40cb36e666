package kube

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/registry"
)

// keeper keeps the snapshot file of a hub: what it remembers of the registry for a
// start without an API server, and what it read of that itself. All but write is
// called with hub.mu held.
type keeper struct {
	hub  *Hub
	file string

	// What an earlier process knew, while this one has not heard better. since is when
	// that was known to be true.
	apps       map[registry.App]*registry.Snapshot
	interfaces map[registry.Interface][]registry.App
	since      time.Time             // by the wall clock
	began      time.Time             // when the file was read
	said       bool                  // it was logged that this is used
	trials     map[registry.App]bool // what is old is tried before it is called; true once it was

	// What is to be written.
	known     map[registry.App]*remembered
	mapped    map[registry.Interface][]registry.App
	documents map[documentKey][]byte
	size      int // of the documents

	dirty     bool
	planned   *time.Timer
	writing   bool
	sum       [sha256.Size]byte // of what the file says
	last      time.Time         // when it was written last, by this process
	pause     time.Duration     // before it is written again, at least
	bytes     int
	confirmed time.Time            // when what it says was last known to be true
	unheard   map[string]time.Time // namespaces that it says are stale, and since when
	failure   string               // what was said to be wrong with writing it
}

// remembered is the last snapshot of an application that was followed.
type remembered struct {
	snapshot *registry.Snapshot
	left     time.Time // since when nobody follows it; zero while somebody does
	// since is when an earlier process last knew it to be true, by the wall clock; zero
	// once somebody has followed it in this one.
	since time.Time
}

type documentKey struct {
	app      registry.App
	revision string
}

const (
	// saveSoon is how long changes are gathered before the file is written, and
	// savePause the shortest time between two times.
	saveSoon  = time.Second
	savePause = 5 * time.Second
	// saveShare bounds what the writing may cost: a pause is so many times as long as
	// the writing before it.
	saveShare = 50
	// saveRetry is the longest pause after attempts that failed, each of which costs as
	// much as one that did not.
	saveRetry = 5 * time.Minute
	// confirmEvery is how often the file, unchanged, is marked as true still.
	confirmEvery = time.Minute
	// forgetAfter is how long what nobody asks for any more is remembered.
	forgetAfter = 10 * time.Minute
	// abandoned is how old a file is that somebody was writing who does so no more.
	abandoned = time.Minute
	// Bounds of what is remembered.
	maxRememberedDocuments  = 8 << 20
	maxRememberedInterfaces = 10_000
)

// newKeeper reads the file that an earlier process left. What is wrong with it is
// said, and it counts for nothing.
func newKeeper(h *Hub, dir string) *keeper {
	// Applications that share a directory have a file each.
	key := sha256.Sum256([]byte(strings.Join(append([]string{h.client.host, h.own, h.cfg.App}, h.base...), "\x00")))
	k := &keeper{
		hub: h, file: filepath.Join(dir, "registry-"+hex.EncodeToString(key[:8])+".snapshot"), pause: savePause,
		began: h.clock.now(), trials: map[registry.App]bool{},
		known: map[registry.App]*remembered{}, mapped: map[registry.Interface][]registry.App{}, documents: map[documentKey][]byte{},
	}
	if err := k.read(); err != nil {
		h.metrics.fileErrors.WithLabelValues("read").Inc()
		h.log.Warn("the registry's snapshot file is ignored; a start without the API server would find nothing", "file", k.file, "reason", err.Error())
	}
	if parts, err := filepath.Glob(k.file + ".*"); err == nil {
		for _, part := range parts { // of a process that was killed while it wrote
			if info, err := os.Stat(part); err == nil && h.clock.wall().Sub(info.ModTime()) > abandoned {
				_ = os.Remove(part)
			}
		}
	}
	return k
}

func (k *keeper) read() error {
	f, err := os.Open(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSaved+1))
	if err != nil {
		return err
	}
	s, sum, err := decodeSaved(content)
	if err != nil {
		return err
	}
	if s.Cluster != k.hub.client.host {
		return fmt.Errorf("it is of the cluster at %s", quote(s.Cluster))
	}
	now := k.hub.clock.now()
	k.apps, k.interfaces = map[registry.App]*registry.Snapshot{}, map[registry.Interface][]registry.App{}
	k.since, k.sum, k.bytes = info.ModTime(), sum, len(content)
	for i := range s.Apps {
		a := &s.Apps[i]
		// Stale from the first moment on, whoever is told.
		a.StaleSince = cmp.Or(a.StaleSince, k.since)
		a.Observed = a.StaleSince
		k.apps[a.App], k.known[a.App] = a, &remembered{snapshot: a, left: now, since: a.StaleSince}
	}
	for _, i := range s.Interfaces {
		k.interfaces[i.Interface], k.mapped[i.Interface] = i.Apps, i.Apps
	}
	for _, d := range s.Documents {
		k.documents[documentKey{d.App, d.Revision}] = d.Document
		k.size += len(d.Document)
	}
	return nil
}

// learnedApp takes over what followers of an application are told, as it was heard.
func (k *keeper) learnedApp(s *registry.Snapshot) {
	if k == nil {
		return
	}
	r := k.known[s.App]
	if r != nil && r.left.IsZero() && r.snapshot.Equal(*s) {
		return
	}
	k.known[s.App] = &remembered{snapshot: s}
	k.plan()
}

// leftApp notes that nobody follows an application any more. It is not forgotten at
// once: a process that ends leaves all.
func (k *keeper) leftApp(name registry.App) {
	if k == nil || k.known[name] == nil {
		return
	}
	k.known[name].left = k.hub.clock.now()
}

// learnedInterface takes over who provides an interface that somebody asked for.
func (k *keeper) learnedInterface(iface registry.Interface, apps []registry.App) {
	if k == nil {
		return
	}
	delete(k.interfaces, iface)
	old, ok := k.mapped[iface]
	if ok && slices.Equal(old, apps) || !ok && len(k.mapped) >= maxRememberedInterfaces {
		return
	}
	k.mapped[iface] = apps
	k.plan()
}

// learnedDocument takes over a document that was read.
func (k *keeper) learnedDocument(app registry.App, revision string, document []byte) {
	if k == nil {
		return
	}
	key := documentKey{app, revision}
	old, ok := k.documents[key]
	if ok && bytes.Equal(old, document) {
		return
	}
	k.size -= len(old)
	delete(k.documents, key)
	if k.size+len(document) <= maxRememberedDocuments {
		k.documents[key] = slices.Clone(document)
		k.size += len(document)
	}
	k.plan()
}

// plan sees to it that the file is written before long.
func (k *keeper) plan() {
	if k.dirty = true; k.planned != nil || k.writing || k.hub.closed {
		return
	}
	wait := saveSoon
	if !k.last.IsZero() {
		wait = max(wait, k.pause-k.hub.clock.now().Sub(k.last))
	}
	k.planned = time.AfterFunc(wait, func() {
		h := k.hub
		h.mu.Lock()
		defer h.mu.Unlock()
		k.planned = nil
		if !h.closed {
			k.writing = true
			h.wg.Go(k.save)
		}
	})
}

// forgotten reports whether nobody has asked for an application for long, while there
// was somebody to say what became of it.
func (k *keeper) forgotten(r *remembered) bool {
	return !r.left.IsZero() && k.hub.clock.now().Sub(r.left) >= forgetAfter &&
		(k.apps[r.snapshot.App] == nil || k.hub.somebody())
}

// forget lets go of what nobody has asked for in a long time.
func (k *keeper) forget() {
	for name, r := range k.known {
		if k.forgotten(r) {
			delete(k.known, name)
			delete(k.apps, name)
		}
	}
	if k.hub.clock.now().Sub(k.began) >= forgetAfter && k.hub.somebody() {
		for iface := range k.interfaces {
			delete(k.interfaces, iface)
			delete(k.mapped, iface)
		}
	}
}

// gather returns what the file is to say.
func (k *keeper) gather() *saved {
	k.forget()
	k.unheard = k.hub.unheard()
	s := &saved{Cluster: k.hub.client.host}
	used := map[documentKey]bool{}
	for name, r := range k.known {
		snapshot := *r.snapshot
		// How it came to be is this process's own, but for how old it is.
		snapshot.Generation, snapshot.Observed = 0, time.Time{}
		if k.apps[name] == nil {
			clock := k.hub.clock
			// What nobody follows is as old as when somebody last did.
			var lost time.Time
			if space := k.hub.spaces[k.hub.spaceName(name.Namespace)]; space != nil { // else its watches have ended
				lost = clock.told(stale(space.sources()))
			}
			snapshot.StaleSince = earliest(lost, clock.told(r.left), r.since).Truncate(time.Second).UTC()
		}
		s.Apps = append(s.Apps, snapshot)
		for i := range r.snapshot.Instances {
			used[documentKey{name, r.snapshot.Instances[i].Revision}] = true
		}
	}
	slices.SortFunc(s.Apps, func(x, y registry.Snapshot) int { return x.App.Compare(y.App) })
	for iface, apps := range k.mapped {
		s.Interfaces = append(s.Interfaces, savedInterface{iface, apps})
	}
	slices.SortFunc(s.Interfaces, func(x, y savedInterface) int {
		return cmp.Or(strings.Compare(x.Interface.Name, y.Interface.Name), strings.Compare(x.Interface.Group, y.Interface.Group),
			strings.Compare(x.Interface.Version, y.Interface.Version))
	})
	for key, document := range k.documents {
		if !used[key] {
			k.size -= len(document)
			delete(k.documents, key)
			continue
		}
		s.Documents = append(s.Documents, savedDocument{key.app, key.revision, document})
	}
	slices.SortFunc(s.Documents, func(x, y savedDocument) int {
		return cmp.Or(x.App.Compare(y.App), strings.Compare(x.Revision, y.Revision))
	})
	return s
}

// earliest returns the first of some times, of which zero ones are none.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// save writes the file if it would say something else than before. It is called
// without hub.mu, and by one goroutine at a time.
func (k *keeper) save() {
	h := k.hub
	h.mu.Lock()
	k.dirty = false
	s, before := k.gather(), k.sum
	h.mu.Unlock()
	began := time.Now()
	file, sum, err := s.encode()
	if errors.Is(err, errTooMuch) && len(s.Documents) > 0 {
		s.Documents = nil // instances can be asked what they offer
		file, sum, err = s.encode()
	}
	if err == nil && sum != before {
		err = replaceFile(k.file, file)
	}
	took := time.Since(began)

	h.mu.Lock()
	defer h.mu.Unlock()
	k.writing, k.last = false, h.clock.now()
	pause := max(savePause, saveShare*took)
	if err != nil {
		k.pause = max(pause, min(2*k.pause, saveRetry))
		h.metrics.fileErrors.WithLabelValues("write").Inc()
		if k.failure != err.Error() {
			k.failure = err.Error()
			h.log.Warn("the registry's snapshot file cannot be written; trying again. A start without the API server would find an older state, or none",
				"file", k.file, "reason", k.failure)
		}
		k.plan()
		return
	}
	if k.failure != "" {
		k.failure = ""
		h.log.Info("the registry's snapshot file is written again", "file", k.file)
	}
	k.sum, k.bytes, k.pause = sum, len(file), pause
	if k.current() {
		k.confirmed = k.last
	}
	if k.dirty {
		k.plan()
	}
}

// current reports whether what the file says is true: somebody is heard, and it says of
// which namespaces nothing is, and since when.
func (k *keeper) current() bool { return k.hub.somebody() && maps.Equal(k.unheard, k.hub.unheard()) }

// confirm marks the file as true still, which is what a start without the API server
// tells people.
func (k *keeper) confirm() {
	h := k.hub
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		h.mu.Lock()
		for _, r := range k.known {
			if k.forgotten(r) {
				k.plan()
				break
			}
		}
		if !maps.Equal(k.unheard, h.unheard()) && h.somebody() {
			k.plan() // it has to say since when a namespace is stale, or that it is no more
		}
		ok := !k.dirty && !k.writing && !k.last.IsZero() && k.failure == "" && k.current()
		wall := h.clock.wall()
		if ok {
			k.confirmed = h.clock.now()
		}
		h.mu.Unlock()
		if ok && errors.Is(os.Chtimes(k.file, wall, wall), fs.ErrNotExist) {
			h.mu.Lock()
			k.sum = [sha256.Size]byte{} // somebody took it away
			k.plan()
			h.mu.Unlock()
		}
	}
}

// end writes what is not written yet. All goroutines of the hub have ended.
func (k *keeper) end() {
	if k == nil {
		return
	}
	k.hub.mu.Lock()
	due := k.dirty
	if k.planned != nil {
		k.planned.Stop()
	}
	k.hub.mu.Unlock()
	if due {
		k.save()
	}
}

// replaceFile puts a file in the place of another, whole or not at all, even where
// the machine dies.
func replaceFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = cmp.Or(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
