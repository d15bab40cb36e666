package zookeeper

import (
	"context"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/testzk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testzk.Main(m)) }

// deadline bounds every wait in these tests. Nothing waits for it on success.
const deadline = 120 * time.Second

func within(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	tb.Cleanup(cancel)
	return ctx
}

// dial opens a session, which ends with the test.
func dial(tb testing.TB, cfg Config) *Client {
	tb.Helper()
	c, err := Dial(within(tb), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// put makes a node, and those above it.
func (c *Client) put(tb testing.TB, node, content string, flags int32) {
	tb.Helper()
	for i, r := range node[1:] {
		if r == '/' {
			if _, err := c.conn.Create(node[:i+1], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !strings.Contains(err.Error(), "exists") {
				tb.Fatalf("%s: %v", node[:i+1], err)
			}
		}
	}
	if _, err := c.conn.Create(node, []byte(content), flags, zk.WorldACL(zk.PermAll)); err != nil {
		tb.Fatalf("%s: %v", node, err)
	}
}

// provide makes the node of a provider as Dubbo does.
func (c *Client) provide(tb testing.TB, iface, providerURL string) string {
	tb.Helper()
	node := path.Join(c.cfg.Interfaces, iface, "providers", url.QueryEscape(providerURL))
	c.put(tb, node, "", zk.FlagEphemeral)
	return node
}
