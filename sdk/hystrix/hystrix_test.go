package hystrix_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	afex "github.com/afex/hystrix-go/hystrix"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/hystrix"
	"github.com/weirmesh/weir/sdk/sdktest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, // hystrix-go cannot end what it starts for each circuit
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*metricExchange).Monitor"),
		goleak.IgnoreAnyFunction("github.com/afex/hystrix-go/hystrix.(*poolMetrics).Monitor"))
}

// shape describes a type by its structure; unexported names do not matter.
func shape(t reflect.Type, depth int) string {
	if depth > 4 {
		return t.Kind().String()
	}
	var b strings.Builder
	switch t.Kind() {
	case reflect.Func:
		b.WriteString("func(")
		for in := range t.Ins() {
			b.WriteString(shape(in, depth+1) + ",")
		}
		b.WriteString(")(")
		for out := range t.Outs() {
			b.WriteString(shape(out, depth+1) + ",")
		}
		return b.String() + ")"
	case reflect.Pointer, reflect.Slice, reflect.Chan:
		return t.Kind().String() + " " + shape(t.Elem(), depth+1)
	case reflect.Map:
		return "map " + shape(t.Key(), depth+1) + " " + shape(t.Elem(), depth+1)
	case reflect.Interface:
		if t.PkgPath() == "" || t.NumMethod() == 0 || !strings.Contains(t.PkgPath(), "hystrix") {
			return t.String()
		}
		for m := range t.Methods() {
			b.WriteString(m.Name + shape(m.Type, depth+1) + ";")
		}
		return "interface{" + b.String() + "}"
	case reflect.Struct:
		if !strings.Contains(t.PkgPath(), "hystrix") {
			return t.String()
		}
		b.WriteString(t.Name() + "{")
		for f := range t.Fields() {
			if f.IsExported() {
				b.WriteString(f.Name + " " + shape(f.Type, depth+1) + " " + string(f.Tag) + ";")
			}
		}
		return b.String() + "}"
	}
	return t.String()
}

// TestSameFunctions holds that swapping the import path suffices: everything that
// hystrix-go exports is here, with its shape.
func TestSameFunctions(t *testing.T) {
	for name, pair := range map[string][2]any{
		"Do": {afex.Do, hystrix.Do}, "DoC": {afex.DoC, hystrix.DoC}, "Go": {afex.Go, hystrix.Go}, "GoC": {afex.GoC, hystrix.GoC},
		"Configure": {afex.Configure, hystrix.Configure}, "ConfigureCommand": {afex.ConfigureCommand, hystrix.ConfigureCommand},
		"CommandConfig": {afex.CommandConfig{}, hystrix.CommandConfig{}}, "Settings": {afex.Settings{}, hystrix.Settings{}},
		"GetCircuit": {afex.GetCircuit, hystrix.GetCircuit}, "GetCircuitSettings": {afex.GetCircuitSettings, hystrix.GetCircuitSettings},
		"Flush": {afex.Flush, hystrix.Flush}, "SetLogger": {afex.SetLogger, hystrix.SetLogger}, "NoopLogger": {afex.NoopLogger{}, hystrix.NoopLogger{}},
		"CircuitError": {afex.CircuitError{}, hystrix.CircuitError{}}, "NewStreamHandler": {afex.NewStreamHandler, hystrix.NewStreamHandler},
		"Start": {(*afex.StreamHandler).Start, (*hystrix.StreamHandler).Start}, "Stop": {(*afex.StreamHandler).Stop, (*hystrix.StreamHandler).Stop},
		"ServeHTTP":    {(*afex.StreamHandler).ServeHTTP, (*hystrix.StreamHandler).ServeHTTP},
		"AllowRequest": {(*afex.CircuitBreaker).AllowRequest, (*hystrix.CircuitBreaker).AllowRequest},
		"IsOpen":       {(*afex.CircuitBreaker).IsOpen, (*hystrix.CircuitBreaker).IsOpen},
		"ReportEvent":  {(*afex.CircuitBreaker).ReportEvent, (*hystrix.CircuitBreaker).ReportEvent},
	} {
		if a, b := shape(reflect.TypeOf(pair[0]), 0), shape(reflect.TypeOf(pair[1]), 0); a != b {
			t.Errorf("%s\nhystrix-go %s\nhere       %s", name, a, b)
		}
	}
	for _, pair := range [][2]any{
		{afex.DefaultTimeout, hystrix.DefaultTimeout}, {afex.DefaultMaxConcurrent, hystrix.DefaultMaxConcurrent},
		{afex.DefaultVolumeThreshold, hystrix.DefaultVolumeThreshold}, {afex.DefaultSleepWindow, hystrix.DefaultSleepWindow},
		{afex.DefaultErrorPercentThreshold, hystrix.DefaultErrorPercentThreshold},
		{afex.ErrTimeout.Error(), hystrix.ErrTimeout.Error()}, {afex.ErrCircuitOpen.Error(), hystrix.ErrCircuitOpen.Error()},
		{afex.ErrMaxConcurrency.Error(), hystrix.ErrMaxConcurrency.Error()},
	} {
		if pair[0] != pair[1] {
			t.Errorf("hystrix-go has %v, here it is %v", pair[0], pair[1])
		}
	}
	hystrix.SetLogger(hystrix.DefaultLogger)
}

