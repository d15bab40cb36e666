package policy_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/sdk/policy"
	"github.com/weirmesh/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var orders = governance.App{Namespace: "shop", Name: "orders"}

// bench is a client in a bubble, with its control plane.
type bench struct {
	t       *testing.T
	mesh    *sdktest.Mesh
	server  *memhttp.Server
	client  *policy.Client
	cfg     policy.Config
	log     *safeBuffer
	stop    func()
	mu      sync.Mutex
	applied [][]string // the keys of each set
	offset  time.Duration
	fail    error // what Apply answers
	changed int
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, mesh: sdktest.New(), log: new(safeBuffer)}
	b.server = memhttp.Start(t, b.mesh)
	tr := b.server.Transport()
	b.cfg = policy.Config{
		URL: b.server.URL, App: orders, Instance: "i1", Name: "orders-0", SDK: "go/test",
		Apply: b.apply, Changed: func() { b.mu.Lock(); b.changed++; b.mu.Unlock() },
		Transport: tr, StateDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	t.Cleanup(tr.CloseIdleConnections)
	t.Cleanup(func() {
		if b.stop != nil {
			b.stop()
		}
		b.mesh.EndStreams()
	})
	return b
}

func (b *bench) apply(policies []governance.Version, offset time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	keys := make([]string, len(policies))
	for i := range policies {
		keys[i] = policies[i].Policy.Name
	}
	b.applied, b.offset = append(b.applied, keys), offset
	return nil
}

func (b *bench) sets() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.applied)
}

// heard returns how far ahead the last set had the control plane's clock, and how
// many changes were told.
func (b *bench) heard() (offset time.Duration, changed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offset, b.changed
}

// forget forgets the sets.
func (b *bench) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.applied = nil
}

// failing makes the engine refuse every set; nil ends that.
func (b *bench) failing(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func (b *bench) make() {
	b.t.Helper()
	c, err := policy.New(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client = c
}

// start runs a new client as far as it gets without time passing.
func (b *bench) start() {
	b.t.Helper()
	b.make()
	b.client.Load()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() { b.client.Run(ctx); close(done) }()
	b.stop = func() { cancel(); <-done }
	synctest.Wait()
}

func timeout(d time.Duration) governance.Policy {
	return governance.Policy{Target: governance.Target{App: orders}, Rules: governance.Rules{Timeout: governance.Duration(d)}}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestStreamBringsEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.SetClock(time.Hour)
		b.start()
		if got := b.sets(); len(got) != 1 || len(got[0]) != 0 {
			t.Fatalf("at first there is nothing to enforce: %v", got)
		}
		b.mesh.Publish(t, timeout(time.Second))
		synctest.Wait()
		b.mesh.Publish(t, sdktest.Switch("shop/orders", "place"))
		synctest.Wait()
		got := b.sets()
		if len(got) != 3 || !slices.Equal(got[2], []string{"orders.all", "orders.place.switch"}) {
			t.Fatalf("sets are %v", got)
		}
		s := b.client.Status()
		offset, changed := b.heard()
		if s.Applied.Version != 2 || s.Source != policy.FromStream || !s.Connected || s.Problem != "" || s.Sets != 3 || changed != 3 {
			t.Errorf("%+v, %d changes told", s, changed)
		}
		if s.Offset != time.Hour || offset != time.Hour {
			t.Errorf("the control plane's clock is an hour ahead, not %s", s.Offset)
		}
		i := b.mesh.Instances()
		if len(i) != 1 || i[0].App != orders || i[0].ID != "i1" || i[0].Name != "orders-0" || i[0].SDK != "go/test" {
			t.Errorf("the control plane knows %+v", i)
		}
		// Time passes; heartbeats keep the stream.
		pass(10 * time.Minute)
		if b.mesh.Opened() != 1 {
			t.Errorf("%d streams were opened", b.mesh.Opened())
		}
	})
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Publish(t, timeout(time.Second))
		b.start()
		b.mesh.EndStreams()
		pass(5 * time.Second)
		i := b.mesh.Instances()
		if len(i) != 1 || !strings.HasPrefix(i[0].LastEventID, "1:sha256:") {
			t.Fatalf("the stream was resumed by %+v", i)
		}
		if got := b.sets(); len(got) != 1 {
			t.Errorf("what was there already came again: %v", got)
		}
		b.mesh.Publish(t, timeout(2*time.Second))
		synctest.Wait()
		if got := b.sets(); len(got) != 2 {
			t.Errorf("sets are %v", got)
		}
	})
}

func TestFileBeforeTheFirstDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.SetClock(-time.Minute)
		b.mesh.Publish(t, timeout(time.Second))
		b.start()
		b.stop()

		b.mesh.Down()
		b.forget()
		b.start()
		s := b.client.Status()
		offset, _ := b.heard()
		if got := b.sets(); len(got) != 1 || !slices.Equal(got[0], []string{"orders.all"}) || offset != -time.Minute {
			t.Fatalf("without a control plane the sets are %v, offset %s", got, offset)
		}
		if s.Source != policy.FromFile || s.Applied.Version != 1 || s.Connected || !strings.Contains(s.Problem, "503") {
			t.Errorf("%+v", s)
		}
		b.mesh.Heal()
		pass(time.Minute)
		if s := b.client.Status(); !s.Connected || s.Applied.Version != 1 {
			t.Errorf("once it is back: %+v", s)
		}
		b.stop()

		// A file that is no good is ignored, and said to be.
		files, _ := filepath.Glob(filepath.Join(b.cfg.StateDir, "*"))
		if len(files) != 1 {
			t.Fatalf("files are %v", files)
		}
		if err := os.WriteFile(files[0], []byte("weir-policies 1 junk\n{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.mesh.Down()
		b.forget()
		b.start()
		if got := b.sets(); len(got) != 0 || !strings.Contains(b.log.String(), "checksum is wrong") {
			t.Errorf("sets %v of a bad file; log:\n%s", got, b.log)
		}
	})
}

func TestRefusalKeepsWhatHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Publish(t, timeout(time.Second))
		b.start()
		bad := timeout(-time.Second).WithDefaults()
		forge := func(wire int, version int64, policies ...governance.Version) {
			b.mesh.Forge(&governance.PolicySet{Wire: wire, Version: version, Hash: governance.HashPolicies(policies), Now: time.Now(), Policies: policies})
			synctest.Wait()
		}
		for _, tt := range []struct {
			name   string
			do     func()
			policy string
			reason string
		}{
			{"a policy at fault", func() { forge(1, 5, governance.Version{Policy: bad, Version: 5}) }, "shop/orders.all", "timeout"},
			{"a later wire", func() { forge(2, 6) }, "", "update the SDK"},
			{"older than what holds", func() { forge(1, 0) }, "", "older than 1"},
			{"the engine says no", func() { b.failing(errors.New("no")); forge(1, 7); b.failing(nil) }, "", "no"},
			{"no set at all", func() { b.mesh.SendRaw("event: policies\ndata: []\n\n"); synctest.Wait() }, "", "cannot be read"},
		} {
			_, before := b.heard()
			tt.do()
			s := b.client.Status()
			_, after := b.heard()
			r := s.Applied.Refused
			if r == nil || r.Policy != tt.policy || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: refused is %+v", tt.name, r)
			}
			if s.Applied.Version != 1 || len(b.sets()) != 1 || after != before+1 {
				t.Errorf("%s: %+v is in force, %d told", tt.name, s.Applied, after-before)
			}
		}
		b.mesh.Forge(nil)
		b.mesh.Publish(t, timeout(3*time.Second))
		synctest.Wait()
		if s := b.client.Status(); s.Applied.Version != 2 || s.Applied.Refused != nil {
			t.Errorf("after a good one: %+v", s.Applied)
		}
	})
}

