package zookeeper

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	gxzookeeper "github.com/dubbogo/gost/database/kv/zk"

	"github.com/weirmesh/weir/internal/testkube"
)

func newTestLink(t *testing.T) *link {
	t.Helper()
	l := newLink(slog.New(slog.DiscardHandler))
	t.Cleanup(l.close)
	l.away.Store(true) // nobody waits for it
	return l
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(testkube.Deadline):
		t.Fatal("waited for " + what)
	}
}

// An attempt that ZooKeeper holds up may succeed after its registration was taken back.
func TestWhatIsDoneTooLateIsUndone(t *testing.T) {
	t.Parallel()
	l := newTestLink(t)
	begun, release, undone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	i := l.insist(context.Background(), "register", func() error {
		close(begun)
		<-release
		return nil
	})
	await(t, "the attempt", begun)
	if err := i.stop(func() error { close(undone); return nil }); err != nil {
		t.Error(err)
	}
	close(release)
	await(t, "what undoes it", undone)
}

// slowDiscovery holds up its first write.
type slowDiscovery struct {
	goregistry.ServiceDiscovery
	begun, release chan struct{}
	wrote          chan string
}

func (s slowDiscovery) Register(goregistry.ServiceInstance) error {
	close(s.begun)
	<-s.release
	s.wrote <- "older"
	return nil
}

func (s slowDiscovery) Update(goregistry.ServiceInstance) error {
	s.wrote <- "newer"
	return nil
}

func TestAnOlderWriteComesBeforeANewer(t *testing.T) {
	t.Parallel()
	d := newDiscovery(nil, newTestLink(t))
	defer d.end()
	slow := slowDiscovery{begun: make(chan struct{}), release: make(chan struct{}), wrote: make(chan string, 2)}
	d.behind.make = func() (goregistry.ServiceDiscovery, error) { return slow, nil }
	instance := &goregistry.DefaultServiceInstance{ID: "10.0.0.1:20000", ServiceName: inventory}
	if err := d.Register(instance); err != nil {
		t.Fatal(err)
	}
	await(t, "the first write", slow.begun)
	if err := d.Update(instance); err != nil {
		t.Fatal(err)
	}
	close(slow.release)
	if first, second := <-slow.wrote, <-slow.wrote; first != "older" || second != "newer" {
		t.Errorf("written: %s, then %s", first, second)
	}
}

func (s slowDiscovery) Unregister(goregistry.ServiceInstance) error {
	s.wrote <- "removed"
	return nil
}

// Both registrations are the same node: what undoes the first would remove the second.
func TestANewRegistrationWaitsForTheEndOfTheOld(t *testing.T) {
	t.Parallel()
	d := newDiscovery(nil, newTestLink(t))
	defer d.end()
	slow := slowDiscovery{begun: make(chan struct{}), release: make(chan struct{}), wrote: make(chan string, 3)}
	d.behind.make = func() (goregistry.ServiceDiscovery, error) { return slow, nil }
	instance := &goregistry.DefaultServiceInstance{ID: "10.0.0.1:20000", ServiceName: inventory}
	if err := d.Register(instance); err != nil {
		t.Fatal(err)
	}
	await(t, "the first write", slow.begun)
	if err := d.Unregister(instance); err != nil {
		t.Fatal(err)
	}
	d.link.away.Store(false) // so that one that did not wait would be done
	if err := d.Update(instance); err != nil {
		t.Fatal(err)
	}
	close(slow.release)
	if a, b, c := <-slow.wrote, <-slow.wrote, <-slow.wrote; a != "older" || b != "removed" || c != "newer" {
		t.Errorf("%s, then %s, then %s", a, b, c)
	}
}

// An attempt to reach ZooKeeper takes as long as it takes. Who only asks whether it has
// succeeded is not held up by it.
func TestNobodyWaitsForAnAttemptWithoutNeed(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	l := late[string]{make: func() (string, error) {
		close(begun)
		<-release
		return "it", nil
	}}
	made, answered := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(made)
		_, _ = l.get()
	}()
	await(t, "the attempt", begun)
	go func() {
		defer close(answered)
		if _, ok := l.there(); ok {
			t.Error("it is there during the attempt")
		}
	}()
	await(t, "an answer", answered)
	close(release)
	await(t, "it", made)
	if it, ok := l.there(); !ok || it != "it" {
		t.Errorf("%q, %t", it, ok)
	}
}

