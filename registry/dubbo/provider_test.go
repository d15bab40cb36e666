package dubbo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// failing is a backend some of whose writes fail.
type failing struct {
	*memory.Client
	register func(context.Context, registry.Registration) error
	mapping  func() error
}

func (f *failing) Register(ctx context.Context, r registry.Registration) error {
	if f.register != nil {
		return f.register(ctx, r)
	}
	return f.Client.Register(ctx, r)
}

func (f *failing) MapInterface(ctx context.Context, iface registry.Interface, name registry.App) error {
	if f.mapping != nil {
		if err := f.mapping(); err != nil {
			return err
		}
	}
	return f.Client.MapInterface(ctx, iface, name)
}

func newFailingRig(t *testing.T) (*rig, *failing) {
	world := memory.New()
	c := world.Join(memory.Config{ID: "p1"})
	t.Cleanup(c.Close)
	f := &failing{Client: c}
	return newRigOn(t, world, c, Backend{Discoverer: f, Registrar: f, Mapping: f, Metadata: f}), f
}

// The exported services need no listener: nothing is connected in these tests.
func (r *rig) export(ifaces ...string) {
	r.t.Helper()
	for _, iface := range ifaces {
		if err := r.reg.Register(exportedURL("rest", "8080", iface)); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) publish() error { return r.reg.(goregistry.ServiceDiscoveryRegistry).RegisterService() }

// revision returns the revision under which p1 is registered, "" if it is not.
func (r *rig) revision() string { return instances(r.t, r.client, "inventory")["p1"].Revision }

func TestPublish(t *testing.T) {
	r, f := newFailingRig(t)
	if err := r.publish(); err != nil {
		t.Fatalf("nothing to register: %v", err)
	}
	writes := 0
	f.register = func(ctx context.Context, reg registry.Registration) error {
		writes++
		return f.Client.Register(ctx, reg)
	}
	r.export(stock, "org.example.Price")
	for range 3 { // dubbo-go asks more often than once
		if err := r.publish(); err != nil {
			t.Fatal(err)
		}
	}
	if writes != 1 {
		t.Errorf("%d registrations for two services, want 1", writes)
	}
	first := r.revision()
	// What is exported while the process runs follows by itself.
	r.export("org.example.Late")
	eventually(t, "the late service is registered", func() bool { return r.revision() != first })
	eventually(t, "the late service is mapped", func() bool {
		apps, err := r.client.InterfaceApps(t.Context(), registry.Interface{Name: "org.example.Late"})
		return err == nil && len(apps) == 1
	})
	// A consumer's registration is none.
	if err := r.reg.Register(consumerURL(stock, "tri")); err != nil {
		t.Fatal(err)
	}
	// Leaving: the first URL drains, the others find it done.
	before := writes
	for _, iface := range []string{stock, "org.example.Price"} {
		if err := r.reg.UnRegister(exportedURL("rest", "8080", iface)); err != nil {
			t.Fatal(err)
		}
	}
	if writes != before+1 || instances(t, r.client, "inventory")["p1"].Details.State != registry.Draining {
		t.Errorf("%d writes; the instance is %+v", writes-before, instances(t, r.client, "inventory")["p1"].Details)
	}
	_ = r.publish()
	if writes != before+1 {
		t.Error("a process that leaves registered again")
	}
	if err := r.binding.withdraw(); err != nil || r.revision() != "" {
		t.Errorf("withdrawn, it has revision %q (%v)", r.revision(), err)
	}
}

// A start that fails half way leaves no instance behind.
func TestFailedStartLeavesNothing(t *testing.T) {
	r, f := newFailingRig(t)
	f.mapping = func() error {
		return &registry.Error{Code: registry.Forbidden, Message: "not yours", Fix: "ask its owner"}
	}
	r.export(stock)
	err := r.publish()
	if registry.CodeOf(err) != registry.Forbidden || !strings.Contains(err.Error(), "ask its owner") {
		t.Errorf("Serve would return %v", err)
	}
	if got := r.revision(); got != "" {
		t.Errorf("the instance is registered under %s", got)
	}
}

// A pod that is another application already stays so: Serve says it at once.
func TestConflictIsFinal(t *testing.T) {
	r, f := newFailingRig(t)
	attempts := 0
	f.register = func(context.Context, registry.Registration) error {
		attempts++
		if attempts > 1 { // no second attempt is due; this one ends the test
			return &registry.Error{Code: registry.Forbidden, Message: "asked again"}
		}
		return &registry.Error{Code: registry.Conflict, Message: "registered as other already", Fix: "unregister it first"}
	}
	r.export(stock)
	if err := r.publish(); registry.CodeOf(err) != registry.Conflict || !strings.Contains(err.Error(), "unregister it first") {
		t.Errorf("Serve would return %v", err)
	}
	if attempts != 1 {
		t.Errorf("%d attempts, want 1", attempts)
	}
}

// A conflict that is all an attempt's time brought is one the backend was still
// at: crossing writes of a fleet that starts.
func TestConflictAtTheEndOfAnAttempt(t *testing.T) {
	r, f := newFailingRig(t)
	attempts := 0
	f.register = func(ctx context.Context, reg registry.Registration) error {
		if attempts++; attempts == 1 {
			<-ctx.Done()
			return &registry.Error{Code: registry.Conflict, Message: "crossed with another"}
		}
		return f.Client.Register(ctx, reg)
	}
	r.binding.cfg.WriteTimeout = 20 * time.Millisecond
	r.export(stock)
	if err := r.publish(); err != nil || r.revision() == "" {
		t.Errorf("Serve would return %v; the revision is %q", err, r.revision())
	}
}

// A stop while the registration is being written, and is, leaves no instance
// behind either.
func TestStopDuringRegistration(t *testing.T) {
	r, f := newFailingRig(t)
	written := make(chan struct{})
	f.register = func(ctx context.Context, reg registry.Registration) error {
		if err := f.Client.Register(context.WithoutCancel(ctx), reg); err != nil {
			return err
		}
		close(written)
		<-ctx.Done() // the answer does not come
		return context.Cause(ctx)
	}
	r.export(stock)
	result := make(chan error, 1)
	go func() { result <- r.publish() }()
	<-written
	if err := r.reg.UnRegister(exportedURL("rest", "8080", stock)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err == nil || !strings.Contains(err.Error(), "began to shut down before it was registered") {
		t.Errorf("Serve would return %v", err)
	}
	if got := r.revision(); got != "" {
		t.Errorf("the instance is registered under %s", got)
	}
}

// A write that may succeed later is repeated; the mapping as well.
func TestPublishInsists(t *testing.T) {
	r, f := newFailingRig(t)
	attempts := 0
	f.mapping = func() error {
		if attempts++; attempts < 4 {
			return &registry.Error{Code: registry.Unavailable, Message: "not now"}
		}
		return nil
	}
	r.export(stock)
	if err := r.publish(); err != nil {
		t.Fatal(err)
	}
	if attempts != 4 {
		t.Errorf("%d attempts, want 4", attempts)
	}
	r.logs("the registry does not take this instance yet; it is not ready until it does")
	r.logs("the registry answers again")
}

// An API server that has just come up forbids what its roles allow; a refusal that
// lasts is meant.
func TestRefusalsOfARegistryThatHasJustComeUp(t *testing.T) {
	away := &registry.Error{Code: registry.Unavailable, Message: "not there"}
	denied := &registry.Error{Code: registry.Forbidden, Message: "not yours"}
	for name, tc := range map[string]struct {
		retry   time.Duration
		answers []error // the last one for good
		want    registry.Code
	}{
		"passing": {300 * time.Millisecond, []error{away, denied, nil}, ""},
		"lasting": {5 * time.Millisecond, []error{away, denied}, registry.Forbidden},
		"at once": {300 * time.Millisecond, []error{denied, nil}, registry.Forbidden},
	} {
		t.Run(name, func(t *testing.T) { // one at a time: a start is the process's
			r, f := newFailingRig(t)
			f.register = func(ctx context.Context, reg registry.Registration) error {
				answer := tc.answers[0]
				if len(tc.answers) > 1 {
					tc.answers = tc.answers[1:]
				}
				if answer != nil {
					return answer
				}
				return f.Client.Register(ctx, reg)
			}
			r.binding.cfg.RetryDelay = tc.retry
			r.export(stock)
			if err := r.publish(); registry.CodeOf(err) != tc.want || (err == nil) != (r.revision() != "") {
				t.Errorf("Serve would return %v; the revision is %q", err, r.revision())
			}
		})
	}
}

func TestPublishWithoutRegistrar(t *testing.T) {
	world := memory.New()
	c := world.Join(memory.Config{})
	t.Cleanup(c.Close)
	r := newRigOn(t, world, c, Backend{Discoverer: c, Mapping: c, Metadata: c})
	r.export(stock)
	if err := r.publish(); registry.CodeOf(err) != registry.Invalid || !strings.Contains(err.Error(), "consumers only") {
		t.Errorf("Serve would return %v", err)
	}
}

// dubbo-go would log a panic and go on; the process would serve unregistered.
func TestPublishPanics(t *testing.T) {
	r, f := newFailingRig(t)
	f.register = func(context.Context, registry.Registration) error { panic(errors.New("boom")) }
	r.export(stock)
	if err := r.publish(); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("Serve would return %v", err)
	}
}

// Providers' wishes to hear of overrides are no references.
func TestOverridesAreNoReferences(t *testing.T) {
	r := newRig(t)
	u := exportedURL("provider", "8080", stock, constant.CategoryKey, constant.ConfiguratorsCategory)
	for _, u := range []string{constant.SideProvider, ""} {
		url := exportedURL("provider", "8080", stock, constant.CategoryKey, constant.ConfiguratorsCategory, constant.SideKey, u)
		if err := r.reg.Subscribe(url, &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.reg.UnSubscribe(u, &recorder{}); err != nil {
		t.Fatal(err)
	}
	if len(r.binding.subs) != 0 {
		t.Error("an override is followed as a reference")
	}
}

// A late service that is refused costs neither the instance nor those after it.
func TestRefusedLateService(t *testing.T) {
	r, f := newFailingRig(t)
	r.export(stock)
	if err := r.publish(); err != nil {
		t.Fatal(err)
	}
	first := r.revision()
	f.mapping = func() error { return &registry.Error{Code: registry.Forbidden, Message: "not yours"} }
	for _, iface := range []string{"org.example.Late", "org.example.Later"} {
		before := r.revision()
		r.export(iface)
		eventually(t, iface+" is registered", func() bool { now := r.revision(); return now != "" && now != before })
	}
	if err := r.publish(); registry.CodeOf(err) != registry.Forbidden {
		t.Errorf("the refusal is %v", err)
	}
	if now := r.revision(); now == "" || now == first {
		t.Errorf("after a refusal the serving instance has revision %q", now)
	}
}
