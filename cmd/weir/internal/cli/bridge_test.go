package cli_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// providers are the addresses at which consumers of Dubbo 2 find Stock.
func (z zookeeperNodes) providers() []string {
	z.t.Helper()
	names, _, err := z.conn.Children("/dubbo/org.example.Stock/providers")
	if err != nil {
		return []string{err.Error()}
	}
	out := []string{}
	for _, name := range names {
		text, err := url.QueryUnescape(name)
		if err != nil {
			z.t.Fatal(err)
		}
		at, query, _ := strings.Cut(text, "?")
		params, err := url.ParseQuery(query)
		if err != nil || params.Get("application") != "inventory" || params.Get("side") != "provider" {
			z.t.Errorf("%s: %v", text, err)
		}
		out = append(out, at+" "+params.Get("weight"))
	}
	slices.Sort(out)
	return out
}

// end ends weir by a signal, and waits for it.
func (c *child) end(t *testing.T, how syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(how); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.done:
	case <-time.After(testkube.Deadline):
		t.Fatal("weir does not end")
	}
}

// A control plane of its own process writes into ZooKeeper, follows what changes and
// removes what goes; what it wrote outlives it, even killed, and the next one goes on
// with it.
func TestControlBridgesIntoZooKeeper(t *testing.T) {
	cluster, server := testkube.Start(t), testzk.StartOwn(t)
	z := dialZooKeeper(t, server)
	ns := cluster.Namespace(t)
	ns.Service(t, "inventory", 20000)
	hub, err := kube.Open(t.Context(), kube.Config{REST: cluster.REST(), Namespaces: []string{ns.Name}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	app := registry.App{Namespace: ns.Name, Name: "inventory"}
	document := `{"services":{"org.example.Stock:dubbo":{"name":"org.example.Stock","protocol":"dubbo","params":{"application":"inventory","methods":"get"}}}}`
	if err := hub.PutMetadata(t.Context(), app, "r1", []byte(document)); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	pod := func(name string, more ...string) {
		t.Helper()
		p := testkube.Pod{Annotations: metadata("20000"), IP: testkube.NextIP()}
		for n := 0; n < len(more); n += 2 {
			p.Annotations[more[n]] = more[n+1]
		}
		ns.Pod(t, "inventory", name, p)
		at[name] = "dubbo://" + p.IP.String() + ":20000/org.example.Stock"
	}
	finds := func(want ...string) {
		t.Helper()
		for n, w := range want {
			name, weight, _ := strings.Cut(w, " ")
			want[n] = at[name] + " " + weight
		}
		slices.Sort(want)
		testkube.Eventually(t, fmt.Sprintf("consumers of Dubbo 2 find %v", want), func() error {
			if have := z.providers(); !slices.Equal(have, want) {
				return fmt.Errorf("they find %v", have)
			}
			return nil
		})
	}
	db := database(t)
	args := []string{
		"control", "--database-url", db.URL(), "--control-listen", "127.0.0.1:0", "--admin-listen", "", "--node-name", "plane",
		"--kubeconfig", cluster.Kubeconfig, "--namespaces", ns.Name,
		"--zookeeper-bridge", server.Address(), "--zookeeper-bridge-apps", ns.Name + "/*", "--zookeeper-bridge-name", "east",
	}
	pod("a")
	first := process(t, nil, args...)
	finds("a 100")
	pod("b")
	finds("a 100", "b 100")
	ns.Annotate(t, "a", map[string]string{"weirmesh.io/instance": `{"v":1,"weight":10}`})
	finds("a 10", "b 100")
	ns.Remove(t, "b")
	finds("a 10")
	if code, out, errs := do(t, nil, "registry", "unbridge", "--zookeeper", server.Address()); code != 0 || out != "east   1 providers, runs in plane\n" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	// It is killed, and Kubernetes goes on without it.
	first.end(t, syscall.SIGKILL)
	pod("c")
	ns.AwaitEndpoint(t, "inventory", "c", true)
	finds("a 10")
	second := process(t, nil, args...)
	finds("a 10", "c 100")
	ns.Remove(t, "a")
	finds("c 100")
	second.end(t, syscall.SIGTERM)
	finds("c 100")
	if code, out, errs := do(t, nil, "registry", "unbridge", "--zookeeper", server.Address(), "east"); code != 0 || out != "removed 1 providers of bridge east from ZooKeeper\n" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	finds()
}
