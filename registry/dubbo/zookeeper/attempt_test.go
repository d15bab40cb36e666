package zookeeper

import (
	"context"
	"log/slog"
	"testing"
	"time"

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
	d := &discovery{link: newTestLink(t), registered: map[string]*insisting{}}
	d.life, d.end = context.WithCancel(context.Background())
	defer d.end()
	slow := slowDiscovery{begun: make(chan struct{}), release: make(chan struct{}), wrote: make(chan string, 2)}
	d.behind.it, d.behind.made = slow, true
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
