package kubernetes

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/global"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// All of it on one real API server, with Weir's roles and admission policies.
func TestKubernetes(t *testing.T) {
	if raceDetector {
		t.Skip("dubbo-go v3.3.2 has data races of its own, which would be reported as this package's")
	}
	c := testkube.StartOwn(t)
	t.Run("calls", func(t *testing.T) { testCalls(t, c) })
	t.Run("rolling restart", func(t *testing.T) { testRollingRestart(t, c) })
	t.Run("broken annotation", func(t *testing.T) { testBrokenAnnotation(t, c) })
	t.Run("refused", func(t *testing.T) { testRefused(t, c) })
	t.Run("outage", func(t *testing.T) { testOutage(t, c) }) // last: it takes the cluster down
}

// A provider registers with no more than its role, in Java's format; a consumer
// finds it with no more than its own, and follows readiness and weight.
func testCalls(t *testing.T, c *testkube.Cluster) {
	w := newWorld(t, c)
	w.ns.Service(t, greeter, 20000)
	one, two := w.start("one"), w.start("two")
	one.ready()
	two.ready()
	consumer := w.consume()
	overDubbo, overTri := consumer.refer(stock, "dubbo"), consumer.refer(reports, "tri")
	w.answers(overDubbo, "one", "two")
	w.answers(overTri, "one", "two")

	// What is offered under a group and a version is called by that alone.
	three := w.start("three", func(cfg *processConfig) { cfg.Group, cfg.Version = "blue", "2.0.0" })
	four := w.start("four", func(cfg *processConfig) { cfg.Group, cfg.Version = "blue", "3.0.0" })
	three.ready()
	four.ready()
	w.answers(overTri, "one", "two", "three", "four")
	w.answers(consumer.refer(reports, "tri", client.WithGroup("blue"), client.WithVersion("2.0.0")), "three-blue-2.0.0")
	w.answers(consumer.refer(reports, "tri", client.WithGroup("blue"), client.WithVersion("3.0.0")), "four-blue-3.0.0")
	w.ns.SetReady(t, "three", false)
	w.ns.SetReady(t, "four", false)

	w.ns.SetReady(t, "two", false)
	w.answers(overDubbo, "one")
	w.answers(overTri, "one")
	w.ns.SetReady(t, "two", true)
	w.answers(overDubbo, "one", "two")

	pod, err := c.Client.CoreV1().Pods(w.ns.Name).Get(testkube.Context(t), "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(pod.Annotations[kube.AnnotationMetadata]), &m); err != nil {
		t.Fatal(err)
	}
	var params map[string]string
	if err := json.Unmarshal([]byte(m[constant.MetadataServiceURLParamsPropertyName]), &params); err != nil {
		t.Fatal(err)
	}
	endpoints, err := registry.DubboEndpoints(m)
	if err != nil || len(endpoints) != 2 || params["protocol"] != "tri" || m["dubbo.metadata.storage-type"] != "local" || m["meta-v"] != "2.0.0" {
		t.Errorf("the annotation is %s (%v)", pod.Annotations[kube.AnnotationMetadata], err)
	}
	if params["port"] != fmt.Sprint(endpoints[0].Port) && params["port"] != fmt.Sprint(endpoints[1].Port) {
		t.Errorf("the metadata service has a port of its own: %v", params)
	}
	// What dubbo-go alone would export on a port of its choice is on none.
	if got, want := one.listens(), []int{int(endpoints[0].Port), int(endpoints[1].Port)}; !slices.Equal(got, want) {
		t.Errorf("the process listens on %v, and the annotation says %v", got, want)
	}
}

// Pods are replaced one by one under load; no call fails, without a retry.
func testRollingRestart(t *testing.T, c *testkube.Cluster) {
	w := newWorld(t, c)
	w.ns.Service(t, greeter, 20000)
	old := []*process{w.start("a1"), w.start("a2")}
	for _, p := range old {
		p.ready()
	}
	consumer := w.consume()
	conns := map[string]*client.Connection{
		"dubbo": consumer.refer(stock, "dubbo", client.WithRetries(0), client.WithClusterFailFast()),
		"tri":   consumer.refer(reports, "tri", client.WithRetries(0), client.WithClusterFailFast()),
	}
	for _, conn := range conns {
		w.answers(conn, "a1", "a2")
	}
	load, stop := context.WithCancel(context.Background())
	defer stop()
	var calling sync.WaitGroup
	var mu sync.Mutex
	calls, failed := map[string]int{}, []error{}
	for name, conn := range conns {
		for range 4 {
			calling.Go(func() {
				for load.Err() == nil {
					var out string
					err := conn.CallUnary(context.Background(), []any{int64(20)}, &out, "Slow")
					mu.Lock()
					calls[name+" "+out]++
					if err != nil {
						failed = append(failed, fmt.Errorf("%s: %w", name, err))
					}
					mu.Unlock()
				}
			})
		}
	}
	for n, p := range old {
		id := fmt.Sprintf("b%d", n+1)
		w.start(id).ready()
		testkube.Eventually(t, id+" is called", func() error {
			mu.Lock()
			defer mu.Unlock()
			if calls["dubbo "+id] == 0 || calls["tri "+id] == 0 {
				return fmt.Errorf("calls are %v", calls)
			}
			return nil
		})
		p.stop()
	}
	stop()
	calling.Wait()
	if len(failed) > 0 {
		t.Errorf("%d calls failed of %v, the first: %v", len(failed), calls, failed[0])
	}
}

