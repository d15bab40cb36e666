package breaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/governance"
)

func TestOutcomes(t *testing.T) {
	errBusiness := errors.New("no such article")
	expired := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 10*time.Millisecond)
	}
	own := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	wait := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	for name, test := range map[string]struct {
		ctx     func() (context.Context, context.CancelFunc)
		timeout time.Duration
		f       func(context.Context) (int, error)
		want    governance.Counts
	}{
		"answer":             {own, 0, func(context.Context) (int, error) { return 1, nil }, governance.Counts{Success: 1}},
		"error":              {own, 0, func(context.Context) (int, error) { return 1, errBroken }, governance.Counts{Failure: 1}},
		"ignored":            {own, 0, func(context.Context) (int, error) { return 0, fmt.Errorf("x: %w", Ignore(errBroken)) }, governance.Counts{Ignored: 1}},
		"classified":         {own, 0, func(context.Context) (int, error) { return 0, errBusiness }, governance.Counts{Ignored: 1}},
		"policy's timeout":   {own, time.Second, wait, governance.Counts{Timeout: 1}},
		"caller's deadline":  {expired, time.Second, wait, governance.Counts{Timeout: 1}},
		"without a policy":   {expired, 0, wait, governance.Counts{Timeout: 1}},
		"wrapped":            {expired, 0, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, errBroken }, governance.Counts{Timeout: 1}},
		"deadline elsewhere": {own, 0, func(context.Context) (int, error) { return 0, context.DeadlineExceeded }, governance.Counts{Timeout: 1}},
		"cancel elsewhere":   {own, 0, func(context.Context) (int, error) { return 0, context.Canceled }, governance.Counts{Failure: 1}},
		"late answer":        {own, time.Second, func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, nil }, governance.Counts{Timeout: 1}},
		"ignored and late":   {own, time.Second, func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, errBusiness }, governance.Counts{Ignored: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newSet(t, governance.Rules{Timeout: governance.Duration(test.timeout)})
				c := s.Circuit(reserve, WithClassify(func(err error) Outcome {
					if errors.Is(err, errBusiness) {
						return Ignored
					}
					return Failure
				}))
				ctx, cancel := test.ctx()
				defer cancel()
				v, err := Do(ctx, c, test.f)
				wantV, wantErr := test.f(expiredContext())
				if v != wantV || (err == nil) != (wantErr == nil) {
					t.Errorf("answered %d, %v", v, err)
				}
				pass(time.Second)
				if got := total(s, time.Now()); got != test.want {
					t.Errorf("counted %+v, want %+v", got, test.want)
				}
			})
		})
	}
}

func expiredContext() context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	cancel()
	return ctx
}

func TestTimeoutsSayWhose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, governance.Rules{})
		c := s.Circuit(reserve)
		apply(t, s, version(3, governance.Policy{Name: "p", Rules: governance.Rules{Timeout: governance.Duration(time.Second)}}))
		began := time.Now()
		_, _ = Do(t.Context(), c, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			if got, want := context.Cause(ctx).Error(), "breaker: InventoryService.reserve took longer than the 1s of policy shop/p, version 3"; got != want {
				t.Errorf("%s", got)
			}
			return 0, nil
		})
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A caller that is gone is not counted against anybody.
func TestCallersThatAreGone(t *testing.T) {
	s, _ := newSet(t, governance.Rules{})
	c := s.Circuit(reserve)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Do(ctx, c, func(context.Context) (int, error) { t.Error("called"); return 0, nil },
		WithFallback(func(context.Context, error) (int, error) { t.Error("fell back"); return 0, nil }))
	refusedBy(t, err, ReasonGone)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := total(s, time.Now().Add(time.Minute)); got != (governance.Counts{}) {
		t.Errorf("%+v", got)
	}
}

func TestPanicsPassAndCount(t *testing.T) {
	s, _ := newSet(t, governance.Rules{Breaker: &governance.Breaker{MinCalls: 3}, Bulkhead: &governance.Bulkhead{Concurrent: 1}})
	c := s.Circuit(reserve)
	for range 2 {
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v", r)
				}
			}()
			_, _ = Do(t.Context(), c, func(context.Context) (int, error) { panic("boom") })
		}()
	}
	done := make(chan struct{})
	go func() { // as t.FailNow does
		defer close(done)
		_, _ = Do(t.Context(), c, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	}()
	<-done
	wantState(t, c, governance.StateOpen)
	if st := c.Status(); st.InFlight != 0 {
		t.Errorf("%d in flight", st.InFlight)
	}
}

