package hystrix_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	afex "github.com/afex/hystrix-go/hystrix"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/hystrix"
	"github.com/weirmesh/weir/sdk/sdktest"
)

// adopt starts a kit and adopts hystrix-go's commands for the length of a test.
func adopt(t *testing.T) (*sdktest.Mesh, *sdk.Kit, *logged) {
	t.Helper()
	mesh := sdktest.Start(t)
	cfg := mesh.Config(t, "shop/pricing")
	log := new(logged)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	kit := mesh.KitWith(t, cfg)
	t.Cleanup(hystrix.Adopt(kit))
	return mesh, kit, log
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func policyFor(command string, rules governance.Rules) governance.Policy {
	return governance.Policy{Target: governance.Target{App: governance.App{Namespace: "shop", Name: "pricing"}, Command: command}, Rules: rules}
}

// configureRoomy leaves room for calls whose places hystrix-go gives back some time
// after they have answered.
func configureRoomy(name string, c afex.CommandConfig) {
	c.MaxConcurrentRequests = 1000
	afex.ConfigureCommand(name, c)
}

func ok() error   { return nil }
func fail() error { return errBoom }

func TestAdoptedSettingsAreLive(t *testing.T) {
	mesh, kit, log := adopt(t)
	afex.ConfigureCommand("live", afex.CommandConfig{Timeout: 700, MaxConcurrentRequests: 7, ErrorPercentThreshold: 70})
	if err := afex.Do("live", ok, nil); err != nil {
		t.Fatal(err)
	}
	p := policyFor("live", governance.Rules{
		Timeout: governance.Duration(300 * time.Millisecond), Bulkhead: &governance.Bulkhead{Concurrent: 3},
		Breaker: &governance.Breaker{MinCalls: 9, OpenFor: governance.Duration(2 * time.Second), Window: governance.Duration(5 * time.Second)},
	})
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	settled := func(want afex.Settings) {
		t.Helper()
		eventually(t, "hystrix-go to have it", func() bool { s := afex.GetCircuitSettings()["live"]; return s != nil && *s == want })
	}
	settled(afex.Settings{Timeout: 300 * time.Millisecond, MaxConcurrentRequests: 3, RequestVolumeThreshold: 9, SleepWindow: 2 * time.Second, ErrorPercentThreshold: 70})
	eventually(t, "the log to say what cannot be done", func() bool {
		return strings.Contains(log.String(), "field=bulkhead") && strings.Contains(log.String(), "field=breaker.window")
	})

	// The service configures it anew: that stands where policy says nothing.
	afex.ConfigureCommand("live", afex.CommandConfig{Timeout: 900, ErrorPercentThreshold: 80})
	settled(afex.Settings{Timeout: 300 * time.Millisecond, MaxConcurrentRequests: 3, RequestVolumeThreshold: 9, SleepWindow: 2 * time.Second, ErrorPercentThreshold: 80})
	mesh.Delete(p)
	mesh.WaitApplied(t, kit)
	settled(afex.Settings{Timeout: 900 * time.Millisecond, MaxConcurrentRequests: 10, RequestVolumeThreshold: 20, SleepWindow: 5 * time.Second, ErrorPercentThreshold: 80})
	if n := strings.Count(log.String(), "field=bulkhead"); n != 1 {
		t.Errorf("said %d times what cannot be done:\n%s", n, log)
	}
}

// TestAdoptedBulkhead holds that a bulkhead is in time for a command's first call.
func TestAdoptedBulkhead(t *testing.T) {
	mesh, kit, _ := adopt(t)
	mesh.Publish(t, policyFor("late", governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 1}}))
	mesh.WaitApplied(t, kit)
	inside, release := make(chan struct{}), make(chan struct{})
	errs := afex.Go("late", func() error { close(inside); <-release; return nil }, nil)
	<-inside
	if err := afex.Do("late", ok, nil); err != afex.ErrMaxConcurrency { //nolint:errorlint // users compare like this
		t.Errorf("the second call: %v", err)
	}
	close(release)
	select {
	case err := <-errs:
		t.Error(err)
	default:
	}
}

