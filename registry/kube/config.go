package kube

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/registry"
)

// AllNamespaces in Config.Namespaces stands for every namespace of the cluster.
const AllNamespaces = "*"

// Config says which cluster a Hub serves and as whom. The zero value is that of
// a pod: in-cluster credentials, its own namespace, its own identity.
type Config struct {
	// REST names the cluster and the credentials. When nil, Kubeconfig does.
	REST *rest.Config
	// Kubeconfig is a file; when empty, $KUBECONFIG names one or more; without
	// that, the credentials that Kubernetes mounts into a pod are used.
	Kubeconfig string
	// Context chooses one of the kubeconfig's contexts; its current one if empty.
	Context string

	// Namespaces are watched from the start, and are those whose interface
	// mappings are read and whose applications Apps lists. The identity's own
	// namespace (outside a pod: the kubeconfig's, else "default") when empty;
	// AllNamespaces for all, with one watch per kind. Other namespaces are
	// watched from the first question about one of their applications until, for ten
	// minutes, nobody has followed or asked.
	Namespaces []string
	// Lazy puts off the watches of Namespaces until something is asked of them,
	// as suits a process that only registers.
	Lazy bool

	// Identity is who this process is; DetectIdentity() when zero.
	Identity Identity
	// App is the application that this process is when it calls others; it
	// chooses among DiscoveryPolicies. The name only; may be empty.
	App string

	// Coalesce is how long changes of one application are gathered after one has
	// been sent. 100 ms when zero; negative for not at all.
	Coalesce time.Duration
	// Grace is how long an instance that vanished from the EndpointSlices is
	// kept while its pod is still there and is not terminating, as happens for a
	// moment when the cluster moves endpoints between slices. 3 s when zero;
	// negative for not at all.
	Grace time.Duration
	// Protection is what happens when many instances are lost at once.
	Protection Protection
	// SnapshotDir is where the hub keeps, in a file, what it last knew of what this
	// process used: applications that it followed, interfaces and documents. A process
	// that starts while the API server cannot be heard goes by it. Nothing is kept on
	// disk when empty.
	SnapshotDir string
	// SnapshotWait is how long the API server is waited for before that file counts.
	// 1 s when zero. One that answers, but slowly or that it has too much to do, is
	// given five times as long.
	SnapshotWait time.Duration
	// SnapshotTrust is how long ago what that file says may last have been known to be
	// true for its instances to be called as they are. Older ones are tried by TCP
	// first, and those that take no connection stand by for those that do. 10 min when
	// zero.
	SnapshotTrust time.Duration
	// MaxBackoff bounds the pause between attempts to reach an API server that
	// does not answer. 2 s when zero. An API server that answers with an error
	// is given longer.
	MaxBackoff time.Duration
	// Reassert is about how often a registration is written again even though
	// nothing says it was lost. 10 min when zero.
	Reassert time.Duration
	// QPS and Burst bound the requests of this process (watches excepted once
	// they stand). 100 and 200 when zero.
	QPS   float32
	Burst int

	// Logger takes what an operator should know. Discarded when nil.
	Logger *slog.Logger
	// Metrics takes the hub's metrics, weir_registry_…; none when nil. One Hub
	// per Registerer.
	Metrics prometheus.Registerer
	// UserAgent names this process to the API server; "weir" when empty.
	UserAgent string
}