// side is one of the two implementations.
type side struct {
	name      string
	do        func(string, func() error, func(error) error) error
	doC       func(context.Context, string, func(context.Context) error, func(context.Context, error) error) error
	go_       func(string, func() error, func(error) error) chan error
	configure func(name string, timeout, concurrent, volume, sleep, percent int)
	settings  func(name string) (time.Duration, int, uint64, time.Duration, int)
}

var sides = []side{
	{
		"hystrix-go",
		func(n string, r func() error, f func(error) error) error { return afex.Do(n, r, f) },
		func(ctx context.Context, n string, r func(context.Context) error, f func(context.Context, error) error) error {
			return afex.DoC(ctx, n, r, f)
		},
		func(n string, r func() error, f func(error) error) chan error { return afex.Go(n, r, f) },
		func(n string, t, c, v, s, p int) {
			afex.ConfigureCommand(n, afex.CommandConfig{Timeout: t, MaxConcurrentRequests: c, RequestVolumeThreshold: v, SleepWindow: s, ErrorPercentThreshold: p})
		},
		func(n string) (time.Duration, int, uint64, time.Duration, int) {
			s := afex.GetCircuitSettings()[n]
			return s.Timeout, s.MaxConcurrentRequests, s.RequestVolumeThreshold, s.SleepWindow, s.ErrorPercentThreshold
		},
	}, {
		"here",
		func(n string, r func() error, f func(error) error) error { return hystrix.Do(n, r, f) },
		func(ctx context.Context, n string, r func(context.Context) error, f func(context.Context, error) error) error {
			return hystrix.DoC(ctx, n, r, f)
		},
		func(n string, r func() error, f func(error) error) chan error { return hystrix.Go(n, r, f) },
		func(n string, t, c, v, s, p int) {
			hystrix.ConfigureCommand(n, hystrix.CommandConfig{Timeout: t, MaxConcurrentRequests: c, RequestVolumeThreshold: v, SleepWindow: s, ErrorPercentThreshold: p})
		},
		func(n string) (time.Duration, int, uint64, time.Duration, int) {
			s := hystrix.GetCircuitSettings()[n]
			return s.Timeout, s.MaxConcurrentRequests, s.RequestVolumeThreshold, s.SleepWindow, s.ErrorPercentThreshold
		},
	},
}

var errBoom = errors.New("boom")

// eventually asks until it is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func text(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

// TestSideBySide holds that both do the same.
func TestSideBySide(t *testing.T) {
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			check := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: got %s, want %s", what, got, want)
				}
			}
			ok := func() error { return nil }
			fail := func() error { return errBoom }
			rescued := error(nil)
			rescue := func(err error) error { rescued = err; return nil }

			check("a success", text(s.do("basic", ok, rescue)), "nil")
			check("a success needs no rescue", text(rescued), "nil")
			check("a failure", text(s.do("basic", fail, nil)), "boom")
			check("a rescued failure", text(s.do("basic", fail, rescue)), "nil")
			check("the rescue is told why", text(rescued), "boom")
			check("a rescue that fails", text(s.do("basic", fail, func(error) error { return errors.New("crash") })),
				"fallback failed with 'crash'. run error was 'boom'")

			errs := s.go_("basic", fail, nil)
			check("a failure by the channel", text(<-errs), "boom")
			done := make(chan struct{})
			errs = s.go_("basic", func() error { close(done); return nil }, nil)
			<-done
			select {
			case err := <-errs:
				t.Errorf("of a success the channel says %v", err)
			case <-time.After(5 * time.Millisecond):
			}

			// A function that does not come back.
			s.configure("hang", 5, 1, 100, 1000, 50)
			hang := make(chan struct{})
			defer close(hang)
			check("a timeout", text(s.do("hang", func() error { <-hang; return nil }, nil)), "hystrix: timeout")
			check("a rescued timeout", text(s.do("hang2", func() error { return nil }, rescue)), "nil")

			// The caller's context.
			ctx, cancel := context.WithCancel(t.Context())
			running := make(chan struct{})
			go func() { <-running; cancel() }()
			err := s.doC(ctx, "gone", func(context.Context) error { close(running); <-hang; return nil }, nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a caller that goes gets %v", err)
			}
			err = s.doC(ctx, "gone", func(context.Context) error { <-hang; return nil }, func(_ context.Context, err error) error { rescued = err; return nil })
			check("gone before it began, rescued", text(err)+" "+text(rescued), "nil context canceled")

			// The bulkhead.
			s.configure("full", 10_000, 2, 100, 1000, 50)
			release := make(chan struct{})
			var inside sync.WaitGroup
			var all sync.WaitGroup
			for range 2 {
				inside.Add(1)
				all.Go(func() { _ = s.do("full", func() error { inside.Done(); <-release; return nil }, nil) })
			}
			inside.Wait()
			check("one too many", text(s.do("full", ok, nil)), "hystrix: max concurrency")
			check("one too many, rescued", text(s.do("full", ok, rescue))+" "+text(rescued), "nil hystrix: max concurrency")
			close(release)
			all.Wait()

			// Open, and closed again.
			s.configure("trip", 1000, 10, 5, 20, 50)
			eventually(t, "the circuit to open", func() bool { return text(s.do("trip", fail, nil)) == "hystrix: circuit open" })
			eventually(t, "the circuit to close", func() bool { return s.do("trip", ok, nil) == nil })
			check("closed again", text(s.do("trip", ok, nil)), "nil")

			// Settings, zero for the default.
			s.configure("set", 0, 7, 0, 90, 0)
			a, b, c, d, e := s.settings("set")
			check("settings", fmt.Sprint(a, b, c, d, e), "1s 7 20 90ms 50")
		})
	}
}

