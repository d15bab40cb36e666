//go:build linux

package consumer

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	dubboregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"github.com/dubbogo/go-zookeeper/zk"
	gxzookeeper "github.com/dubbogo/gost/database/kv/zk"

	// The peer: discovery and metadata report of dubbo-go over ZooKeeper.
	_ "dubbo.apache.org/dubbo-go/v3/metadata/report/zookeeper"
	_ "dubbo.apache.org/dubbo-go/v3/registry/zookeeper"

	"github.com/weirmesh/weir/test/bench/dubbo"
)

type zookeeperSource struct {
	registry dubboregistry.Registry
}

func openZooKeeper(ctx context.Context, args OpenArgs, t *tap) (source, error) {
	if err := dubbo.Quiet(); err != nil {
		return nil, err
	}
	if err := tapZooKeeper(ctx, args.Address, t); err != nil {
		return nil, err
	}
	r := dubbo.Registry{ID: "zookeeper", Protocol: "zookeeper", Address: args.Address}
	if err := r.ReportMetadata(); err != nil {
		return nil, err
	}
	reg, err := r.Open()
	if err != nil {
		return nil, err
	}
	return &zookeeperSource{registry: reg}, nil
}

func (s *zookeeperSource) subscribe(l *list) error {
	return s.registry.Subscribe(dubbo.ConsumerURL(l.app), l)
}

func (s *zookeeperSource) observed() int64 { return 0 }
func (s *zookeeperSource) arm(int, bool)   {}

// tapZooKeeper puts the client that dubbo-go will use into dubbo-go's pool
// beforehand, where clients are found by their address, with a connection that
// tells the tap what it reads.
func tapZooKeeper(ctx context.Context, address string, t *tap) error {
	timeout, err := time.ParseDuration(dubbo.Timeout)
	if err != nil {
		return err
	}
	h := &tappedHandler{tap: t, addresses: []string{address}, ready: make(chan error, 1)}
	if _, err := gxzookeeper.NewZookeeperClient(address, h.addresses, true,
		gxzookeeper.WithZkTimeOut(timeout), gxzookeeper.WithZkEventHandler(h)); err != nil {
		return fmt.Errorf("connect to ZooKeeper: %w", err)
	}
	select {
	case err := <-h.ready:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tappedHandler is started by a new client before anybody else has it, and
// replaces its connection by one that is tapped.
type tappedHandler struct {
	tap       *tap
	addresses []string
	ready     chan error
}

func (h *tappedHandler) HandleZkEvent(z *gxzookeeper.ZookeeperClient) {
	z.Lock()
	plain := z.Conn
	conn, events, err := zk.Connect(h.addresses, z.Timeout, zk.WithLogInfo(false),
		zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), network, address)
			if err != nil {
				return nil, err
			}
			return &tappedConn{Conn: c, tap: h.tap}, nil
		}))
	if err == nil {
		z.Conn, z.Session = conn, events
	}
	z.Unlock()
	h.ready <- err
	if err != nil {
		return
	}
	plain.Close()
	(&gxzookeeper.DefaultHandler{}).HandleZkEvent(z)
}

// tappedConn tells the frames of ZooKeeper's protocol apart: four bytes of
// length, then a body that begins with the id of the call it answers, -1 for a
// watch that fired. The client has one reader, so frames need no lock.
type tappedConn struct {
	net.Conn
	tap    *tap
	header []byte
	body   []byte
	left   int
}

const watchFired = 0xffffffff

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for data := p[:n]; len(data) > 0; {
		if c.left == 0 {
			k := min(4-len(c.header), len(data))
			c.header = append(c.header, data[:k]...)
			data = data[k:]
			if len(c.header) == 4 {
				c.left = int(binary.BigEndian.Uint32(c.header))
				c.header, c.body = c.header[:0], c.body[:0]
			}
			continue
		}
		k := min(c.left, len(data))
		c.body = append(c.body, data[:k]...)
		c.left -= k
		data = data[k:]
		if c.left == 0 {
			c.tap.message(c.body, len(c.body) >= 4 && binary.BigEndian.Uint32(c.body) == watchFired)
		}
	}
	return n, err
}