func TestAdoptedForcedOpen(t *testing.T) {
	mesh, kit, _ := adopt(t)
	configureRoomy("switched", afex.CommandConfig{})
	_ = afex.Do("switched", ok, nil)
	pull := sdktest.Switch("shop/pricing", "switched")
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	open := func() bool { return errors.Is(afex.Do("switched", ok, nil), afex.ErrCircuitOpen) }
	eventually(t, "the circuit to be held open", open)
	for range 200 {
		if !open() {
			t.Fatal("a call passed")
		}
	}
	// A success of a call that was under way before does not open a gap for long.
	circuit, _, _ := afex.GetCircuit("switched")
	if err := circuit.ReportEvent([]string{"success"}, time.Now(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the circuit to be held open again", open)

	mesh.Delete(pull)
	mesh.WaitApplied(t, kit)
	eventually(t, "the circuit to be released", func() bool { return afex.Do("switched", ok, nil) == nil })
	for range 50 {
		if err := afex.Do("switched", ok, nil); err != nil {
			t.Fatalf("released: %v", err)
		}
	}
	mesh.Wait(t, "both transitions to be told", func() bool {
		tr := mesh.Transitions("shop/pricing", "switched")
		return len(tr) == 2 && tr[0].To == governance.StateForcedOpen && tr[1].To == governance.StateClosed
	})
	mesh.Wait(t, "the counts to be told", func() bool {
		c := mesh.Counts("shop/pricing", "switched")
		return c.Switched >= 200 && c.Success >= 52
	})
	if c := mesh.Counts("shop/pricing", "switched"); c.ShortCircuited != 0 {
		t.Errorf("told of %+v", c)
	}
	for _, r := range mesh.Reports() {
		for _, s := range r.Samples {
			if !s.Lossy {
				t.Errorf("a sample is not marked lossy: %+v", s)
			}
		}
	}
}

// TestAdoptedSwitchBeforeTheFirstCall holds that a configured command is held open
// before anybody has called it.
func TestAdoptedSwitchBeforeTheFirstCall(t *testing.T) {
	afex.ConfigureCommand("uncalled", afex.CommandConfig{Timeout: 100})
	mesh, kit, _ := adopt(t)
	mesh.Publish(t, sdktest.Switch("shop/pricing", "uncalled"))
	mesh.WaitApplied(t, kit)
	circuit, _, _ := afex.GetCircuit("uncalled")
	eventually(t, "the circuit to be held open", circuit.IsOpen)
	var ran atomic.Bool
	if err := afex.Do("uncalled", func() error { ran.Store(true); return nil }, nil); err != afex.ErrCircuitOpen || ran.Load() { //nolint:errorlint // users compare like this
		t.Errorf("its first call: %v", err)
	}
}

func TestAdoptedForcedClosed(t *testing.T) {
	mesh, kit, _ := adopt(t)
	configureRoomy("kept", afex.CommandConfig{RequestVolumeThreshold: 2, ErrorPercentThreshold: 10, SleepWindow: 600_000})
	openNow := func() bool { return errors.Is(afex.Do("kept", fail, nil), afex.ErrCircuitOpen) }
	eventually(t, "the circuit to open", openNow)
	mesh.Wait(t, "that to be told", func() bool {
		tr := mesh.Transitions("shop/pricing", "kept")
		return len(tr) == 1 && tr[0].To == governance.StateOpen && strings.Contains(tr[0].Cause, "hystrix-go counted")
	})
	var metrics strings.Builder
	if err := kit.Metrics(&metrics); err != nil || !strings.Contains(metrics.String(), `weir_sdk_circuit_state{command="kept",at="provider",peer="",state="open"} 1`) {
		t.Errorf("the metrics do not say that it is open: %v\n%s", err, metrics.String())
	}
	mesh.Publish(t, policyFor("kept", governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedClosed}}))
	mesh.WaitApplied(t, kit)
	eventually(t, "the circuit to be held closed", func() bool { return afex.Do("kept", ok, nil) == nil })
	for range 50 {
		if openNow() {
			t.Fatal("it opened")
		}
	}
}

func TestAdoptedCounts(t *testing.T) {
	mesh, kit, _ := adopt(t)
	configureRoomy("counted", afex.CommandConfig{Timeout: 20, RequestVolumeThreshold: 1000})
	hang := make(chan struct{})
	defer close(hang)
	for range 5 {
		_ = afex.Do("counted", ok, nil)
	}
	for range 3 {
		_ = afex.Do("counted", fail, func(error) error { return nil })
	}
	_ = afex.Do("counted", func() error { <-hang; return nil }, nil)
	want := governance.Counts{Success: 5, Failure: 3, Timeout: 1, FallbackSuccess: 3}
	mesh.Wait(t, "the counts to be told", func() bool { return mesh.Counts("shop/pricing", "counted") == want })
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mesh.Counts("shop/pricing", "counted"); got != want {
		t.Errorf("told of %+v", got)
	}
	all := new(sketch.Sketch)
	for _, r := range mesh.Reports() {
		for _, s := range r.Samples {
			if s.Command != "counted" || len(s.Latency) == 0 {
				continue
			}
			if err := all.MergeBinary(s.Latency); err != nil {
				t.Error(err)
			}
		}
	}
	if all.Count() != 9 || all.Max() < 20*time.Millisecond {
		t.Errorf("latencies are of %d calls, the longest %s; hystrix-go's own has 0 for the timeout", all.Count(), all.Max())
	}
}

