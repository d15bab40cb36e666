// Package knob makes a service slow or faulty on request, so that what guards it
// can be watched at work. Every knob turns back by itself.
package knob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrInjected is what a call fails with when a knob says so.
var ErrInjected = errors.New("shop: a knob made this call fail")

// Limits of a Setting.
const (
	DefaultFor = 5 * time.Minute
	MaxFor     = time.Hour
	MaxLatency = time.Minute
)

// Setting is what a knob does to the calls of one operation.
type Setting struct {
	// Latency is added to each call.
	Latency Duration `json:"latency,omitempty"`
	// ErrorPercent of the calls fail, after the latency.
	ErrorPercent float64 `json:"errorPercent,omitempty"`
	// For is how long it holds; DefaultFor if left out.
	For Duration `json:"for,omitempty"`
	// Until is when it ends; set by Turn.
	Until time.Time `json:"until,omitzero"`
}

// Duration is a time.Duration that JSON writes as "300ms".
type Duration time.Duration

// MarshalJSON writes Go's spelling.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads Go's spelling.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("%s is no duration such as \"300ms\"", data)
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

func (s Setting) validate() error {
	switch {
	case s.Latency < 0 || time.Duration(s.Latency) > MaxLatency:
		return fmt.Errorf("latency %s is not between 0s and %s", time.Duration(s.Latency), MaxLatency)
	case s.ErrorPercent < 0 || s.ErrorPercent > 100:
		return fmt.Errorf("errorPercent %g is not between 0 and 100", s.ErrorPercent)
	case s.For < 0 || time.Duration(s.For) > MaxFor:
		return fmt.Errorf("for %s is not between 0s and %s", time.Duration(s.For), MaxFor)
	case s.Latency == 0 && s.ErrorPercent == 0:
		return errors.New("neither latency nor errorPercent is given: to turn a knob back, use DELETE")
	}
	return nil
}

// Board holds the knobs of one process. It is safe for concurrent use.
type Board struct {
	operations []string
	now        func() time.Time

	mu    sync.Mutex
	knobs map[string]Setting
}

// NewBoard returns a board with a knob for each operation.
func NewBoard(now func() time.Time, operations ...string) *Board {
	return &Board{operations: operations, now: now, knobs: map[string]Setting{}}
}

// Turn sets an operation's knob.
func (b *Board) Turn(operation string, s Setting) error {
	if !slices.Contains(b.operations, operation) {
		return fmt.Errorf("there is no operation %q here; there are %s", operation, strings.Join(b.operations, ", "))
	}
	if err := s.validate(); err != nil {
		return err
	}
	if s.For == 0 {
		s.For = Duration(DefaultFor)
	}
	s.Until = b.now().Add(time.Duration(s.For))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.knobs[operation] = s
	return nil
}

// Reset turns all knobs back.
func (b *Board) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.knobs)
}

// Settings returns the knobs that are turned.
func (b *Board) Settings() map[string]Setting {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	maps.DeleteFunc(b.knobs, func(_ string, s Setting) bool { return !now.Before(s.Until) })
	return maps.Clone(b.knobs)
}

// Feel does to a call of an operation what its knob says: it takes the time and
// returns ErrInjected, or why ctx ended.
func (b *Board) Feel(ctx context.Context, operation string) error {
	b.mu.Lock()
	s, turned := b.knobs[operation]
	b.mu.Unlock()
	if !turned || !b.now().Before(s.Until) {
		return nil
	}
	if s.Latency > 0 {
		timer := time.NewTimer(time.Duration(s.Latency))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if rand.Float64()*100 < s.ErrorPercent {
		return ErrInjected
	}
	return nil
}

// Handler serves the board at /knobs: GET lists, PUT takes {operation: setting},
// DELETE turns all back. Each answers with what is turned.
func (b *Board) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter) {
		body, err := json.Marshal(b.Settings())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // a reader that left needs no answer
	}
	mux.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) { answer(w) })
	mux.HandleFunc("DELETE /knobs", func(w http.ResponseWriter, _ *http.Request) {
		b.Reset()
		answer(w)
	})
	mux.HandleFunc("PUT /knobs", func(w http.ResponseWriter, r *http.Request) {
		var wanted map[string]Setting
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		d.DisallowUnknownFields()
		if err := d.Decode(&wanted); err != nil {
			http.Error(w, `want {"operation": {"latency": "300ms", "errorPercent": 50, "for": "1m"}}: `+err.Error(), http.StatusBadRequest)
			return
		}
		for operation, s := range wanted {
			if err := b.Turn(operation, s); err != nil {
				http.Error(w, operation+": "+err.Error(), http.StatusBadRequest)
				return
			}
		}
		answer(w)
	})
	return mux
}