// What is better here than in hystrix-go.

func TestTimeoutsCancel(t *testing.T) {
	hystrix.ConfigureCommand("cancels", hystrix.CommandConfig{Timeout: 5})
	ended := make(chan error, 1)
	err := hystrix.DoC(t.Context(), "cancels", func(ctx context.Context) error {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return ctx.Err()
	}, nil)
	if err != hystrix.ErrTimeout { //nolint:errorlint // users compare like this
		t.Errorf("got %v", err)
	}
	if cause := <-ended; cause == nil {
		t.Error("the function's context did not end")
	}
}

func TestPlaceIsHeldBehindATimeout(t *testing.T) {
	hystrix.ConfigureCommand("held", hystrix.CommandConfig{Timeout: 5, MaxConcurrentRequests: 1})
	hang := make(chan struct{})
	if err := hystrix.Do("held", func() error { <-hang; return nil }, nil); err != hystrix.ErrTimeout { //nolint:errorlint // users compare like this
		t.Fatalf("got %v", err)
	}
	if err := hystrix.Do("held", func() error { return nil }, nil); err != hystrix.ErrMaxConcurrency { //nolint:errorlint // users compare like this
		t.Errorf("while the function still runs: %v", err)
	}
	// The bulkhead grows live.
	hystrix.ConfigureCommand("held", hystrix.CommandConfig{Timeout: 1000, MaxConcurrentRequests: 2})
	if err := hystrix.Do("held", func() error { return nil }, nil); err != nil {
		t.Errorf("with room for two: %v", err)
	}
	hystrix.ConfigureCommand("held", hystrix.CommandConfig{Timeout: 1000, MaxConcurrentRequests: 1})
	close(hang)
	eventually(t, "the place to be given back", func() bool { return hystrix.Do("held", func() error { return nil }, nil) == nil })
}

func TestHungCommandTrips(t *testing.T) {
	hystrix.ConfigureCommand("hung", hystrix.CommandConfig{Timeout: 1, MaxConcurrentRequests: 100, RequestVolumeThreshold: 3, SleepWindow: 60_000})
	hang := make(chan struct{})
	defer close(hang)
	for range 3 {
		_ = hystrix.Do("hung", func() error { <-hang; return nil }, nil)
	}
	if err := hystrix.Do("hung", func() error { return nil }, nil); err != hystrix.ErrCircuitOpen { //nolint:errorlint // users compare like this
		t.Errorf("while all its calls still hang: %v", err)
	}
	circuit, made, err := hystrix.GetCircuit("hung")
	if made || err != nil || !circuit.IsOpen() || circuit.AllowRequest() {
		t.Errorf("its circuit: made %t, open %t", made, circuit.IsOpen())
	}
	hystrix.Flush()
	if circuit.IsOpen() || !circuit.AllowRequest() {
		t.Error("it is open after Flush")
	}
}

func TestPanicsGoToTheCaller(t *testing.T) {
	defer func() {
		if v := recover(); v != "ouch" {
			t.Errorf("recovered %v", v)
		}
	}()
	_ = hystrix.Do("panics", func() error { panic("ouch") }, nil)
	t.Error("the panic was swallowed")
}

