package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// Config says which ZooKeeper is meant, and where in it Dubbo's nodes are. The zero
// value works but for Servers.
type Config struct {
	// Servers are those of one ensemble, "host:port,host:port", the port 2181 where
	// none is named. Required.
	Servers string
	// Auth is "user:password" of the scheme digest, for nodes that not everybody may
	// read; empty for none.
	Auth string
	// Session is how long ZooKeeper waits for a client that is silent; 10 s if 0.
	Session time.Duration
	// Interfaces is the node below which providers are kept by interface, /dubbo if
	// empty: the group of Dubbo's registry.
	Interfaces string
	// Applications is the node below which they are kept by application, /services
	// if empty.
	Applications string
	// Logger receives what is worth telling; nobody does if nil.
	Logger *slog.Logger
}

// Where Dubbo keeps its nodes unless it is told otherwise.
const (
	DefaultInterfaces   = "/dubbo"
	DefaultApplications = "/services"
)

const (
	defaultPort    = "2181"
	defaultSession = 10 * time.Second
)

// Validate reports, as an Error with code Invalid, what cannot work.
func (c Config) Validate() error {
	_, err := c.withDefaults()
	return err
}

func (c Config) withDefaults() (Config, error) {
	if c.Session == 0 {
		c.Session = defaultSession
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	servers, err := parseServers(c.Servers)
	if err != nil {
		return Config{}, err
	}
	c.Servers = strings.Join(servers, ",")
	if c.Auth != "" && !strings.Contains(c.Auth, ":") {
		return Config{}, &registry.Error{Code: registry.Invalid, Message: "the credentials for ZooKeeper have no ':'", Fix: "write them as user:password"}
	}
	for _, root := range []struct {
		node     *string
		standard string
	}{{&c.Interfaces, DefaultInterfaces}, {&c.Applications, DefaultApplications}} {
		if *root.node == "" {
			*root.node = root.standard
		}
		*root.node = path.Clean("/" + *root.node)
	}
	return c, nil
}

func parseServers(text string) ([]string, error) {
	bad := func(why string) error {
		return &registry.Error{Code: registry.Invalid, Message: fmt.Sprintf("%q names no ZooKeeper: %s", text, why), Fix: "write it as host:2181, several with commas between"}
	}
	var out []string
	for server := range strings.SplitSeq(strings.TrimPrefix(text, "zookeeper://"), ",") {
		if server = strings.TrimSpace(server); server == "" {
			continue
		}
		if strings.ContainsAny(server, "/?") {
			return nil, bad("only hosts and ports belong there")
		}
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			host, port = strings.Trim(server, "[]"), defaultPort
		}
		if host == "" || port == "" {
			return nil, bad("a host or a port is empty")
		}
		out = append(out, net.JoinHostPort(host, port))
	}
	if len(out) == 0 {
		return nil, bad("it is empty")
	}
	return out, nil
}

// Client is a session with ZooKeeper that is kept, or taken up anew, until Close. It
// is safe for concurrent use.
type Client struct {
	cfg  Config
	conn *zk.Conn
	done chan struct{} // closed when the events have ended

	mu    sync.Mutex
	known bool // the credentials were accepted; the library repeats them from then on
}

// Dial opens a session and waits for it until ctx ends: the error's code is then
// Unavailable. It is Forbidden where the credentials are refused.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	c, err := open(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// open begins a session without waiting for it.
func open(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	conn, events, err := zk.Connect(strings.Split(cfg.Servers, ","), cfg.Session,
		zk.WithLogger(connLog{cfg.Logger}), zk.WithLogInfo(false), zk.WithMaxBufferSize(maxAnswer))
	if err != nil {
		return nil, unavailable(cfg, err)
	}
	c := &Client{cfg: cfg, conn: conn, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for range events { // states are asked for; nobody waits for an event
			continue
		}
	}()
	return c, nil
}

// maxAnswer bounds what one answer may hold: the names of all providers of an
// interface, of 1 kB each.
const maxAnswer = 64 << 20

// connLog passes on what the client library has to say.
type connLog struct{ log *slog.Logger }

func (l connLog) Printf(format string, args ...any) {
	l.log.Debug("zookeeper client", slog.String("says", fmt.Sprintf(format, args...)))
}

// Close ends the session.
func (c *Client) Close() {
	c.conn.Close()
	<-c.done
}

// Servers returns the servers of the ensemble.
func (c *Client) Servers() string { return c.cfg.Servers }

// lookAgain is between two looks at what no event tells.
const lookAgain = 10 * time.Millisecond

// await returns once there is a session.
func (c *Client) await(ctx context.Context) error {
	for {
		if c.conn.State() == zk.StateHasSession {
			switch err := c.identify(); {
			case err == nil:
				return nil
			case !passing(err):
				return &registry.Error{Code: registry.Forbidden, Message: "ZooKeeper at " + c.cfg.Servers + " refuses the credentials", Err: err}
			}
		}
		if !pause.For(ctx, lookAgain) {
			return unavailable(c.cfg, context.Cause(ctx))
		}
	}
}

// identify gives the credentials, once.
func (c *Client) identify() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known || c.cfg.Auth == "" {
		return nil
	}
	err := c.conn.AddAuth("digest", []byte(c.cfg.Auth))
	c.known = err == nil
	return err
}

func unavailable(cfg Config, err error) error {
	return &registry.Error{
		Code: registry.Unavailable, Message: "cannot reach ZooKeeper at " + cfg.Servers, Err: err,
		Fix: "see that it runs, and that this address is reached from here",
	}
}

// passing reports whether an error is of the connection, and not of what was asked.
// The request that was being written when it broke is told what the network said.
func passing(err error) bool {
	var broken *net.OpError
	if errors.As(err, &broken) || errors.Is(err, io.EOF) {
		return true
	}
	for _, lost := range []error{zk.ErrNoServer, zk.ErrConnectionClosed, zk.ErrSessionExpired, zk.ErrSessionMoved} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// ask repeats a read while the connection is lost, until ctx ends.
func (c *Client) ask(ctx context.Context, read func() error) error {
	for {
		err := read()
		if err == nil || !passing(err) {
			return err
		}
		if err := c.await(ctx); err != nil {
			return err
		}
	}
}

// children returns the names below a node, and none where there is no such node.
func (c *Client) children(ctx context.Context, node string) (names []string, err error) {
	names, _, err = c.root(ctx, node)
	return names, err
}

// root is children of a node that has to be there for anything to be known of what
// is below it.
func (c *Client) root(ctx context.Context, node string) (names []string, there bool, err error) {
	err = c.ask(ctx, func() (err error) { names, _, err = c.conn.Children(node); return err })
	if errors.Is(err, zk.ErrNoNode) {
		return nil, false, nil
	}
	return names, err == nil, c.explain("list", node, err)
}

// content returns what a node holds; ok is unset where there is no such node.
func (c *Client) content(ctx context.Context, node string) (data []byte, ok bool, err error) {
	err = c.ask(ctx, func() (err error) { data, _, err = c.conn.Get(node); return err })
	if errors.Is(err, zk.ErrNoNode) {
		return nil, false, nil
	}
	return data, err == nil, c.explain("read", node, err)
}

// explain says what could not be done at which node.
func (c *Client) explain(what, node string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNoAuth):
		return &registry.Error{
			Code: registry.Forbidden, Message: fmt.Sprintf("ZooKeeper does not let this client %s %s", what, node), Err: err,
			Fix: "give the credentials that its applications use",
		}
	case registry.CodeOf(err) == registry.Unavailable:
		return err
	}
	return fmt.Errorf("%s %s in ZooKeeper: %w", what, node, err)
}