// slowRegistry is a registry of dubbo-go's, whose subscriptions end when they are ended,
// and not before they have begun.
type slowRegistry struct {
	goregistry.Registry
	begins chan struct{} // told of each subscription
	ends   chan struct{} // ends one
}

func (s slowRegistry) Subscribe(*common.URL, goregistry.NotifyListener) error {
	s.begins <- struct{}{}
	<-s.ends
	return nil
}

func (s slowRegistry) UnSubscribe(*common.URL, goregistry.NotifyListener) error {
	select {
	case s.ends <- struct{}{}:
	default: // nothing is subscribed
	}
	return nil
}

func TestASubscriptionThatIsEndedDuringAnAttemptDoesNotBegin(t *testing.T) {
	t.Parallel()
	u := common.NewURLWithOptions(common.WithPath("org.example.Stock"))
	b := newBeside(u, newTestLink(t))
	defer b.end()
	begun, release := make(chan struct{}), make(chan struct{})
	slow := slowRegistry{begins: make(chan struct{}, 1), ends: make(chan struct{})}
	b.behind.make = func() (goregistry.Registry, error) {
		close(begun)
		<-release
		return slow, nil
	}
	listener, ended := &list{}, make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Subscribe(u, listener)
	}()
	await(t, "the attempt", begun)
	unsubscribed := make(chan struct{})
	go func() {
		defer close(unsubscribed)
		_ = b.UnSubscribe(u, listener)
	}()
	await(t, "the end of the reference", unsubscribed)
	close(release)
	await(t, "the end of the subscription", ended)
	if len(slow.begins) > 0 {
		t.Error("it begins after its end")
	}
}

// heldUp begins a subscription only after somebody tried to end it.
type heldUp struct {
	slowRegistry
	asked chan struct{}
	once  *sync.Once
}

func (h heldUp) Subscribe(u *common.URL, l goregistry.NotifyListener) error {
	h.begins <- struct{}{}
	<-h.asked
	<-h.ends
	return nil
}

func (h heldUp) UnSubscribe(u *common.URL, l goregistry.NotifyListener) error {
	err := h.slowRegistry.UnSubscribe(u, l)
	h.once.Do(func() { close(h.asked) })
	return err
}

func TestASubscriptionThatIsJustBeginningIsEnded(t *testing.T) {
	t.Parallel()
	u := common.NewURLWithOptions(common.WithPath("org.example.Stock"))
	b := newBeside(u, newTestLink(t))
	defer b.end()
	held := heldUp{slowRegistry{begins: make(chan struct{}, 1), ends: make(chan struct{})}, make(chan struct{}), &sync.Once{}}
	b.behind.make = func() (goregistry.Registry, error) { return held, nil }
	listener, ended := &list{}, make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Subscribe(u, listener)
	}()
	await(t, "the subscription", held.begins)
	_ = b.UnSubscribe(u, listener) // ZooKeeper is away: it goes on by itself
	await(t, "the end of the subscription", ended)
}

type sessionHolder struct{ client *gxzookeeper.ZookeeperClient }

func (s sessionHolder) ZkClient() *gxzookeeper.ZookeeperClient { return s.client }

// dubbo-go ends a session with the last registry that uses it: nothing is lost then.
func TestASessionThatIsGivenUpIsNotLost(t *testing.T) {
	t.Parallel()
	l := newTestLink(t)
	gone := sessionHolder{&gxzookeeper.ZookeeperClient{}}
	l.watch(gone)
	l.watch(gone)
	l.unwatch(gone)
	if !l.lost() {
		t.Error("one that is in use counts as there")
	}
	l.unwatch(gone)
	if l.lost() {
		t.Error("one that nobody uses counts as lost")
	}
}
