// Package pricing tells what articles cost. Today's price is the supplier's to
// say, who is slow at times; hystrix guards the question, and yesterday's price
// list stands in.
package pricing

import (
	"context"
	"errors"
	"net/http"
	"time"

	"shop.example/api/pricing"
	"shop.example/internal/knob"
	"shop.example/internal/web"
)

// Command is the hystrix command that guards the supplier.
const Command = "supplier.quote"

// Operation is the supplier's knob.
const Operation = "quote"

// yesterday is the list that stands in.
var yesterday = map[string]int64{"book": 1990, "lamp": 3450, "mug": 790, "pen": 250}

// Service answers GET /prices/{sku}.
type Service struct {
	Instance string
	Knobs    *knob.Board
	// Work is how long the supplier takes.
	Work time.Duration
}

// Handler returns the service's handler.
func (s *Service) Handler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /prices/{sku}", s.price)
	return mux
}

func (s *Service) price(w http.ResponseWriter, r *http.Request) {
	sku := r.PathValue("sku")
	listed, ok := yesterday[sku]
	if !ok {
		web.JSON(w, http.StatusNotFound, map[string]string{"error": "no article " + sku + " in the catalogue"})
		return
	}
	p := pricing.Price{Sku: sku, Guard: Guard, ServedBy: s.Instance}
	err := guard(r.Context(), Command,
		func(ctx context.Context) error {
			cents, err := s.quote(ctx, sku)
			p.Cents = cents
			return err
		},
		func(context.Context, error) error {
			p.Cents, p.Stale = listed, true
			return nil
		})
	if err != nil {
		web.JSON(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	web.JSON(w, http.StatusOK, p)
}

// quote asks the supplier, who adds a day's change to the list.
func (s *Service) quote(ctx context.Context, sku string) (int64, error) {
	if err := s.Knobs.Feel(ctx, Operation); err != nil {
		return 0, err
	}
	timer := time.NewTimer(s.Work)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	cents, ok := yesterday[sku]
	if !ok {
		return 0, errors.New("the supplier has no " + sku)
	}
	return cents + int64(time.Now().YearDay()%7)*10, nil
}
