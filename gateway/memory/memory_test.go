package memory_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/gateway/gatewaytest"
	"github.com/weirmesh/weir/gateway/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	gatewaytest.Run(t, func(t *testing.T, set gatewaytest.Settings) gatewaytest.Subject {
		t.Helper()
		var mu sync.Mutex
		var skew time.Duration
		s := memory.New(memory.Options{Horizon: set.Horizon, Poll: set.Poll, Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(skew)
		}})
		return gatewaytest.Subject{Store: s, Age: func(t *testing.T, node string, by time.Duration) {
			t.Helper()
			nodes, err := s.Nodes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			back := func(d time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				skew += d
			}
			// Said again, by a clock that was behind.
			for _, n := range nodes {
				if n.Name == node {
					back(-by)
					defer back(by)
					if err := s.SetNode(t.Context(), n); err != nil {
						t.Fatal(err)
					}
				}
			}
		}}
	})
}