func TestReportEvent(t *testing.T) {
	hystrix.ConfigureCommand("asked", hystrix.CommandConfig{RequestVolumeThreshold: 4, SleepWindow: 1})
	circuit, made, _ := hystrix.GetCircuit("asked")
	if made {
		t.Error("it was configured, so it was there")
	}
	report := func(events ...string) {
		if err := circuit.ReportEvent(events, time.Now(), time.Millisecond); err != nil {
			t.Error(err)
		}
	}
	for _, e := range []string{"failure", "timeout", "context_deadline_exceeded", "failure"} {
		report(e, "fallback-success")
	}
	eventually(t, "the circuit to be tried again", circuit.AllowRequest)
	report("success")
	if circuit.IsOpen() {
		t.Error("a success did not close it")
	}
	if err := circuit.ReportEvent(nil, time.Now(), 0); err == nil {
		t.Error("a report of nothing was taken")
	}
}

// TestPoliciesHoldHere holds that what Adopt governs are also the commands of this
// package.
func TestPoliciesHoldHere(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/pricing")
	defer hystrix.Adopt(kit)()
	hystrix.ConfigureCommand("price", hystrix.CommandConfig{Timeout: 5000, MaxConcurrentRequests: 50})
	ok := func() error { return nil }
	if err := hystrix.Do("price", ok, nil); err != nil {
		t.Fatal(err)
	}
	pull := sdktest.Switch("shop/pricing", "price")
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	var ran atomic.Bool
	if err := hystrix.Do("price", func() error { ran.Store(true); return nil }, nil); err != hystrix.ErrCircuitOpen || ran.Load() { //nolint:errorlint // users compare like this
		t.Errorf("switched off: %v, ran %t", err, ran.Load())
	}
	pull.Fallback = &governance.Fallback{Error: "closed"}
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	err := hystrix.Do("price", ok, func(error) error { t.Error("the code's fallback ran"); return nil })
	var by *breaker.PolicyError
	if !errors.As(err, &by) || err.Error() != "closed" || !errors.Is(err, hystrix.ErrCircuitOpen) {
		t.Errorf("switched off with an error: %v", err)
	}
	pull.Fallback = &governance.Fallback{Empty: true}
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	if err := hystrix.Do("price", ok, nil); err != nil {
		t.Errorf("switched off with nothing: %v", err)
	}
	mesh.Delete(pull)
	a, _ := governance.ParseApp("shop/pricing")
	mesh.Publish(t, governance.Policy{Target: governance.Target{App: a, Command: "price"}, Rules: governance.Rules{
		Timeout: governance.Duration(7 * time.Second), Bulkhead: &governance.Bulkhead{Concurrent: 3},
		Breaker: &governance.Breaker{MinCalls: 9, ErrorPercent: 33, OpenFor: governance.Duration(time.Minute)},
	}})
	mesh.WaitApplied(t, kit)
	want := hystrix.Settings{Timeout: 7 * time.Second, MaxConcurrentRequests: 3, RequestVolumeThreshold: 9, SleepWindow: time.Minute, ErrorPercentThreshold: 33}
	if got := hystrix.GetCircuitSettings()["price"]; *got != want {
		t.Errorf("what holds is %+v, want %+v", *got, want)
	}
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := mesh.Counts("shop/pricing", "price"); c.Success != 1 || c.Switched != 3 || c.FallbackSuccess != 1 {
		t.Errorf("told of %+v", c)
	}
}

// Names that hold ids must not fill the memory: those beyond what a set counts
// apart share one command.
func TestNamesAreBounded(t *testing.T) {
	hystrix.Flush()
	defer hystrix.Flush()
	for i := range 3000 {
		if err := hystrix.Do(fmt.Sprint("user-", i), func() error { return nil }, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(hystrix.GetCircuitSettings()); n > 1100 { // others were configured
		t.Errorf("%d commands are kept", n)
	}
}

// Asking a circuit is no call, and a call that was made elsewhere took as long as it
// is said to.
func TestReportedCallsHaveTheirTimes(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/pricing")
	t.Cleanup(hystrix.Adopt(kit))
	circuit, _, _ := hystrix.GetCircuit("elsewhere")
	for range 4 {
		if !circuit.AllowRequest() {
			t.Fatal("not allowed")
		}
		if err := circuit.ReportEvent([]string{"success"}, time.Now().Add(-time.Second), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := mesh.Counts("shop/pricing", "elsewhere"); c != (governance.Counts{Success: 4}) {
		t.Errorf("told of %+v", c)
	}
	var all sketch.Sketch
	for _, r := range mesh.Reports() {
		for _, s := range r.Samples {
			if s.Command == "elsewhere" && len(s.Latency) > 0 {
				if err := all.MergeBinary(s.Latency); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if all.Count() != 4 || all.Quantile(0) < 980*time.Millisecond || all.Max() > 2*time.Second {
		t.Errorf("told of %d times, the least %s, the most %s", all.Count(), all.Quantile(0), all.Max())
	}
}
