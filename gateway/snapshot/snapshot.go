// Package snapshot keeps a copy of the routes on disk, so that a gateway can
// start while their store is away.
package snapshot

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// Options tunes a Source. The zero value is sane.
type Options struct {
	// Every is the least time between two writes of the file. The first change
	// after that long is written at once. Default 1 s.
	Every time.Duration
	// Patience is how long the store may take to answer the first question
	// before the file does. Default 3 s.
	Patience time.Duration
	// Log receives what is read, written and set aside. Default: discarded.
	Log *slog.Logger
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Source is a gateway.Source that passes everything through to another, writes
// behind what it sees, and answers the first Since from the file when the other
// cannot. It is for one reader, who asks Since with 0 first and then with what
// it got; it is safe for concurrent use.
type Source struct {
	source gateway.Source
	path   string
	opts   Options

	mu      sync.Mutex
	state   gateway.State
	whole   bool // state is a table that the store has had
	started bool // something was answered
	onDisk  mark
	tried   time.Time // the last write
	writing chan struct{}
	closed  chan struct{}
}

// mark tells one table from another.
type mark struct {
	revision gateway.Revision
	checksum string
}

var _ gateway.Source = (*Source)(nil)

// New returns a source that keeps its copy at path, whose directory is made if
// it is missing. It does no I/O. Close it to have the last state written.
func New(source gateway.Source, path string, o Options) *Source {
	o.Every = cmp.Or(o.Every, time.Second)
	o.Patience = cmp.Or(o.Patience, 3*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Source{source: source, path: path, opts: o, closed: make(chan struct{})}
}

// Watch implements gateway.Source.
func (s *Source) Watch(ctx context.Context, changed func()) error {
	return s.source.Watch(ctx, changed)
}

// SetNode implements gateway.Source.
func (s *Source) SetNode(ctx context.Context, n gateway.Node) error {
	return s.source.SetNode(ctx, n)
}

// Since implements gateway.Source. Until the store has answered once, Since(0)
// is answered by the file where there is one; its delta is full.
func (s *Source) Since(ctx context.Context, rev gateway.Revision) (gateway.Delta, error) {
	if rev != 0 || s.hasStarted() {
		d, err := s.source.Since(ctx, rev)
		if err == nil {
			s.take(rev, d)
		}
		return d, err
	}
	kept, there := s.load(ctx)
	if !there {
		d, err := s.source.Since(ctx, 0)
		if err == nil {
			s.take(0, d)
		}
		return d, err
	}
	asked, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	d, err := s.source.Since(asked, 0)
	if err == nil {
		err = unlikely(d, kept)
	}
	switch {
	case err == nil:
		s.take(0, d)
		return d, nil
	case ctx.Err() != nil:
		return d, err
	}
	s.opts.Log.WarnContext(ctx, "the store of routes cannot be read; serving what the snapshot on disk has until it can",
		"error", err, "file", s.path, "revision", int64(kept.Revision), "routes", len(kept.Routes), "age", s.opts.Now().Sub(kept.Written).Round(time.Second))
	d = gateway.Delta{Full: true, Revision: kept.Revision, Routes: kept.Routes, Checksum: kept.Checksum}
	s.take(0, d)
	return d, nil
}

// unlikely says why a table is not to go before the one in the file, nil if it is:
// it is not the one that the store says it is, or the store was never written to,
// as one that was made anew.
func unlikely(d gateway.Delta, kept content) error {
	switch {
	case d.Checksum != gateway.Checksum(d.Routes):
		return errors.New("its checksum is not that of its routes")
	case d.Revision == 0 && len(kept.Routes) > 0:
		return errors.New("it has never been written to")
	}
	return nil
}

func (s *Source) hasStarted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// load reads the file; one that is of no use is set aside, so that it can be
// looked at and is not met again.
func (s *Source) load(ctx context.Context) (content, bool) {
	c, err := read(s.path)
	var useless *contentError
	switch {
	case err == nil:
		s.mu.Lock()
		s.onDisk = mark{c.Revision, c.Checksum}
		s.mu.Unlock()
		return c, true
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, &useless):
		aside := s.path + ".bad"
		s.opts.Log.ErrorContext(ctx, "the snapshot of routes on disk is of no use and is set aside",
			"file", s.path, "error", err, "moved_to", aside, "rename_error", os.Rename(s.path, aside))
	default:
		s.opts.Log.ErrorContext(ctx, "the snapshot of routes on disk cannot be read", "file", s.path, "error", err)
	}
	return content{}, false
}

// take follows what the reader got, and has it written.
func (s *Source) take(rev gateway.Revision, d gateway.Delta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	if d.Full && d.Revision == 0 && len(s.state.Routes) > 0 {
		return // a store that was never written to does not say that all are deleted
	}
	if !d.Full && (s.state.Routes == nil || rev != s.state.Revision) {
		return // it does not follow on what is here; the next full one will
	}
	s.whole = s.state.Apply(d)
	if s.whole && s.mark() != s.onDisk && s.writing == nil && !s.isClosed() {
		s.writing = make(chan struct{})
		go s.write(s.writing)
	}
}

func (s *Source) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func (s *Source) mark() mark { return mark{s.state.Revision, s.state.Checksum()} }

// write writes until the file is as the state is.
func (s *Source) write(done chan struct{}) {
	defer close(done)
	for {
		s.mu.Lock()
		wait := s.opts.Every - s.opts.Now().Sub(s.tried)
		s.mu.Unlock()
		if wait > 0 {
			t := time.NewTimer(min(wait, s.opts.Every))
			select {
			case <-t.C:
			case <-s.closed:
			}
			t.Stop()
		}
		err := s.save()
		s.mu.Lock()
		if err != nil || !s.whole || s.mark() == s.onDisk {
			// After an error the next change tries again, or Close.
			s.writing = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// save writes the present state, unless the file has it.
func (s *Source) save() error {
	s.mu.Lock()
	m, whole := s.mark(), s.whole
	routes := slices.Collect(maps.Values(s.state.Routes))
	now := s.opts.Now()
	s.tried = now
	if !whole || m == s.onDisk {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()

	slices.SortFunc(routes, func(a, b gateway.Version) int { return a.Route.Key().Compare(b.Route.Key()) })
	data, err := encode(content{Written: now.UTC(), Revision: m.revision, Checksum: m.checksum, Routes: routes})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path), 0o700)
	}
	if err == nil {
		err = write(s.path, data)
	}
	if err != nil {
		s.opts.Log.Warn("the snapshot of routes could not be written; the one before stays", "file", s.path, "error", err)
		return err
	}
	s.mu.Lock()
	s.onDisk = m
	s.mu.Unlock()
	return nil
}

// Close writes what is not yet written. It may be called more than once; a
// closed Source still answers, and writes no more.
func (s *Source) Close() error {
	s.mu.Lock()
	if !s.isClosed() {
		close(s.closed)
	}
	writing := s.writing
	s.mu.Unlock()
	if writing != nil {
		<-writing
	}
	return s.save()
}