// What somebody writes into one pod's annotation costs that pod its calls; the
// log says so, the others are called, and the pod mends it.
func testBrokenAnnotation(t *testing.T, c *testkube.Cluster) {
	w := newWorld(t, c)
	w.ns.Service(t, greeter, 20000)
	w.start("one").ready()
	w.ns.Pod(t, greeter, "bad", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: `{"dubbo.endpoints":`}})
	w.ns.AwaitEndpoint(t, greeter, "bad", true)
	consumer := w.consume()
	conn := consumer.refer(stock, "dubbo")
	w.answers(conn, "one")
	consumer.says("an instance is ready but cannot be called")
	consumer.says("instance=bad")
	w.ns.Annotate(t, "one", map[string]string{kube.AnnotationMetadata: "nonsense"})
	w.answers(conn, "one")
}

// What the cluster refuses is what Serve returns, in words that say what to do.
func testRefused(t *testing.T, c *testkube.Cluster) {
	for name, tc := range map[string]struct {
		service bool
		role    bool
		app     string
		want    string
	}{
		"no Service":    {false, true, greeter, "has no Service, so nobody can find pod one; make a Service greeter in namespace"},
		"no permission": {true, false, greeter, "bind ClusterRole weir-provider to it"},
		"bad name":      {true, true, "Greeter_App", "set dubbo.WithName to the name of its Kubernetes Service"},
		"other's app":   {true, true, "other", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, ns: c.Namespace(t), ip: testkube.HostAddress(t)}
			var roles []string
			if tc.role {
				roles = append(roles, "weir-provider")
			}
			w.ns.ServiceAccount(t, greeter, roles...)
			if tc.service {
				w.ns.Service(t, greeter, 20000)
			}
			p := w.start("one", func(cfg *processConfig) { cfg.App = tc.app })
			p.ends()
			_, sentence, ok := strings.Cut(p.Output(), "serve: ")
			if p.Err() == nil || !ok || !strings.Contains(sentence, tc.want) {
				t.Errorf("it ended with %v and said %q, want %q in it:\n%s", p.Err(), sentence, tc.want, p.Output())
			}
		})
	}

	// A consumer goes on trying, and says what is missing.
	t.Run("consumer", func(t *testing.T) {
		w := newWorld(t, c)
		w.ns.ServiceAccount(t, "stranger")
		consumer := w.consume(WithKubeconfig(w.ns.Kubeconfig(w.t, w.ns.As(t, "stranger", nil))))
		conn := consumer.refer(stock, "dubbo")
		consumer.says("bind ClusterRole weir-consumer to it")
		w.ns.Service(t, greeter, 20000)
		w.start("one").ready()
		w.ns.Bind(t, "stranger", "ClusterRole", "weir-consumer")
		w.answers(conn, "one")
	})
}