func TestFallbacks(t *testing.T) {
	type stock struct{ Left int }
	code := WithFallback(func(_ context.Context, err error) (stock, error) {
		if err == nil {
			t.Error("no cause")
		}
		return stock{-1}, nil
	})
	broken := WithFallback(func(context.Context, error) (stock, error) { return stock{}, errors.New("fallback broken") })
	value := func(v string) *governance.Fallback { return &governance.Fallback{Value: json.RawMessage(v)} }
	cached := func(e *governance.Fallback) *governance.Fallback {
		return &governance.Fallback{Cached: &governance.Cached{MaxAge: governance.Duration(time.Minute)}, Else: e}
	}
	for name, test := range map[string]struct {
		policy     *governance.Fallback
		opts       []Option
		want       stock
		err        string
		good, fail int64
	}{
		"none":               {nil, nil, stock{}, "broken", 0, 0},
		"code":               {nil, []Option{code}, stock{-1}, "", 1, 0},
		"code fails":         {nil, []Option{broken}, stock{}, "broken; its fallback failed as well: fallback broken", 0, 1},
		"policy over code":   {value(`{"Left":3}`), []Option{broken}, stock{3}, "", 1, 0},
		"policy's zero":      {&governance.Fallback{Empty: true}, []Option{code}, stock{}, "", 1, 0},
		"policy's error":     {&governance.Fallback{Error: "closed on Sundays"}, []Option{code}, stock{}, "closed on Sundays", 0, 0},
		"a value that fails": {value(`"three"`), nil, stock{}, "broken; its fallback failed as well: breaker: the policy's fallback does not fit the answer", 0, 1},
		"decoder": {value(`"three"`), []Option{WithDecoder(func(m json.RawMessage) (stock, error) { return stock{len(m)}, nil })},
			stock{7}, "", 1, 0},
		"cached":             {cached(nil), []Option{WithCacheKey("kept")}, stock{9}, "", 1, 0},
		"not cached, code":   {cached(nil), []Option{WithCacheKey("other"), code}, stock{-1}, "", 1, 0},
		"not cached, policy": {cached(value(`{"Left":3}`)), []Option{WithCacheKey("other"), code}, stock{3}, "", 1, 0},
		"no key":             {cached(value(`{"Left":3}`)), nil, stock{3}, "", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newSet(t, governance.Rules{})
				c := s.Circuit(reserve)
				if _, err := Do(t.Context(), c, func(context.Context) (stock, error) { return stock{9}, nil }, WithCacheKey("kept")); err != nil {
					t.Fatal(err)
				}
				if test.policy != nil {
					apply(t, s, version(1, governance.Policy{Rules: governance.Rules{Fallback: test.policy}}))
				}
				v, err := Do(t.Context(), c, func(context.Context) (stock, error) { return stock{1}, errBroken }, test.opts...)
				if name == "none" {
					test.want = stock{1} // as the function answered
				}
				if v != test.want || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("answered %v, %v", v, err)
				}
				if err != nil && !errors.Is(err, errBroken) {
					t.Errorf("%v hides its cause", err)
				}
				pass(time.Second)
				if got, want := total(s, time.Now()), (governance.Counts{Success: 1, Failure: 1, FallbackSuccess: test.good, FallbackFailure: test.fail}); got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}
			})
		})
	}
}

func TestIgnoredErrorsGetNoFallback(t *testing.T) {
	s, _ := newSet(t, governance.Rules{Fallback: &governance.Fallback{Empty: true}})
	_, err := Do(t.Context(), s.Circuit(reserve), func(context.Context) (int, error) { return 0, Ignore(errBroken) })
	if !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if Ignore(nil) != nil {
		t.Error("an ignored nil is an error")
	}
}

func TestCachedAnswersAgeAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, governance.Rules{})
		c := s.Circuit(reserve)
		for i := range maxKept + 1 {
			c.Keep(fmt.Sprint(i), i)
			c.Kept("1", time.Hour) // used, so it stays
		}
		c.Keep(strings.Repeat("k", maxKeyBytes+1), "too long")
		if n := len(c.cache.byKey); n != maxKept || c.cache.used.Len() != n {
			t.Errorf("%d answers are kept", n)
		}
		if _, ok := c.Kept("0", time.Hour); ok {
			t.Error("the one used longest ago is still there")
		}
		pass(time.Minute)
		if v, ok := c.Kept("1", time.Minute); !ok || v != 1 {
			t.Errorf("%v, %v", v, ok)
		}
		if _, ok := c.Kept("1", time.Minute-1); ok {
			t.Error("too old an answer")
		}
	})
}

func TestOptionsOfAnotherTypeAreAMistake(t *testing.T) {
	s, _ := newSet(t, governance.Rules{})
	defer func() {
		if r := recover(); r == nil {
			t.Error("taken")
		}
	}()
	_, _ = Do(t.Context(), s.Circuit(reserve), func(context.Context) (int, error) { return 0, nil },
		WithFallback(func(context.Context, error) (string, error) { return "", nil }))
}

func TestCallsDoNotAllocate(t *testing.T) {
	s, _ := newSet(t, governance.Rules{})
	c := s.Circuit(reserve)
	ctx := t.Context()
	f := func(context.Context) (int, error) { return 1, nil }
	fallback := func(context.Context, error) (int, error) { return 2, nil }
	_, _ = Do(ctx, c, f)
	if n := testing.AllocsPerRun(1000, func() { _, _ = Do(ctx, c, f, WithFallback(fallback)) }); n >= 1 {
		t.Errorf("%g allocations for a call", n)
	}
	apply(t, s, pulled(1, time.Time{}, nil))
	if n := testing.AllocsPerRun(1000, func() { _, _ = Do(ctx, c, f, WithFallback(fallback)) }); n >= 1 {
		t.Errorf("%g allocations for a refused call", n)
	}
}
