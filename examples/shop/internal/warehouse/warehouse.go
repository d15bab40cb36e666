// Package warehouse is the stock of one instance of inventory: articles on
// shelves, and reservations that put them back when they expire.
package warehouse

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrUnknownArticle is returned for an article that is not in the catalogue.
var ErrUnknownArticle = errors.New("unknown article")

// Warehouse holds stock in memory. It is safe for concurrent use.
type Warehouse struct {
	name string
	hold time.Duration
	now  func() time.Time

	mu       sync.Mutex
	shelves  map[string]*shelf
	expiring []hold // in order of expiry, since every hold lasts equally long
	issued   uint64
}

type shelf struct{ available, reserved int32 }

type hold struct {
	sku     string
	count   int32
	expires time.Time
}

// Reservation is the outcome of Reserve.
type Reservation struct {
	ID        string // empty when nothing was reserved
	Reserved  bool
	Remaining int32
	Expires   time.Time
}

// New returns a warehouse with the given pieces of each article. Reservations
// are named after the warehouse and last for holdFor.
func New(name string, stock map[string]int32, holdFor time.Duration, now func() time.Time) *Warehouse {
	w := &Warehouse{name: name, hold: holdFor, now: now, shelves: make(map[string]*shelf, len(stock))}
	for sku, n := range stock {
		w.shelves[sku] = &shelf{available: n}
	}
	return w
}

// Articles lists the catalogue, sorted.
func (w *Warehouse) Articles() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.shelves))
}

// Reserve takes count pieces off the shelf until the reservation expires. With
// too few pieces it reserves none and says how many there are.
func (w *Warehouse) Reserve(sku string, count int32) (Reservation, error) {
	if count < 1 {
		return Reservation{}, fmt.Errorf("count is %d: reserve one piece or more", count)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.shelf(sku)
	if err != nil {
		return Reservation{}, err
	}
	if s.available < count {
		return Reservation{Remaining: s.available}, nil
	}
	s.available -= count
	s.reserved += count
	w.issued++
	expires := w.now().Add(w.hold)
	w.expiring = append(w.expiring, hold{sku, count, expires})
	return Reservation{
		ID:        fmt.Sprintf("%s-%d", w.name, w.issued),
		Reserved:  true,
		Remaining: s.available,
		Expires:   expires,
	}, nil
}

// Stock tells how many pieces of an article are on the shelf and reserved.
func (w *Warehouse) Stock(sku string) (available, reserved int32, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.shelf(sku)
	if err != nil {
		return 0, 0, err
	}
	return s.available, s.reserved, nil
}

// shelf puts back what has expired and returns the shelf of an article. The
// caller holds mu.
func (w *Warehouse) shelf(sku string) (*shelf, error) {
	now, done := w.now(), 0
	for _, h := range w.expiring {
		if h.expires.After(now) {
			break
		}
		s := w.shelves[h.sku]
		s.available += h.count
		s.reserved -= h.count
		done++
	}
	w.expiring = slices.Delete(w.expiring, 0, done)
	s := w.shelves[sku]
	if s == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownArticle, sku)
	}
	return s, nil
}
