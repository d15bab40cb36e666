package node_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/node"
)

// store keeps one node, and can be away.
type store struct {
	mu    sync.Mutex
	away  bool
	said  []time.Time
	ended []string
}

func (s *store) SetNode(ctx context.Context, _ node.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("away")
	}
	s.said = append(s.said, time.Now())
	return ctx.Err()
}

func (s *store) EndNode(_ context.Context, n node.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, n.Name)
	return nil
}

func (s *store) goAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *store) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &store{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- node.Keep(ctx, s, func() node.Node { return node.Node{Name: "one"} }, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		time.Sleep(time.Minute) //nolint:forbidigo // it is the time of the bubble
		synctest.Wait()
		said := s.times()
		if n := len(said); n < 10 || n > 14 {
			t.Errorf("said %d times in a minute", n)
		}
		for i := 1; i < len(said); i++ {
			if gap := said[i].Sub(said[i-1]); gap > node.Gone/3 {
				t.Errorf("silent for %s", gap)
			}
		}
		// A store that is away is told once, and found again.
		s.goAway(true)
		time.Sleep(time.Minute) //nolint:forbidigo // it is the time of the bubble
		synctest.Wait()
		s.goAway(false)
		before := len(s.times())
		time.Sleep(node.Gone) //nolint:forbidigo // it is the time of the bubble
		synctest.Wait()
		more := len(s.times()) - before
		cancel()
		if err := <-done; err != nil || len(s.ended) != 1 {
			t.Errorf("%v, ended %v", err, s.ended)
		}
		if strings.Count(log.String(), "cannot say that this node lives") != 1 || more < 1 {
			t.Errorf("said %d more; logged\n%s", more, &log)
		}
	})
}
