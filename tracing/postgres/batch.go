package postgres

import (
	"bytes"
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirmesh/weir/tracing"
)

// Bounds of the queue. The collector bounds what waits by bytes; this is for
// whoever writes without one.
const (
	maxWaiting    = 1_000_000 // spans
	writePatience = 20 * time.Second
	clockAhead    = int64(time.Hour / time.Microsecond)
)

// pending is one request's spans on their way into the database.
type pending struct {
	spans []tracing.Span
	done  chan error
}

// queue gathers the spans of many requests for few transactions: what comes while
// one is under way is for the next. Writers are started when there is something to
// write and end when there is not.
type queue struct {
	mu      sync.Mutex
	waiting []*pending
	spans   int
	writers int
	began   time.Time // when the newest batch was taken
	closed  bool
	full    chan struct{} // a batch is full, or the queue closed: linger no longer
	idle    chan struct{} // closed once the last writer has ended, after close
}

func (q *queue) init() { q.full, q.idle = make(chan struct{}, 1), make(chan struct{}) }

var errClosed = &tracing.Error{Code: tracing.Unavailable, Message: "the store of spans is closing"}

// Write implements tracing.Writer: it returns once the transaction that holds the
// spans, and those of other requests, is committed. When ctx ends first they may
// be stored all the same.
func (s *Store) Write(ctx context.Context, spans []tracing.Span) error {
	if len(spans) == 0 {
		return nil
	}
	p := &pending{spans: spans, done: make(chan error, 1)}
	q := &s.queue
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		return errClosed
	case q.spans >= maxWaiting:
		q.mu.Unlock()
		return &tracing.Error{Code: tracing.Unavailable, Message: "too many spans wait to be written"}
	}
	q.waiting = append(q.waiting, p)
	q.spans += len(spans)
	if q.spans >= s.cfg.MaxBatch {
		select {
		case q.full <- struct{}{}:
		default:
		}
	}
	if q.writers < s.cfg.Writers && (q.writers == 0 || q.spans >= s.cfg.MaxBatch) {
		q.writers++
		go s.writer() //nolint:gosec // what it writes is of many requests, and must not end with one
	}
	q.mu.Unlock()
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return s.fail(ctx, context.Cause(ctx), "store spans in time")
	}
}

// close refuses more and waits for the writers to end.
func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		if q.writers == 0 {
			close(q.idle)
		}
		select {
		case q.full <- struct{}{}:
		default:
		}
	}
	q.mu.Unlock()
	select {
	case <-q.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take removes the next batch, or says how long to linger for more of it: one that
// is not full follows the one before after linger at the soonest, so that requests
// that come singly find a writer ready, and those that come thick share
// transactions.
func (q *queue) take(size int, linger time.Duration) (batch []*pending, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.writers--
		if q.closed && q.writers == 0 {
			close(q.idle)
		}
		return nil, 0
	}
	if q.spans < size && !q.closed {
		if wait = linger - time.Since(q.began); wait > 0 {
			return nil, wait
		}
	}
	n, spans := 0, 0
	for n < len(q.waiting) && spans < size {
		spans += len(q.waiting[n].spans)
		n++
	}
	batch = append(batch, q.waiting[:n]...)
	clear(q.waiting[:n])
	q.waiting = q.waiting[n:]
	q.spans -= spans
	q.began = time.Now()
	return batch, 0
}

func (s *Store) writer() {
	e := s.encoder()
	for {
		batch, wait := s.queue.take(s.cfg.MaxBatch, s.cfg.Linger)
		switch {
		case wait > 0:
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-s.queue.full:
			}
			t.Stop()
		case batch == nil:
			s.release(e)
			return
		default:
			ctx, cancel := context.WithTimeout(context.Background(), writePatience)
			err := s.store(ctx, e, batch, nil)
			for _, p := range batch {
				own := err
				if len(batch) > 1 && tracing.CodeOf(err) == tracing.Internal {
					// One request that the database will not have must not fail others'.
					own = s.store(ctx, e, []*pending{p}, nil)
				}
				p.done <- own
			}
			cancel()
		}
	}
}

