package zookeeper

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
)

// allow sets who may do what at a node: read alone, or all, beside changing it back.
func (b *bridged) allow(node string, perms int32) {
	b.t.Helper()
	if _, err := b.look.conn.SetACL(node, zk.WorldACL(perms|zk.PermAdmin), -1); err != nil {
		b.t.Fatalf("%s: %v", node, err)
	}
}

// Nodes that may not be read or written are somebody's doing. Others need not suffer.
func TestAnInterfaceThatIsLockedHarmsNoOther(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	document := strings.Replace(stockDocument, `"services":{`, `"services":{
		"org.example.Alpha:dubbo":{"name":"org.example.Alpha","protocol":"dubbo","port":20000},
		"org.example.Beta:dubbo":{"name":"org.example.Beta","protocol":"dubbo","port":20000},`, 1)
	if err := b.client.PutMetadata(within(t), inventory, "r1", []byte(document)); err != nil {
		t.Fatal(err)
	}
	// One whose providers nobody may add to, one whose providers nobody may read, and
	// one of those that no bridge has to do with.
	alpha, beta, foreign := b.cfg.Interfaces+"/org.example.Alpha/providers", b.cfg.Interfaces+"/org.example.Beta/providers", b.cfg.Interfaces+"/com.example.Foreign/providers"
	for node, perms := range map[string]int32{alpha: zk.PermRead, beta: 0, foreign: 0} {
		b.look.put(t, node, "", 0)
		b.allow(node, perms)
	}
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1")
	failing := func(want ...string) {
		t.Helper()
		b.eventually(fmt.Sprintf("%v are named", want), func() error {
			s := r.Status()
			var have []string
			for _, f := range s.Failing {
				if f.Since.IsZero() || !strings.Contains(f.Why, "does not let this client") {
					return fmt.Errorf("%+v", f)
				}
				have = append(have, f.Interface)
			}
			if !slices.Equal(have, want) || !s.Writes || s.Problem != "" || testutil.CollectAndCount(failingCollector{r.Bridge}) != len(want) {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
	failing("org.example.Alpha", "org.example.Beta")
	r.says("interfaces in ZooKeeper cannot be read")
	// Those after it are written, and cleaned.
	b.instance(2)
	b.finds("10.0.0.1", "10.0.0.2")
	b.reg.RemoveInstance(inventory, "uid-1")
	b.finds("10.0.0.2")

	b.allow(alpha, zk.PermAll)
	failing("org.example.Beta")
	b.allow(beta, zk.PermAll)
	failing()
	for _, iface := range []string{"org.example.Alpha", "org.example.Beta"} {
		b.eventually(iface, func() error {
			list, err := b.providers(iface)
			if err != nil || len(list) != 1 || list[0].Host != "10.0.0.2" {
				return fmt.Errorf("%+v, %w", list, err)
			}
			return nil
		})
	}
	// It is told once for each.
	if n := strings.Count(r.log.String(), "providers of an interface cannot be written"); n != 2 {
		t.Errorf("it was told %d times", n)
	}
}

// As consumers on Kubernetes call it: by the document's port.
func TestAnInstanceThatLeavesItsPortToItsDocumentIsWritten(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1, func(i *registry.Instance) {
		i.Endpoints = nil
		delete(i.Metadata, registry.KeyEndpoints)
	})
	b.run()
	b.finds("10.0.0.1")
	if list, err := b.providers("org.example.Stock"); err != nil || list[0].Port != 20000 {
		t.Errorf("%+v, %v", list, err)
	}
}
