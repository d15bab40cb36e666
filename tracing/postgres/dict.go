package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"
)

// A fragment is mostly one span, too short for zstd to learn anything of: a
// dictionary trained on others halves it.
const (
	dictionaryBytes  = 64 << 10
	sampleWanted     = 6000        // fragments to train on
	sampleBytes      = 16 << 20    // at most
	sampleEvery      = 3           // one fragment in so many is kept
	dictionaryLife   = 7 * day     // until the next is trained
	dictionaryReload = time.Minute // until others' are used
	inflatedLimit    = 256 << 20   // of one payload; a body has less
)

// dictionaries are those known, ready for use.
type dictionaries struct {
	encoder *zstd.Encoder // with the newest
	decoder *zstd.Decoder // with all
	newest  uint32        // 0 for none
	made    time.Time     // of the newest
	loaded  time.Time
	known   int
}

// dictionaries returns those in use, and loads them first if they are old.
func (s *Store) dictionaries(ctx context.Context) (*dictionaries, error) {
	d := s.dicts.Load()
	if d != nil && time.Since(d.loaded) < dictionaryReload {
		return d, nil
	}
	return s.loadDictionaries(ctx, d)
}

// loadDictionaries returns newer ones than those the caller has, nil for none.
func (s *Store) loadDictionaries(ctx context.Context, have *dictionaries) (*dictionaries, error) {
	s.train.loading.Lock()
	defer s.train.loading.Unlock()
	old := s.dicts.Load()
	if old != have {
		return old, nil // another caller has just done so
	}
	rows, err := s.pool.Query(ctx, "SELECT id, made, retired IS NOT NULL, bytes FROM tracing.dictionary ORDER BY id LIMIT 10000")
	if err != nil {
		return nil, s.fail(ctx, err, "load dictionaries")
	}
	d := &dictionaries{loaded: time.Now()}
	var all [][]byte
	var newest []byte
	var id int32
	var made time.Time
	var retired bool
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &made, &retired, &raw}, func() error {
		own := append([]byte(nil), raw...)
		all = append(all, own)
		if !retired {
			d.newest, d.made, newest = uint32(id), made, own
		}
		return nil
	})
	if err != nil {
		return nil, s.fail(ctx, err, "load dictionaries")
	}
	d.known = len(all)
	if old != nil && old.newest == d.newest && old.known == d.known {
		d.encoder, d.decoder = old.encoder, old.decoder
		s.dicts.Store(d)
		return d, nil
	}
	options := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(s.cfg.Writers), zstd.WithEncoderCRC(true), zstd.WithSingleSegment(true), zstd.WithWindowSize(128 << 10)}
	if newest != nil {
		options = append(options, zstd.WithEncoderDict(newest))
	}
	if d.encoder, err = zstd.NewWriter(nil, options...); err != nil {
		return nil, fmt.Errorf("use dictionary %d: %w", d.newest, err)
	}
	d.decoder, err = zstd.NewReader(nil, zstd.WithDecoderDicts(all...), zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(inflatedLimit))
	if err != nil {
		return nil, fmt.Errorf("use dictionaries: %w", err)
	}
	s.dicts.Store(d)
	return d, nil
}

// trainer gathers fragments for the next dictionary.
type trainer struct {
	loading sync.Mutex
	wanted  int // fragments to train on; set before use

	mu      sync.Mutex
	samples [][]byte
	bytes   int
	seen    int
}

// sampler returns what keeps a sample of payloads, nil while none is wanted.
func (t *trainer) sampler(d *dictionaries) func([]byte) {
	if d.newest != 0 && time.Since(d.made) < dictionaryLife {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.enough() {
		return nil
	}
	return func(payload []byte) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.seen++
		if t.seen%sampleEvery == 0 && !t.enough() && len(payload) >= 32 {
			t.samples = append(t.samples, append([]byte(nil), payload...))
			t.bytes += len(payload)
		}
	}
}

func (t *trainer) enough() bool { return len(t.samples) >= t.wanted || t.bytes >= sampleBytes }

func (t *trainer) take() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.enough() {
		return nil
	}
	out := t.samples
	t.samples, t.bytes, t.seen = nil, 0, 0
	return out
}

// trainIfDue makes a dictionary once enough was sampled. Of several processes that
// do so at once, the first wins.
func (s *Store) trainIfDue(ctx context.Context) (more bool, err error) {
	samples := s.train.take()
	if samples == nil {
		return false, nil
	}
	d, err := s.dictionaries(ctx)
	if err != nil {
		return false, err
	}
	id := d.newest + 1
	raw, err := trainDictionary(samples, id)
	if err != nil {
		// What was sampled has nothing in common: the next sample may.
		return false, fmt.Errorf("train a dictionary: %w", err)
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO tracing.dictionary (id, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING", int32(id), raw)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE tracing.dictionary SET retired = now() WHERE id < $1 AND retired IS NULL", int32(id))
		return err
	})
	if err != nil {
		return false, s.fail(ctx, err, "store a dictionary")
	}
	if _, err := s.loadDictionaries(ctx, s.dicts.Load()); err != nil {
		return false, err
	}
	s.cfg.Log.InfoContext(ctx, "trained a dictionary", "id", id, "samples", len(samples), "bytes", len(raw))
	return false, nil
}

// trainDictionary makes a zstd dictionary of samples. The library panics on
// samples it can make nothing of, which must not end the process.
func trainDictionary(samples [][]byte, id uint32) (raw []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the trainer failed: %v", r)
		}
	}()
	raw, err = dict.BuildZstdDict(samples, dict.Options{MaxDictSize: dictionaryBytes, HashBytes: 6, ZstdDictID: id, ZstdLevel: zstd.SpeedFastest})
	if err != nil {
		return nil, err
	}
	if _, err := zstd.NewWriter(nil, zstd.WithEncoderDict(raw)); err != nil {
		return nil, err
	}
	return raw, nil
}
