// Package cluster finds the Kubernetes cluster that a command is meant for, and
// applies manifests to it.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// EmbeddedKubeconfig is where the cluster of `weir up` keeps its
// administrator's kubeconfig, below the data directory.
func EmbeddedKubeconfig(dataDir string) string {
	return filepath.Join(dataDir, "devcluster", "admin.kubeconfig")
}

// Query says what the user has told of the cluster.
type Query struct {
	// Kubeconfig and Context are the flags; a Kubeconfig may be a list of files.
	Kubeconfig, Context string
	// DataDir is where a `weir up` of this directory keeps its own cluster.
	DataDir string
	// Env looks up environment variables.
	Env func(string) (string, bool)
}

// Target is a cluster that was found, not asked yet.
type Target struct {
	// Kubeconfig are the files that name it; none for a pod's ServiceAccount.
	Kubeconfig []string
	// Context is the context in use; empty for a pod's ServiceAccount.
	Context string
	// Namespace is the one the context or the pod names, "default" without.
	Namespace string
	// Origin tells a reader why this cluster: "--kubeconfig /etc/k", "KUBECONFIG",
	// "weir up in ./data", "~/.kube/config", "the pod's ServiceAccount".
	Origin string
	// REST are address and credentials.
	REST *rest.Config
}

// Server is the address of the API server.
func (t *Target) Server() string { return t.REST.Host }

// String names the cluster for a sentence.
func (t *Target) String() string {
	if t.Context == "" {
		return fmt.Sprintf("%s (%s)", t.Server(), t.Origin)
	}
	return fmt.Sprintf("%s (context %s of %s)", t.Server(), t.Context, t.Origin)
}

// ErrNone is returned by Find when nothing names a cluster.
var ErrNone = errors.New("no Kubernetes cluster is named: start one with `weir up`, or name yours with --kubeconfig")

// Find finds the cluster for a command that only reads. What was said for this
// command comes first, then what kubectl would use, then the cluster of a
// `weir up` in this directory, the pod's own, and the user's default. The error
// is one sentence.
func Find(q Query) (*Target, error) {
	if q.Kubeconfig != "" {
		return load(filepath.SplitList(q.Kubeconfig), q.Context, "--kubeconfig "+q.Kubeconfig)
	}
	if env, ok := q.Env(clientcmd.RecommendedConfigPathEnvVar); ok && env != "" {
		return load(filepath.SplitList(env), q.Context, "$KUBECONFIG")
	}
	if file := EmbeddedKubeconfig(q.DataDir); exists(file) {
		return load([]string{file}, q.Context, "weir up in "+q.DataDir)
	}
	t, err := InCluster(q.Env)
	if t != nil || err != nil {
		return t, err
	}
	if home, ok := q.Env("HOME"); ok {
		if file := filepath.Join(home, ".kube", "config"); exists(file) {
			return load([]string{file}, q.Context, "~/.kube/config")
		}
	}
	return nil, ErrNone
}

// Named returns the cluster that the user has named for a command that may
// write: by --kubeconfig (or its variable, or the configuration file), or by
// running inside it. It is nil when none was. $KUBECONFIG and ~/.kube/config do
// not count, since they are often left over from other work, and sudo drops the
// variable without a word.
func Named(q Query) (*Target, error) {
	if q.Kubeconfig != "" {
		return load(filepath.SplitList(q.Kubeconfig), q.Context, "--kubeconfig "+q.Kubeconfig)
	}
	return InCluster(q.Env)
}

// InCluster returns the cluster that this process runs in as a pod, nil when it
// runs in none.
func InCluster(env func(string) (string, bool)) (*Target, error) {
	if host, ok := env("KUBERNETES_SERVICE_HOST"); !ok || host == "" {
		return nil, nil //nolint:nilnil // there is nothing to find, and that is no failure
	}
	c, err := rest.InClusterConfig()
	switch {
	case errors.Is(err, rest.ErrNotInCluster):
		return nil, nil //nolint:nilnil // as above
	case errors.Is(err, os.ErrNotExist):
		// The variables are there, the ServiceAccount's token is not: a shell
		// that inherited them, or a pod that must not talk to the API server.
		return nil, nil //nolint:nilnil // as above
	case err != nil:
		return nil, fmt.Errorf("the pod's ServiceAccount cannot be used: %w; name a cluster with --kubeconfig", err)
	}
	namespace, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		namespace = []byte("default")
	}
	return &Target{Namespace: strings.TrimSpace(string(namespace)), Origin: "the pod's ServiceAccount", REST: c}, nil
}

// FromFile returns the cluster of a kubeconfig that this program made itself.
func FromFile(file, origin string) (*Target, error) { return load([]string{file}, "", origin) }

func load(files []string, context, origin string) (*Target, error) {
	files = slices.DeleteFunc(files, func(f string) bool { return f == "" })
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files}
	if len(files) == 1 {
		// A single file has to be there; of a list, as for kubectl, some.
		rules = &clientcmd.ClientConfigLoadingRules{ExplicitPath: files[0]}
	}
	bad := func(what string) (*Target, error) {
		return nil, fmt.Errorf("%s %s: name another kubeconfig with --kubeconfig", origin, what)
	}
	raw, err := rules.Load()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return bad("names a file that does not exist")
	case errors.Is(err, os.ErrPermission):
		return bad("names a file that this user may not read")
	case err != nil:
		return bad("is no kubeconfig (" + innermost(err).Error() + ")")
	case len(raw.Clusters) == 0:
		return bad("names no cluster")
	}
	name := cmp.Or(context, raw.CurrentContext)
	if raw.Contexts[name] == nil {
		if name == "" {
			return nil, fmt.Errorf("%s sets no current context: choose one with --context: %s", origin, contexts(raw))
		}
		return nil, fmt.Errorf("%s has no context %q: choose one with --context: %s", origin, name, contexts(raw))
	}
	config := clientcmd.NewNonInteractiveClientConfig(*raw, name, &clientcmd.ConfigOverrides{}, rules)
	c, err := config.ClientConfig()
	if err != nil {
		return bad("cannot be used (" + innermost(err).Error() + ")")
	}
	namespace, _, err := config.Namespace()
	if err != nil {
		return bad("cannot be used (" + innermost(err).Error() + ")")
	}
	return &Target{Kubeconfig: files, Context: name, Namespace: namespace, Origin: origin, REST: c}, nil
}

func contexts(raw *clientcmdapi.Config) string {
	names := make([]string, 0, len(raw.Contexts))
	for name := range raw.Contexts {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// exists is also true of what this user may not look at, so that the reader is
// told of the missing right rather than of another cluster.
func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

// innermost takes off client-go's repetitions of the file's name.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
