package kube_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// doubting puts a proxy before the API server that, while on is set, answers as an API
// server does that cannot find out who asks.
func doubting(t *testing.T, cfg *rest.Config, on *atomic.Bool) *rest.Config {
	t.Helper()
	return through(t, cfg, func(w http.ResponseWriter, _ *http.Request) bool {
		return on.Load() && refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
	})
}

const askedAgain = "it is asked again, since an API server that is not well answers so, too"

// A consumer that starts while the API server cannot say who asks goes by its file, or
// waits, and does not give up.
func TestAStartWhileNobodyIsKnown(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	var unknown atomic.Bool
	cfg := stranger(n, doubting(t, n.Cluster.REST(), &unknown))
	cfg.MaxBackoff = 5 * time.Second // so that there is time enough
	cfg.SnapshotDir, cfg.SnapshotWait = filepath.Join(t.TempDir(), "kept"), 100*time.Millisecond
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	first := openHub(t, cfg)
	watch(t, first, app).await("the instance", ready(1))
	first.Close()

	unknown.Store(true)
	var log safeBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	second := openHub(t, cfg)
	s, err := second.Snapshot(testkube.Context(t), app)
	if err != nil || len(s.Callable()) != 1 || s.StaleSince.IsZero() {
		t.Fatalf("while nobody is known the snapshot is %+v (%v)", s, err)
	}
	cfg.SnapshotDir = ""
	cfg.Logger = nil
	third := openHub(t, cfg)
	_, err = third.Snapshot(brief(t), app)
	wantError(t, err, registry.Unavailable, askedAgain)
	synced := make(chan error, 1)
	go func() { synced <- third.WaitSynced(testkube.Context(t)) }()
	unknown.Store(false)
	if err := <-synced; err != nil {
		t.Errorf("when it is known again: %v", err)
	}
	testkube.Eventually(t, "the truth", func() error {
		if s, err := second.Snapshot(testkube.Context(t), app); err != nil || !s.StaleSince.IsZero() || len(s.Callable()) != 1 {
			return fmt.Errorf("told of %+v (%w)", s, err)
		}
		return nil
	})
	if n := strings.Count(log.String(), "registry watch lost or refused"); n != 1 {
		t.Errorf("it is told of %d times:\n%s", n, log.String())
	}
}

// A provider that starts then goes on trying, and is not told that it may not.
func TestARegistrationWhileNobodyIsKnown(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.ServiceAccount(t, "inventory", "weir-provider")
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory"})
	var unknown atomic.Bool
	unknown.Store(true)
	cfg := inPod(t, n, "inventory", "inventory-0")
	cfg.REST, cfg.Lazy = doubting(t, cfg.REST, &unknown), true
	cfg.MaxBackoff = 5 * time.Second
	hub := openHub(t, cfg)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	reg := registry.Registration{App: app, Metadata: map[string]string{"dubbo.metadata.revision": "one"}}
	wantError(t, hub.Register(brief(t), reg), registry.Unavailable, askedAgain)
	registered := make(chan error, 1)
	go func() { registered <- hub.Register(testkube.Context(t), reg) }()
	unknown.Store(false)
	if err := <-registered; err != nil {
		t.Errorf("when it is known again: %v", err)
	}

	unknown.Store(true)
	cfg.MaxBackoff = 20 * time.Millisecond
	refused := openHub(t, cfg)
	wantError(t, refused.Register(testkube.Context(t), reg), registry.Forbidden, "does not accept the credentials of")
}

// An API server that has not read the role of a binding yet says that there is none.
func TestAStartBeforeRolesAreRead(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.ServiceAccount(t, "orders")
	n.Bind(t, "orders", "Role", "later")
	var log safeBuffer
	cfg := kube.Config{
		REST: n.As(t, "orders", nil), Namespaces: []string{n.Name}, Identity: kube.Identity{Namespace: n.Name},
		MaxBackoff: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	hub := openHub(t, cfg)
	synced := make(chan error, 1)
	go func() { synced <- hub.WaitSynced(testkube.Context(t)) }()
	testkube.Eventually(t, "a line that it is refused", func() error {
		if !strings.Contains(log.String(), askedAgain) {
			return errors.New("log:\n" + log.String())
		}
		return nil
	})
	n.Role(t, "later",
		rbacv1.PolicyRule{APIGroups: []string{"", "discovery.k8s.io", "registry.weirmesh.io"}, Resources: []string{"pods", "services", "endpointslices", "discoverypolicies"}, Verbs: []string{"get", "list", "watch"}})
	if err := <-synced; err != nil {
		t.Errorf("when the role is there: %v", err)
	}
}
