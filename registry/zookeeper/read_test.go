package zookeeper

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
)

func TestReadBothWaysInWhichDubboKeepsProviders(t *testing.T) {
	t.Parallel()
	server := testzk.Start(t)
	root := server.Root(t)
	c := dial(t, Config{Servers: server.Address(), Interfaces: root + "/dubbo", Applications: root + "/services"})
	// Where Dubbo's nodes are not, nothing is known: that is not the same as none.
	if state, err := c.Read(within(t)); registry.CodeOf(err) != registry.NotFound || !strings.Contains(err.Error(), root+"/dubbo") {
		t.Errorf("of nothing: %v, %v", state, err)
	}
	c.put(t, root+"/dubbo/none", "", 0)
	if state, err := c.Read(within(t)); err != nil || len(state.Apps) != 0 {
		t.Errorf("of no application: %v, %v", state, err)
	}

	c.put(t, root+"/services/inventory/10.0.0.1:20880", javaInstance, zk.FlagEphemeral)
	c.put(t, root+"/services/inventory/10.0.0.2:20001", goInstance, zk.FlagEphemeral)
	c.put(t, root+"/services/inventory/broken", "{", zk.FlagEphemeral)
	c.put(t, root+"/dubbo/inventory/77", `{"app":"inventory","revision":"77","services":{"org.example.Report:tri":{"name":"org.example.Report","protocol":"tri"}}}`, 0)
	c.put(t, root+"/dubbo/metadata/inventory/0f3a", `{"app":"inventory","revision":"0f3a","services":{"org.example.Stock:dubbo":{"name":"org.example.Stock","protocol":"dubbo","params":{"weight":"30"}}}}`, 0) // as Java does
	c.provide(t, "org.example.Stock", "dubbo://10.0.0.1:20880/org.example.Stock?application=inventory&interface=org.example.Stock")
	c.provide(t, "org.example.Stock", "dubbo://10.0.0.7:20880/org.example.Stock?application=other&interface=org.example.Stock")
	c.provide(t, "org.example.Stock", "nonsense")
	c.provide(t, "org.apache.dubbo.metadata.MetadataService", "dubbo://10.0.0.1:20880/org.apache.dubbo.metadata.MetadataService?application=inventory")
	c.put(t, root+"/dubbo/org.example.Report/consumers/"+url.QueryEscape("consumer://10.0.0.9/org.example.Report?application=orders&interface=org.example.Report"), "", zk.FlagEphemeral)
	c.put(t, root+"/dubbo/config/dubbo/dubbo.properties", "a=b", 0)

	state, err := c.Read(within(t))
	if err != nil {
		t.Fatal(err)
	}
	a := state.Apps["inventory"]
	if len(state.Apps) != 2 || a == nil {
		t.Fatalf("%+v", state.Apps)
	}
	slices.SortFunc(a.Instances, func(x, y Instance) int { return strings.Compare(x.Host, y.Host) })
	if got, want := fmt.Sprint(a.Instances), "[{inventory 10.0.0.1 [dubbo:20880 tri:50051] 0f3a } {inventory 10.0.0.2 [tri:20001] 77 }]"; got != want {
		t.Errorf("instances %s, want %s", got, want)
	}
	if len(a.Providers) != 1 || a.Providers[0].Address.String() != "dubbo://10.0.0.1:20880" {
		t.Errorf("providers %+v", a.Providers)
	}
	if of := a.Offers["0f3a"]; len(of) != 1 || *of[0].Weight != 30 {
		t.Errorf("Java offers %+v", of)
	}
	if len(a.Offers["77"]) != 1 || len(a.Consumers) != 1 || a.Consumers[0].App != "orders" {
		t.Errorf("offers %+v, consumers %+v", a.Offers, a.Consumers)
	}
	// What cannot be read may be anybody's who provides the interface.
	for name, want := range map[string]int{"inventory": 2, "other": 1} {
		d := Compare(registry.App{Namespace: "shop", Name: name}, state.Apps[name], state.Unread, Known{})
		if len(state.Unread) != 2 || d.unread != want {
			t.Errorf("unread %+v, of %s %d", state.Unread, name, d.unread)
		}
	}
}

func TestAServerThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	server := testzk.StartOwn(t)
	c := dial(t, Config{Servers: server.Address()})
	c.put(t, "/dubbo", "", 0) // without which there is nothing to read
	server.Kill(t)
	ctx, cancel := context.WithCancel(within(t))
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(ctx)
		failed <- err
	}()
	if _, err := c.conn.Sync("/"); err == nil {
		t.Error("a dead server answers")
	}
	cancel()
	if err := <-failed; registry.CodeOf(err) != registry.Unavailable || !strings.Contains(err.Error(), server.Address()) {
		t.Error(err)
	}
	server.Restart(t)
	if _, err := c.Read(within(t)); err != nil {
		t.Errorf("after its return: %v", err)
	}
}

// The request under way when a connection breaks ends with the network's own error.
func TestWhatABrokenConnectionFailsIsAskedAgain(t *testing.T) {
	t.Parallel()
	c := dial(t, Config{Servers: testzk.Start(t).Address()})
	for _, broken := range []error{&net.OpError{Op: "write", Err: syscall.EPIPE}, io.EOF, zk.ErrConnectionClosed} {
		asked := 0
		err := c.ask(within(t), func() error {
			if asked++; asked == 1 {
				return broken
			}
			return nil
		})
		if err != nil || asked != 2 {
			t.Errorf("after %q: asked %d times, %v", broken, asked, err)
		}
	}
}

func TestNodesThatNeedCredentials(t *testing.T) {
	t.Parallel()
	server := testzk.Start(t)
	root := server.Root(t)
	owner := dial(t, Config{Servers: server.Address(), Interfaces: root, Auth: "dubbo:secret"})
	if _, err := owner.conn.Create(root, nil, 0, zk.DigestACL(zk.PermAll, "dubbo", "secret")); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Read(within(t)); err != nil {
		t.Errorf("their owner: %v", err)
	}
	// One locked node leaves the rest to be read, and is told.
	all := zk.WorldACL(zk.PermAll)
	open := root + "-open"
	friend := dial(t, Config{Servers: server.Address(), Interfaces: open, Applications: open + "/none"})
	friend.provide(t, "org.example.Stock", "dubbo://10.0.0.1:20880/org.example.Stock?application=inventory&interface=org.example.Stock")
	for _, node := range []string{"/org.example.Secret", "/org.example.Secret/providers", "/org.example.Stock/consumers"} {
		if _, err := friend.conn.Create(open+node, nil, 0, all); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range []string{"/org.example.Secret/providers", "/org.example.Stock/consumers"} {
		if _, err := friend.conn.SetACL(open+node, zk.DigestACL(zk.PermAll, "dubbo", "secret"), -1); err != nil {
			t.Fatal(err)
		}
	}
	state, err := friend.Read(within(t))
	if err != nil || len(state.Apps["inventory"].Providers) != 1 || len(state.Unread) != 2 || state.Unread[0].Interface != "org.example.Secret" || state.Unread[0].Aside || !state.Unread[1].Aside || !strings.Contains(state.Unread[0].Reason, "credentials") {
		t.Errorf("%+v, %v", state, err)
	}
	stranger := dial(t, Config{Servers: server.Address(), Interfaces: root})
	if _, err := stranger.Read(within(t)); registry.CodeOf(err) != registry.Forbidden || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("a stranger: %v", err)
	}
}