// The API server goes: calls go on, a provider that starts now waits, and a consumer
// that starts now calls by what the one before it knew. It comes back: the provider
// registers and is called, by both.
func testOutage(t *testing.T, c *testkube.Cluster) {
	w := newWorld(t, c)
	w.ns.Service(t, greeter, 20000)
	w.start("one").ready()
	consumer := w.consume()
	conn := consumer.refer(stock, "dubbo")
	w.answers(conn, "one")
	late := w.prepare("two")
	dir, account := t.TempDir(), w.ns.Kubeconfig(w.t, w.ns.As(t, "caller", nil))
	before := w.caller("before", account, dir)
	before.says("answer: one greets you")
	testkube.Eventually(t, "the snapshot file", func() error {
		files, err := filepath.Glob(filepath.Join(dir, "registry-*.snapshot"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("files %v, %w", files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		_, packed, _ := bytes.Cut(content, []byte{'\n'})
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return err
		}
		// All that its first call took.
		if content, err = io.ReadAll(r); err == nil && (!bytes.Contains(content, []byte(`"documents"`)) || !bytes.Contains(content, []byte(`"interfaces"`))) {
			err = fmt.Errorf("it says %s", content)
		}
		return err
	})
	before.Kill() // as a container that is out of memory
	c.Kill(t)
	consumer.says("registry watch lost")
	w.answers(conn, "one")
	two := late()
	two.says("the registry does not take this instance yet; it is not ready until it does")
	after := w.caller("after", account, dir)
	after.says("answer: one greets you")
	c.Restart(t)
	two.ready()
	w.answers(conn, "one", "two")
	after.says("answer: two greets you")
	select {
	case <-after.Done():
		t.Fatalf("a call failed: %s", after.Output())
	default:
	}
}

// What cannot work at all is what NewInstance returns, and stands in the log.
func TestBadConfiguration(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("clusters: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for name, tc := range map[string]struct {
		opts []Option
		want string
	}{
		"no such file":      {[]Option{WithKubeconfig(missing)}, "kubeconfig " + missing + " does not exist"},
		"unreadable":        {[]Option{WithKubeconfig(broken)}, "kubeconfig " + broken + " cannot be read"},
		"no cluster":        {nil, "no Kubernetes cluster is named, and this process is not in one; give a kubeconfig or set KUBECONFIG"},
		"no such namespace": {[]Option{WithNamespace("Shop"), WithKubeconfig(missing)}, "use lower-case letters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dubbogo.NewInstance(dubbogo.WithName("caller"), WithKubernetes(append(tc.opts, WithID("bad"))...), dubbogo.WithLogger(dubbologger.WithLevel("error")))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewInstance returned %v, want %q in it", err, tc.want)
			}
		})
	}
	if len(inUse) != 0 || len(opened) != 0 {
		t.Errorf("%d registries and %d hubs are left", len(inUse), len(opened))
	}
}

// dubbo-go's own metadata service would have a port at random, whatever other registry
// there is, and whichever of them is given first.
func TestNoPortIsLeftRandom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	w := &world{t: t, ns: &testkube.Namespace{Name: "shop"}}
	if err := os.Rename(w.ns.Kubeconfig(w.t, &rest.Config{Host: "https://127.0.0.1:1", BearerToken: "x"}), file); err != nil {
		t.Fatal(err)
	}
	here := WithKubernetes(WithKubeconfig(file), WithID("ports"))
	t.Cleanup(func() { leave("ports") })
	other := dubbogo.WithRegistry(goregistry.WithID("zk"), goregistry.WithRegistry("zookeeper"), goregistry.WithAddress("127.0.0.1:2181"))
	for name, opts := range map[string][]dubbogo.InstanceOption{
		"alone": {here}, "first": {here, other}, "second": {other, here},
	} {
		ins := &dubbogo.InstanceOptions{Application: global.DefaultApplicationConfig(), Registries: global.DefaultRegistriesConfig()}
		for _, opt := range opts {
			opt(ins)
		}
		if ins.Application.MetadataType != constant.RemoteMetadataStorageType {
			t.Errorf("%s: metadata is %s", name, ins.Application.MetadataType)
		}
	}
	ins := &dubbogo.InstanceOptions{Application: global.DefaultApplicationConfig(), Registries: global.DefaultRegistriesConfig()}
	dubbogo.WithMetadataServicePort(20001)(ins)
	if here(ins); ins.Application.MetadataType == constant.RemoteMetadataStorageType {
		t.Error("a port that is named is not used")
	}
}

// One cluster and namespace has one hub in a process, which ends with its last
// registry.
func TestSharedHub(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	w := &world{t: t, ns: &testkube.Namespace{Name: "shop"}}
	if err := os.Rename(w.ns.Kubeconfig(w.t, &rest.Config{Host: "https://127.0.0.1:1", BearerToken: "x"}), file); err != nil {
		t.Fatal(err)
	}
	with := func(opts ...Option) config { return newConfig(append([]Option{WithKubeconfig(file)}, opts...)) }
	a, err := join(with(WithID("a")), "caller")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := join(with(WithID("a")), "caller"); err != nil || again != a {
		t.Errorf("the same registry again: %v", err)
	}
	if _, err := join(with(WithID("a"), WithNamespace("other")), "caller"); registry.CodeOf(err) != registry.Conflict {
		t.Errorf("another namespace under the same id: %v", err)
	}
	if _, err := join(with(WithID("b")), "caller"); err != nil {
		t.Fatal(err)
	}
	if _, err := join(with(WithID("c"), WithNamespace("other")), "caller"); err != nil {
		t.Fatal(err)
	}
	if len(opened) != 2 {
		t.Errorf("%d hubs for two namespaces", len(opened))
	}
	for _, id := range []string{"a", "b", "c", "c"} {
		leave(id)
	}
	if len(inUse) != 0 || len(opened) != 0 {
		t.Errorf("%d registries and %d hubs are left", len(inUse), len(opened))
	}
}
