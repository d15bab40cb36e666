// Package up runs Weir and what it stands on in one process tree: PostgreSQL
// and a Kubernetes node of its own, or those that the user names, and the
// example shop. It shows how far each part is and ends all that it started.
package up

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// DefaultDataDir is where everything is kept unless told otherwise.
const DefaultDataDir = "data"

// Words of the settings that may also be decided by the program.
const (
	auto = "auto"
	yes  = "true"
	no   = "false"
)

// Config are the settings of `weir up`.
type Config struct {
	// DataDir holds all data, sockets and logs.
	DataDir string

	// DatabaseURL names the user's PostgreSQL; empty for a private one.
	DatabaseURL string
	// PostgresPort is the private one's port; 0 for a free one.
	PostgresPort int
	// PostgresBin is the directory of its programs; empty to look for them.
	PostgresBin string

	// Kubeconfig and Context name the user's cluster; without a Kubeconfig a
	// node of one's own is run, except in a pod.
	Kubeconfig string
	Context    string
	// Namespaces are those that Weir looks after; all when it holds "*".
	Namespaces []string
	// Several are other clusters, whose applications are shown and called beside those of
	// the first.
	Several cluster.Several
	// Install allows writing Weir's definitions, roles and admission policies
	// into the user's cluster.
	Install bool
	// Devcluster is the program that runs a node; empty for the one beside weir.
	Devcluster string
	// DevclusterSlot chooses the node's addresses, 1 to 254 or "auto".
	DevclusterSlot string
	// Node is whether the cluster of one's own runs pods, which needs root.
	Node bool

	// Shop is whether the example shop runs: "auto", "true" or "false".
	Shop string
	// ShopDir are directories with its manifests, ShopBin those with its programs
	// and images; empty to look beside weir.
	ShopDir []string
	ShopBin []string

	// GatewayListen, ControlListen and TracingListen are host:port of the roles
	// on this machine.
	GatewayListen string
	ControlListen string
	TracingListen string

	// AdminListen is host:port of /livez, /readyz and /metrics; empty for none.
	AdminListen string
	LogLevel    slog.Level
	// StopTimeout bounds the whole end.
	StopTimeout time.Duration
}

// Defaults returns the settings that hold when nothing is said.
func Defaults() *Config {
	return &Config{
		DataDir:        DefaultDataDir,
		Namespaces:     []string{kube.AllNamespaces},
		DevclusterSlot: auto,
		Node:           true,
		Shop:           auto,
		GatewayListen:  fmt.Sprintf("127.0.0.1:%d", role.GatewayPort),
		ControlListen:  fmt.Sprintf("127.0.0.1:%d", role.ControlPort),
		TracingListen:  fmt.Sprintf("127.0.0.1:%d", role.TracingPort),
		AdminListen:    "127.0.0.1:9001",
		StopTimeout:    30 * time.Second,
	}
}

