package pause_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/pause"
)

func TestForWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !pause.For(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("waited for %v", time.Since(began))
		}
	})
}

func TestForEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if pause.For(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Errorf("ended after %v", time.Since(began))
		}
	})
}

func TestForNothingAsksForTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if !pause.For(ctx, 0) {
		t.Error("a context that goes on counted as ended")
	}
	cancel()
	if pause.For(ctx, -1) {
		t.Error("a context that has ended counted as going on")
	}
}