// TestStoreThatWentBack holds that a set older than the one in force is taken at
// last, when it is no lagging replica that sends it.
func TestStoreThatWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 3 {
			b.mesh.Publish(t, timeout(time.Duration(i+1)*time.Second))
		}
		b.start()
		old := []governance.Version{{Policy: timeout(time.Second).WithDefaults(), Version: 1}}
		set := &governance.PolicySet{Wire: 1, Version: 1, Hash: governance.HashPolicies(old), Now: time.Now(), Policies: old}
		b.mesh.Forge(set)
		synctest.Wait()
		if s := b.client.Status(); s.Applied.Version != 3 {
			t.Fatalf("%+v", s.Applied)
		}
		for i := range 4 { // reports go on to say that version 1 is wanted
			pass(31 * time.Second)
			b.client.Wanted(governance.ReportAnswer{Version: 1, Hash: set.Hash})
			if n := b.mesh.Opened(); n != 1 {
				t.Fatalf("after %d reports there were %d streams", i, n)
			}
		}
		pass(5 * time.Second)
		b.client.Wanted(governance.ReportAnswer{Version: 1, Hash: set.Hash})
		pass(time.Minute)
		if s := b.client.Status(); s.Applied.Version != 1 || s.Applied.Refused != nil {
			t.Errorf("%+v", s.Applied)
		}
	})
}

func TestSilenceEndsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.mesh.Silence(true)
		pass(36 * time.Second)
		if b.mesh.Opened() != 1 {
			t.Fatal("given up too soon")
		}
		b.mesh.Publish(t, timeout(time.Second)) // nobody hears it
		b.mesh.Silence(false)
		pass(5 * time.Second)
		if s := b.client.Status(); s.Applied.Version != 1 || b.mesh.Opened() != 1 {
			// The wake of Silence(false) brought it on the old stream.
			t.Fatalf("%+v", s)
		}
		b.mesh.Silence(true)
		pass(2 * time.Minute)
		if b.mesh.Opened() < 2 {
			t.Error("a silent stream was kept")
		}
		if !strings.Contains(b.log.String(), "nothing was heard") {
			t.Errorf("log:\n%s", b.log)
		}
	})
}

func TestAnswersThatAreNoStream(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		header []string
		within time.Duration // the least time between attempts
		want   string
	}{
		{"unauthorized", 401, nil, 15 * time.Second, "WEIR_TOKEN_FILE"},
		{"forbidden", 403, nil, 15 * time.Second, "WEIR_APP"},
		{"not found", 404, nil, 15 * time.Second, "404"},
		{"redirect", 302, []string{"Location", "http://elsewhere.test/"}, 15 * time.Second, "redirects are not followed"},
		{"asked to wait", 503, []string{"Retry-After", "20"}, 20 * time.Second, "503"},
		{"another page", 200, nil, 15 * time.Second, "is it a control plane"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.mesh.Fail(governance.StreamPath, tt.status, -1, tt.header...)
				b.start()
				pass(10 * time.Minute)
				s := b.client.Status()
				if most := int64(10*time.Minute/tt.within) + 1; s.Failures > most || s.Failures < 10 {
					t.Errorf("%d attempts in ten minutes, want 10 to %d", s.Failures, most)
				}
				if !strings.Contains(s.Problem, tt.want) {
					t.Errorf("the problem is %q, want %q in it", s.Problem, tt.want)
				}
				if n := strings.Count(b.log.String(), "no stream of policies"); n != 1 {
					t.Errorf("logged %d times:\n%s", n, b.log)
				}
				b.mesh.Heal()
				pass(2 * time.Minute)
				if !b.client.Status().Connected {
					t.Error("not connected once it is mended")
				}
			})
		})
	}
}

func TestBackoffHasFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.server.Close()
		b.start()
		pass(10 * time.Minute)
		// Waits of up to 30 s, 15 s on average, after shorter ones at first.
		if n := b.client.Status().Failures; n < 25 || n > 150 {
			t.Errorf("%d attempts in ten minutes", n)
		}
	})
}

func TestTokenIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		token := filepath.Join(t.TempDir(), "token")
		write := func(s string) {
			if err := os.WriteFile(token, []byte(s), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b.cfg.Token = func() (string, error) {
			data, err := os.ReadFile(token)
			return string(data), err
		}
		b.mesh.RequireToken("two")
		b.start()
		if s := b.client.Status(); !strings.Contains(s.Problem, "no such file") {
			t.Errorf("without a file: %s", s.Problem)
		}
		write("one")
		pass(5 * time.Second)
		if s := b.client.Status(); s.Connected || !strings.Contains(s.Problem, "401") {
			t.Errorf("with the old token: %+v", s)
		}
		write("two")
		pass(time.Minute)
		if s := b.client.Status(); !s.Connected {
			t.Errorf("with the new token: %+v", s)
		}
	})
}

func TestEventsThatAreTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.mesh.SendRaw("data: " + strings.Repeat("x", policy.MaxMessage+1))
		synctest.Wait()
		if s := b.client.Status(); s.Connected || !strings.Contains(s.Problem, "larger than") {
			t.Errorf("%+v", s)
		}
	})
}

func TestWantedReopensTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		pass(time.Minute)
		have := b.client.Status().Applied
		b.client.Wanted(governance.ReportAnswer{Version: have.Version, Hash: have.Hash})
		other := governance.ReportAnswer{Version: 9, Hash: "sha256:other"}
		b.client.Wanted(other)
		pass(time.Second)
		b.client.Wanted(other)
		synctest.Wait()
		if b.mesh.Opened() != 1 {
			t.Fatal("the stream was given no time to bring it")
		}
		pass(3 * time.Second)
		b.client.Wanted(other)
		pass(5 * time.Second)
		if b.mesh.Opened() != 2 {
			t.Fatalf("%d streams were opened, want a second", b.mesh.Opened())
		}
		b.client.Wanted(other)
		pass(10 * time.Second)
		b.client.Wanted(other)
		pass(5 * time.Second)
		if b.mesh.Opened() != 2 {
			t.Error("the stream is torn down again and again")
		}
	})
}

func TestCallsAreDeclared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inventory := governance.App{Namespace: "shop", Name: "inventory"}
		b.cfg.Calls = []governance.App{inventory}
		b.start()
		if i := b.mesh.Instances(); len(i) != 1 || !slices.Equal(i[0].Calls, []governance.App{inventory}) || b.client.NewCalls() != nil {
			t.Fatalf("the control plane knows %+v, new are %v", i, b.client.NewCalls())
		}
		pricing := governance.App{Namespace: "shop", Name: "pricing"}
		b.client.AddCalls(pricing)
		b.client.AddCalls(pricing)
		for _, bad := range []governance.App{{}, {Name: "x"}, {Namespace: "a b", Name: "x"}, {Namespace: "a", Name: "x/y"}, {Namespace: "a", Name: strings.Repeat("x", 300)}} {
			b.client.AddCalls(bad)
		}
		if got := b.client.NewCalls(); !slices.Equal(got, []governance.App{inventory, pricing}) {
			t.Errorf("new are %v", got)
		}
		b.mesh.EndStreams()
		pass(5 * time.Second)
		if i := b.mesh.Instances(); len(i) != 1 || len(i[0].Calls) != 2 || b.client.NewCalls() != nil {
			t.Errorf("the control plane knows %+v, new are %v", i, b.client.NewCalls())
		}
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	apply := func([]governance.Version, time.Duration) error { return nil }
	good := policy.Config{URL: "http://control:9000", App: orders, Instance: "i", Apply: apply}
	for name, change := range map[string]func(*policy.Config){
		"address": func(c *policy.Config) { c.URL = "control:9000" }, "app": func(c *policy.Config) { c.App = governance.App{} },
		"instance": func(c *policy.Config) { c.Instance = "" }, "apply": func(c *policy.Config) { c.Apply = nil },
	} {
		cfg := good
		change(&cfg)
		if _, err := policy.New(cfg); err == nil {
			t.Errorf("without a good %s a client was made", name)
		}
	}
	if _, err := policy.New(good); err != nil {
		t.Error(err)
	}
}
