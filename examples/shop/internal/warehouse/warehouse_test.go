package warehouse

import (
	"errors"
	"sync"
	"testing"
	"time"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestReserveTakesAndExpiryPutsBack(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	w := New("inv-1", map[string]int32{"book": 3}, time.Minute, c.now)

	r, err := w.Reserve("book", 2)
	if err != nil || !r.Reserved || r.Remaining != 1 || r.ID != "inv-1-1" {
		t.Fatalf("first reservation: %+v, %v", r, err)
	}
	if want := c.now().Add(time.Minute); !r.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", r.Expires, want)
	}
	if r, err = w.Reserve("book", 2); err != nil || r.Reserved || r.ID != "" || r.Remaining != 1 {
		t.Fatalf("too few pieces: %+v, %v", r, err)
	}
	if a, held, _ := w.Stock("book"); a != 1 || held != 2 {
		t.Fatalf("stock is %d and %d reserved, want 1 and 2", a, held)
	}

	c.advance(time.Minute)
	if a, held, _ := w.Stock("book"); a != 3 || held != 0 {
		t.Fatalf("after expiry stock is %d and %d reserved, want 3 and 0", a, held)
	}
}

func TestReserveRefusesNonsense(t *testing.T) {
	w := New("inv-1", map[string]int32{"book": 3}, time.Minute, time.Now)
	if _, err := w.Reserve("unicorn", 1); !errors.Is(err, ErrUnknownArticle) {
		t.Errorf("unknown article: %v", err)
	}
	for _, n := range []int32{0, -1} {
		if _, err := w.Reserve("book", n); err == nil || errors.Is(err, ErrUnknownArticle) {
			t.Errorf("count %d: %v", n, err)
		}
	}
	if a, held, _ := w.Stock("book"); a != 3 || held != 0 {
		t.Errorf("refused calls changed the stock to %d and %d", a, held)
	}
}

func TestReserveNeverSellsTwice(t *testing.T) {
	const pieces = 500
	w := New("inv-1", map[string]int32{"book": pieces}, time.Hour, time.Now)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			for range 100 {
				r, err := w.Reserve("book", 1)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Reserved {
					mu.Lock()
					ids[r.ID] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(ids) != pieces {
		t.Fatalf("%d different reservations of %d pieces", len(ids), pieces)
	}
}