// encoder returns one whose buffers, which are large, were used before.
func (s *Store) encoder() *encoder {
	if e, ok := s.encoders.Get().(*encoder); ok {
		return e
	}
	return &encoder{}
}

// release keeps an encoder's buffers for the next one, without the spans they
// were made of.
func (s *Store) release(e *encoder) {
	clear(e.places[:cap(e.places)])
	s.encoders.Put(e)
}

// replay is where a batch comes from.
type replay struct {
	spool  string
	number uint64
}

// Replay implements tracing.Replayer.
func (s *Store) Replay(ctx context.Context, spool string, number uint64, spans []tracing.Span) error {
	if number > math.MaxInt64 {
		return &tracing.Error{Code: tracing.Invalid, Message: "the number of a batch is too large"}
	}
	e := s.encoder()
	defer s.release(e)
	return s.store(ctx, e, []*pending{{spans: spans}}, &replay{spool, number})
}

// store writes a batch in one transaction.
func (s *Store) store(ctx context.Context, e *encoder, waiting []*pending, from *replay) error {
	began := time.Now()
	spans := 0
	for _, p := range waiting {
		spans += len(p.spans)
	}
	err := s.tryStore(ctx, e, waiting, from)
	// Two processes may meet new names in turn; the one that lost tries again.
	var pe *pgconn.PgError
	if errors.As(err, &pe) && (pe.Code == "40P01" || pe.Code == "40001") {
		err = s.tryStore(ctx, e, waiting, from)
	}
	if err != nil {
		s.metrics.failed.Add(float64(spans))
		return s.fail(ctx, err, "store spans")
	}
	s.metrics.stored.Add(float64(spans))
	s.metrics.batchSpans.Observe(float64(spans))
	s.metrics.batchSeconds.Observe(time.Since(began).Seconds())
	return nil
}

func (s *Store) tryStore(ctx context.Context, e *encoder, waiting []*pending, from *replay) error {
	dicts, err := s.dictionaries(ctx)
	if err != nil {
		return err
	}
	id, err := s.blocks.next(ctx, s.pool)
	if err != nil {
		return err
	}
	now := s.now()
	e.encode(waiting, id, now-s.cfg.Retention.Microseconds(), now, now+clockAhead, dicts.encoder, s.train.sampler(dicts))
	fresh := s.names.unseen(waiting, s.cfg.TagKeys, now)

	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing after a commit
	if from != nil {
		tag, err := tx.Exec(ctx, `INSERT INTO tracing.batch AS b (spool, number) VALUES ($1, $2)
			ON CONFLICT (spool) DO UPDATE SET number = excluded.number, replayed = now() WHERE b.number < excluded.number`, from.spool, int64(from.number))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return nil // it was replayed before
		}
	}
	if err := fresh.insert(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(e.rows), "COPY tracing.fragment ("+copyColumns+") FROM STDIN BINARY"); err != nil {
		return err
	}
	b := &pgx.Batch{}
	// A database may be set to answer before it has written: not here.
	b.Queue("SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'")
	b.Queue("INSERT INTO tracing.dirty (id, traces) VALUES ($1, $2)", id, e.traces)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	s.names.add(fresh)
	s.metrics.bytes.Add(float64(len(e.rows)))
	return nil
}

// blocks hands out the ids of batches, of which it takes a thousand at a time.
type blocks struct {
	mu   sync.Mutex
	at   int64
	left int
}

const blockSize = 1000

func (b *blocks) next(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		var block int64
		if err := db.QueryRow(ctx, "SELECT nextval('tracing.batch_block')").Scan(&block); err != nil {
			return 0, err
		}
		b.at, b.left = block*blockSize, blockSize
	}
	b.at++
	b.left--
	return b.at, nil
}