func TestStopPutsBack(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/pricing")
	afex.ConfigureCommand("back", afex.CommandConfig{Timeout: 450})
	before := *afex.GetCircuitSettings()["back"]
	stop := hystrix.Adopt(kit)
	mesh.Publish(t, sdktest.Switch("shop/pricing", "back"))
	mesh.WaitApplied(t, kit)
	eventually(t, "the circuit to be held open", func() bool { return errors.Is(afex.Do("back", ok, nil), afex.ErrCircuitOpen) })
	stop()
	stop()
	if got := *afex.GetCircuitSettings()["back"]; got != before {
		t.Errorf("settings are %+v, want %+v", got, before)
	}
	if err := afex.Do("back", ok, nil); err != nil {
		t.Errorf("it is held open still: %v", err)
	}
}

// TestAdoptedUnderLoad is for the race detector, and for locks taken in two orders.
func TestAdoptedUnderLoad(t *testing.T) {
	mesh, kit, _ := adopt(t)
	end := make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				name := "load" + string(rune('a'+(i+n)%8))
				_ = afex.Do(name, func() error {
					if n%3 == 0 {
						return errBoom
					}
					return nil
				}, nil)
				_ = hystrix.Do(name, ok, nil)
			}
		})
	}
	for i := range 15 {
		p := sdktest.Switch("shop/pricing", "load"+string(rune('a'+i%8)))
		mesh.Publish(t, p)
		mesh.WaitApplied(t, kit)
		mesh.Delete(p)
		mesh.WaitApplied(t, kit)
		if i == 7 {
			afex.Flush()
		}
	}
	close(end)
	all.Wait()
}

func TestStream(t *testing.T) {
	handler := hystrix.NewStreamHandler()
	server := httptest.NewServer(handler)
	defer server.Close()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	get := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := get()
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before Start it answers %d", resp.StatusCode)
	}
	handler.Start()
	handler.Start()
	hystrix.ConfigureCommand("streamed", hystrix.CommandConfig{Timeout: 1234, MaxConcurrentRequests: 5})
	for range 3 {
		_ = hystrix.Do("streamed", ok, nil)
	}
	_ = hystrix.Do("streamed", fail, func(error) error { return nil })
	resp = get()
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	kinds := map[string]bool{}
	for lines.Scan() && len(kinds) < 2 {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData || !strings.Contains(data, `"streamed"`) {
			continue
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(data), &doc); err != nil {
			t.Fatal(err)
		}
		kind, _ := doc["type"].(string)
		kinds[kind] = true
		if kind != "HystrixCommand" {
			continue
		}
		for key, want := range map[string]any{
			"rollingCountSuccess": 3.0, "rollingCountFailure": 1.0, "rollingCountFallbackSuccess": 1.0, "requestCount": 4.0, "errorPercentage": 25.0,
			"isCircuitBreakerOpen": false, "propertyValue_executionIsolationThreadTimeoutInMilliseconds": 1234.0,
			"propertyValue_executionIsolationSemaphoreMaxConcurrentRequests": 5.0, "reportingHosts": 1.0,
		} {
			if doc[key] != want {
				t.Errorf("%s is %v, want %v", key, doc[key], want)
			}
		}
	}
	handler.Stop()
	handler.Stop()
	for lines.Scan() { // until the stream ends by itself
	}
}

// A command beyond those that a kit counts apart is governed from when a policy
// names it.
func TestAdoptedCommandsBeyondTheBound(t *testing.T) {
	mesh := sdktest.Start(t)
	cfg := mesh.Config(t, "shop/pricing")
	cfg.MaxCircuits = 1
	kit := mesh.KitWith(t, cfg)
	kit.Breakers().Circuit(governance.Series{Command: "first", At: governance.Provider})
	t.Cleanup(hystrix.Adopt(kit))
	configureRoomy("beyond", afex.CommandConfig{})
	if err := afex.Do("beyond", ok, nil); err != nil {
		t.Fatal(err)
	}
	mesh.Publish(t, sdktest.Switch("shop/pricing", "beyond"))
	mesh.WaitApplied(t, kit)
	mesh.Wait(t, "the switch to hold", func() bool {
		err := afex.Do("beyond", ok, nil)
		return errors.Is(err, afex.ErrCircuitOpen)
	})
}