// Flags binds the settings to flags.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory for all data, kept from one run to the next")
	fs.StringVar(&c.DatabaseURL, "database-url", c.DatabaseURL, "your PostgreSQL, postgres://user:password@host:5432/database (default: a private one in the data directory)")
	config.Secret(fs, "database-url")
	fs.IntVar(&c.PostgresPort, "postgres-port", c.PostgresPort, "port of the private PostgreSQL (default: a free one from 5433 on, then always the same)")
	fs.StringVar(&c.PostgresBin, "postgres-bin", c.PostgresBin, "directory of initdb and postgres (default: look in the usual places)")
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "your cluster (default: a Kubernetes node of its own on this machine; $KUBECONFIG is not used)")
	fs.StringVar(&c.Context, "context", c.Context, "context of --kubeconfig (default: its current one)")
	fs.StringSliceVar(&c.Namespaces, "namespaces", c.Namespaces, "namespaces of your cluster to look after, or *")
	c.Several.Flags(fs)
	fs.BoolVar(&c.Install, "install", c.Install, "write Weir's definitions, roles and admission policies into your cluster, and keep Weir's objects there in order")
	fs.StringVar(&c.Devcluster, "devcluster", c.Devcluster, "the program that runs a Kubernetes of its own (default: devcluster beside weir)")
	fs.StringVar(&c.DevclusterSlot, "devcluster-slot", c.DevclusterSlot, "number from 1 to 254 that the addresses of its own node derive from, or auto")
	fs.BoolVar(&c.Node, "node", c.Node, "run pods in its own Kubernetes, which needs root; --node=false runs the API server alone")
	config.Choice(fs, &c.Shop, "shop", "", []string{auto, yes, no}, "run the example shop; auto: in its own cluster, if the shop was built")
	fs.StringSliceVar(&c.ShopDir, "shop-dir", c.ShopDir, "directories of the shop's manifests (default: examples/shop/deploy beside weir)")
	fs.StringSliceVar(&c.ShopBin, "shop-bin", c.ShopBin, "directories of the shop's programs, and of image archives, NAME.tar (default: shop beside weir)")
	fs.StringVar(&c.GatewayListen, role.GatewayListen, c.GatewayListen, "address of the gateway on this machine")
	fs.StringVar(&c.ControlListen, role.ControlListen, c.ControlListen, "address of the APIs and the console on this machine")
	fs.StringVar(&c.TracingListen, role.TracingListen, c.TracingListen, "address of the trace collector on this machine")
	fs.StringVar(&c.AdminListen, "admin-listen", c.AdminListen, "address of /livez, /readyz and /metrics; empty for none")
	fs.TextVar(&c.LogLevel, "log-level", c.LogLevel, "DEBUG, INFO, WARN or ERROR, for the log in the data directory")
	fs.DurationVar(&c.StopTimeout, "stop-timeout", c.StopTimeout, "how long an orderly end may take")
}

// Validate reports everything that is wrong with the settings by themselves,
// without looking at the machine.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		bad("--data-dir is empty: name a directory")
	}
	if c.PostgresPort < 0 || c.PostgresPort > 65535 {
		bad("--postgres-port %d does not exist: use 1 to 65535, or 0 for any free one", c.PostgresPort)
	}
	if c.DatabaseURL != "" && (c.PostgresPort != 0 || c.PostgresBin != "") {
		bad("--postgres-port and --postgres-bin are for the private PostgreSQL: leave them out with --database-url")
	}
	if c.Context != "" && c.Kubeconfig == "" {
		bad("--context needs --kubeconfig")
	}
	if c.Install && c.Kubeconfig == "" {
		bad("--install is for a cluster named by --kubeconfig: in its own cluster weir installs what it needs anyway")
	}
	if c.Kubeconfig != "" && (c.Devcluster != "" || c.DevclusterSlot != auto || !c.Node) {
		bad("--devcluster, --devcluster-slot and --node are for a Kubernetes of its own: leave them out with --kubeconfig")
	}
	if !c.Node && c.Shop == yes {
		bad("--shop=true needs pods to run in: leave out --node=false")
	}
	if !c.Node && c.DevclusterSlot != auto {
		bad("--devcluster-slot is for a node: leave out --node=false")
	}
	if err := c.Several.Validate(c.Kubeconfig); err != nil {
		errs = append(errs, err)
	}
	for _, ns := range c.Namespaces {
		if ns == kube.AllNamespaces {
			continue
		}
		if err := (registry.App{Namespace: ns, Name: "any"}).Validate(); err != nil {
			bad("--namespaces: %w", err)
		}
	}
	if len(c.Namespaces) == 0 {
		bad("--namespaces is empty: name some, or * for all")
	}
	if c.AdminListen != "" {
		if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
			bad("--admin-listen %q is no host:port: write it like 127.0.0.1:9001", c.AdminListen)
		}
	}
	errs = append(errs,
		role.CheckListen(role.GatewayListen, c.GatewayListen),
		role.CheckListen(role.ControlListen, c.ControlListen),
		role.CheckListen(role.TracingListen, c.TracingListen))
	if c.StopTimeout <= 0 {
		bad("--stop-timeout %s leaves no time to end: give a duration such as 30s", c.StopTimeout)
	}
	return errors.Join(errs...)
}

// own reports whether `weir up` is to run a cluster of its own.
func (u *Up) own() bool { return u.target == nil }

// data returns a path in the data directory.
func (c *Config) data(parts ...string) string {
	return filepath.Join(append([]string{c.DataDir}, parts...)...)
}

// allNamespaces reports whether Weir looks after the whole cluster.
func (c *Config) allNamespaces() bool { return slices.Contains(c.Namespaces, kube.AllNamespaces) }
