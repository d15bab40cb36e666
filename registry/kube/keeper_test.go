package kube_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// snapshotFile waits for the one file in dir that ok likes.
func snapshotFile(t *testing.T, dir string, ok func(content []byte) bool) string {
	t.Helper()
	var name string
	testkube.Eventually(t, "the snapshot file", func() error {
		files, err := filepath.Glob(filepath.Join(dir, "registry-*.snapshot"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("files %v, %w", files, err)
		}
		content, err := os.ReadFile(files[0])
		if err == nil && !ok(content) {
			err = errors.New("it does not say what it should")
		}
		name = files[0]
		return err
	})
	return name
}

// A process that starts while the API server is away goes by what an earlier one
// knew: applications, interfaces, documents; until it hears better.
func TestAStartWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	names := []string{"inventory-0", "inventory-1"}
	processes := serve(t, names...)
	for _, name := range names {
		pod := processes.pods[name]
		pod.Annotations = map[string]string{kube.AnnotationMetadata: `{"dubbo.endpoints":"[{\"port\":20000,\"protocol\":\"dubbo\"}]","dubbo.metadata.revision":"one"}`}
		n.Pod(t, "inventory", name, pod)
		n.AwaitEndpoint(t, "inventory", name, true)
	}
	restConfig := n.Cluster.REST()
	link := proxyTo(t, restConfig)
	dir := filepath.Join(t.TempDir(), "kept", "here")
	var log safeBuffer
	cfg := stranger(n, restConfig)
	cfg.SnapshotDir, cfg.SnapshotWait = dir, 100*time.Millisecond
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	app, iface := registry.App{Namespace: n.Name, Name: "inventory"}, registry.Interface{Name: "org.example.Stock"}
	document := []byte(`{"services":{"org.example.Stock":{"name":"org.example.Stock"}}}`)

	first := openHub(t, cfg)
	if err := first.MapInterface(testkube.Context(t), iface, app); err != nil {
		t.Fatal(err)
	}
	if err := first.PutMetadata(testkube.Context(t), app, "one", document); err != nil {
		t.Fatal(err)
	}
	watch(t, first, app).await("two instances", ready(2))
	testkube.Eventually(t, "the mapping", func() error {
		apps, err := first.InterfaceApps(testkube.Context(t), iface)
		if err == nil && len(apps) != 1 {
			err = fmt.Errorf("provided by %v", apps)
		}
		return err
	})
	if _, err := first.Metadata(testkube.Context(t), app, "one"); err != nil {
		t.Fatal(err)
	}
	first.Close() // writes what is due
	file := snapshotFile(t, dir, func(content []byte) bool { return len(content) > 0 })
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v)", info.Mode(), err)
	}

	link.cut()
	second := openHub(t, cfg)
	second.SetDial(processes.dial)
	s, err := second.Snapshot(testkube.Context(t), app)
	if err != nil || len(s.Callable()) != 2 || s.StaleSince.IsZero() || s.Service.Host == "" {
		t.Fatalf("without the API server the snapshot is %+v (%v)", s, err)
	}
	w := watch(t, second, app)
	if s := w.await("what was known", ready(2)); s.StaleSince.IsZero() {
		t.Errorf("a follower is told of old knowledge as if it were new")
	}
	if apps, err := second.InterfaceApps(testkube.Context(t), iface); err != nil || len(apps) != 1 || apps[0] != app {
		t.Errorf("the interface is provided by %v (%v)", apps, err)
	}
	if got, err := second.Metadata(testkube.Context(t), app, "one"); err != nil || !bytes.Equal(got, document) {
		t.Errorf("the document is %s (%v)", got, err)
	}
	_, err = second.Snapshot(brief(t), registry.App{Namespace: n.Name, Name: "orders"})
	wantError(t, err, registry.Unavailable, "nothing is known yet of application "+n.Name+"/orders")
	if text := "what an earlier process knew is used until it can"; strings.Count(log.String(), text) != 1 {
		t.Errorf("%q is not told once:\n%s", text, log.String())
	}

	// Meanwhile everything stopped being ready, which is doubted as ever, and one more
	// came.
	for _, name := range names {
		n.SetReady(t, name, false)
		n.AwaitEndpoint(t, "inventory", name, false)
	}
	link.restore()
	s = w.await("the truth", func(s registry.Snapshot) bool { return registry.Summarize(s).Kept == 2 })
	if !s.StaleSince.IsZero() || len(s.Callable()) != 2 {
		t.Errorf("heard again, the snapshot is %+v", s)
	}
	for _, name := range names {
		n.Remove(t, name)
	}
	w.await("a scale to zero", func(s registry.Snapshot) bool { return len(s.Instances) == 0 })
	w.mu.Lock()
	for _, s := range w.all[:len(w.all)-3] {
		if len(s.Callable()) == 0 {
			t.Errorf("the application was empty: %+v", s)
		}
	}
	w.mu.Unlock()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	snapshotFile(t, dir, func(content []byte) bool { return !bytes.Equal(content, before) })
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left over: %v (%v)", left, err)
	}
}

// A file that is damaged, of another version or of another cluster is told of once
// and counts for nothing; it is replaced by the next one.
func TestABadSnapshotFile(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	dir := t.TempDir()
	restConfig := n.Cluster.REST()
	link := proxyTo(t, restConfig)
	cfg := stranger(n, restConfig)
	cfg.SnapshotDir, cfg.SnapshotWait = dir, 50*time.Millisecond
	hub := openHub(t, cfg)
	watch(t, hub, app).await("an instance", ready(1))
	hub.Close()
	file := snapshotFile(t, dir, func(content []byte) bool { return len(content) > 0 })
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	link.cut()
	for want, content := range map[string][]byte{
		"its checksum does not match":      append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"bytes where its first line says":  good[:len(good)/2],
		"this reader knows 1":              bytes.Replace(good, []byte("weir-registry 1 "), []byte("weir-registry 9 "), 1),
		"it is no snapshot of a registry":  []byte("{}"),
		"it is no snapshot of a registry ": nil,
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var log safeBuffer
		cfg := cfg
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		hub := openHub(t, cfg)
		_, err := hub.Snapshot(brief(t), app)
		wantError(t, err, registry.Unavailable, "nothing is known yet of application")
		hub.Close()
		if text := log.String(); strings.Count(text, "snapshot file is ignored") != 1 || !strings.Contains(text, strings.TrimSpace(want)) {
			t.Errorf("the log says of it:\n%s\nwant once: %s", text, want)
		}
	}
	link.restore()
	hub = openHub(t, cfg)
	watch(t, hub, app).await("an instance", ready(1))
	snapshotFile(t, dir, func(content []byte) bool { return bytes.HasPrefix(content, []byte("weir-registry 1 ")) })

	// A directory that cannot be written is said, and hinders nothing.
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	cfg.SnapshotDir, cfg.Logger = filepath.Join(blocked, "dir"), slog.New(slog.NewTextHandler(&log, nil))
	hub = openHub(t, cfg)
	watch(t, hub, app).await("an instance", ready(1))
	testkube.Eventually(t, "a word of it", func() error {
		if !strings.Contains(log.String(), "snapshot file cannot be written") {
			return errors.New(log.String())
		}
		return nil
	})
}