// Validate reports what Open would refuse, as an Error with code Invalid. It
// reads no files.
func (c Config) Validate() error {
	for _, ns := range c.Namespaces {
		if ns == AllNamespaces {
			continue
		}
		if err := (registry.App{Namespace: ns, Name: "any"}).Validate(); err != nil {
			return err
		}
	}
	switch {
	case c.MaxBackoff < 0, c.Reassert < 0, c.SnapshotWait < 0, c.SnapshotTrust < 0:
		return invalid("a pause cannot be negative")
	case c.Protection.Percent < 0, c.Protection.Percent > 100, c.Protection.Hold < 0:
		return invalid("protection takes a share from 1 to 100 percent and a hold that is not negative")
	case c.QPS < 0, c.Burst < 0:
		return invalid("a rate limit cannot be negative")
	case c.REST != nil && (c.Kubeconfig != "" || c.Context != ""):
		return invalid("a REST config and a kubeconfig exclude one another")
	case c.App != "":
		return registry.App{Namespace: "any", Name: c.App}.Validate()
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Identity == (Identity{}) {
		c.Identity = DetectIdentity()
	}
	c.Coalesce = cmp.Or(c.Coalesce, 100*time.Millisecond)
	c.Grace = cmp.Or(c.Grace, 3*time.Second)
	c.Protection = c.Protection.withDefaults()
	c.SnapshotWait = cmp.Or(c.SnapshotWait, time.Second)
	c.SnapshotTrust = cmp.Or(c.SnapshotTrust, 10*time.Minute)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 2*time.Second)
	c.Reassert = cmp.Or(c.Reassert, 10*time.Minute)
	c.QPS = cmp.Or(c.QPS, 100)
	c.Burst = cmp.Or(c.Burst, 200)
	c.UserAgent = cmp.Or(c.UserAgent, "weir")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if slices.Contains(c.Namespaces, AllNamespaces) {
		c.Namespaces = []string{AllNamespaces}
	} else {
		c.Namespaces = slices.Compact(slices.Sorted(slices.Values(c.Namespaces)))
	}
	return c
}

// connection is where a hub talks to, and how that came about.
type connection struct {
	rest      *rest.Config
	namespace string // the kubeconfig's own, if it names one
	origin    string // for sentences: "kubeconfig /etc/…", "the pod's service account"
}

// connect finds the cluster. Every failure is one sentence that says what to set.
func (c Config) connect() (connection, error) {
	if c.REST != nil {
		return connection{rest: rest.CopyConfig(c.REST), origin: "the given configuration"}, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{}
	var origin string
	switch env := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); {
	case c.Kubeconfig != "":
		rules.ExplicitPath, origin = c.Kubeconfig, "kubeconfig "+c.Kubeconfig
	case env != "":
		rules.Precedence = filepath.SplitList(env)
		origin = "kubeconfig " + strings.Join(rules.Precedence, ", ") + " (from KUBECONFIG)"
	default:
		cfg, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return connection{}, &registry.Error{
				Code:    registry.Invalid,
				Message: "no Kubernetes cluster is named, and this process is not in one",
				Fix:     "give a kubeconfig or set KUBECONFIG",
			}
		}
		if err != nil {
			return connection{}, &registry.Error{
				Code:    registry.Invalid,
				Message: "this pod has no usable ServiceAccount credentials",
				Err:     err,
				Fix:     "leave automountServiceAccountToken on, or give a kubeconfig",
			}
		}
		return connection{rest: cfg, origin: "the pod's ServiceAccount"}, nil
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
	raw, err := loader.RawConfig()
	bad := func(message string, err error, fix string) (connection, error) {
		return connection{}, &registry.Error{Code: registry.Invalid, Message: message, Err: err, Fix: fix}
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return bad(origin+" does not exist", nil, "name the file of a running cluster")
	case errors.Is(err, os.ErrPermission):
		return bad(origin+" may not be read by this user", nil, "make it readable or name another")
	case err != nil:
		return bad(origin+" cannot be read", unwrapLoad(err), "mend it or name another")
	case len(raw.Clusters) == 0:
		return bad(origin+" names no cluster", nil, "name the file of a running cluster")
	}
	if want := cmp.Or(c.Context, raw.CurrentContext); raw.Contexts[want] == nil {
		known := make([]string, 0, len(raw.Contexts))
		for name := range raw.Contexts {
			known = append(known, name)
		}
		slices.Sort(known)
		return bad(fmt.Sprintf("%s has no context %q", origin, want), nil, "choose one of: "+strings.Join(known, ", "))
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return bad(origin+" cannot be used", err, "mend it or name another")
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return bad(origin+" cannot be used", err, "mend it or name another")
	}
	return connection{rest: cfg, namespace: namespace, origin: origin}, nil
}

// unwrapLoad takes off client-go's repetition of the file name.
func unwrapLoad(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func invalid(message string) error {
	return &registry.Error{Code: registry.Invalid, Message: message}
}
