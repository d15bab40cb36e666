package cli_test

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/internal/testzk"
)

// zookeeperNodes are what a test writes beside the command.
type zookeeperNodes struct {
	t    *testing.T
	conn *zk.Conn
}

func dialZooKeeper(t *testing.T, server *testzk.Server) zookeeperNodes {
	t.Helper()
	conn, events, err := zk.Connect([]string{server.Address()}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		for range events { // until it has ended
			continue
		}
	})
	return zookeeperNodes{t, conn}
}

func (z zookeeperNodes) put(node, content string) {
	z.t.Helper()
	for i, r := range node[1:] {
		if r == '/' {
			_, _ = z.conn.Create(node[:i+1], nil, 0, zk.WorldACL(zk.PermAll)) // it may be there
		}
	}
	if _, err := z.conn.Create(node, []byte(content), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		z.t.Fatalf("%s: %v", node, err)
	}
}

func (z zookeeperNodes) provide(app, host, port string) string {
	z.t.Helper()
	node := "/dubbo/org.example.Stock/providers/" + url.QueryEscape("dubbo://"+host+":"+port+"/org.example.Stock?application="+app+"&interface=org.example.Stock")
	z.put(node, "")
	return node
}

func TestRegistryDiffTellsWhoCanLeaveZooKeeper(t *testing.T) {
	kube, server := testkube.Start(t), testzk.StartOwn(t)
	z := dialZooKeeper(t, server)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	ns.Service(t, "orders", 20000)
	ns.Service(t, "plain", 8080)
	ips := map[string]netip.Addr{}
	pod := func(app, name string, p testkube.Pod) {
		p.IP = testkube.NextIP()
		ips[name] = p.IP
		ns.Pod(t, app, name, p)
		ns.AwaitEndpoint(t, app, name, !p.NotReady)
	}
	pod("inventory", "inventory-a", testkube.Pod{Annotations: metadata("20000")})
	pod("inventory", "inventory-b", testkube.Pod{Annotations: metadata("20000"), NotReady: true})
	pod("orders", "orders-a", testkube.Pod{Annotations: metadata("20000")})
	pod("plain", "plain-a", testkube.Pod{})
	for _, name := range []string{"inventory-a", "inventory-b"} {
		z.provide("inventory", ips[name].String(), "20000")
	}
	z.provide("orders", ips["orders-a"].String(), "20880")
	z.put("/dubbo/org.example.Stock/consumers/"+url.QueryEscape("consumer://10.0.0.9/org.example.Stock?application=legacy&interface=org.example.Stock"), "")
	at := []string{"--kubeconfig", kube.Kubeconfig, "--zookeeper", server.Address()}
	diff := func(more ...string) (int, string, string) {
		return do(t, nil, append(append([]string{"registry", "diff"}, at...), more...)...)
	}

	code, out, errs := diff("-n", ns.Name)
	for _, want := range []string{
		ns.Name + "/inventory", "2 addresses, 1 interface", "legacy (1)", "not-ready",
		"- only in ZooKeeper   dubbo://" + ips["inventory-b"].String() + ":20000 (inventory-b): in Kubernetes it is not called: not ready",
		"~ port differs   dubbo://" + ips["orders-a"].String() + ":20880 (orders-a): ZooKeeper 20880, Kubernetes 20000",
		"! which interfaces inventory-a offers is not known in Kubernetes",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != 4 || strings.Contains(out, "plain") || !strings.Contains(errs, "2 of 2 applications cannot leave ZooKeeper yet") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	// It waits for what is not ready, where it is told to.
	w := start(t, nil, append([]string{"registry", "diff", ns.Name + "/inventory", "--addresses", "--wait", "1h", "-o", "json"}, at...)...)
	ns.SetReady(t, "inventory-b", true)
	w.wait(t)
	var told []struct {
		App       struct{ Name string }
		Verdict   string
		Consumers []struct{ App string }
	}
	if err := json.Unmarshal([]byte(w.out.String()), &told); err != nil || w.code != 0 || len(told) != 1 || told[0].Verdict != "unproven" || told[0].Consumers[0].App != "legacy" {
		t.Errorf("%d, %v: %s%s", w.code, err, w.out, w.errs)
	}

	// Equal addresses alone are no proof, unless they are said to be.
	if code, out, errs := diff(ns.Name + "/inventory"); code != 4 || !strings.Contains(out, "whether they offer the same was not compared") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// What is in ZooKeeper alone may be another namespace's, and the name may be one
	// that Kubernetes could not have.
	z.provide("Demo_Provider", "10.9.9.8", "20000")
	if code, out, errs := diff("-n", ns.Name); code != 4 || strings.Contains(out, "Demo_Provider") || !strings.Contains(errs, "not in namespace "+ns.Name+": Demo_Provider") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	z.provide("ghost", "10.9.9.9", "20000")
	if code, out, errs := diff("ghost", "-n", ns.Name); code != 4 || !strings.Contains(out, "missing") || !strings.Contains(out, "Kubernetes has no Service "+ns.Name+"/ghost") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// A node that cannot be read may be a provider's.
	nonsense := "/dubbo/org.example.Stock/providers/nonsense"
	z.put(nonsense, "")
	if code, out, errs := diff(ns.Name+"/inventory", "--addresses"); code != 4 || !strings.Contains(out, "cannot be read") || !strings.Contains(errs, nonsense) {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// Nodes of other names are no empty ZooKeeper.
	if code, out, errs := diff("--zookeeper-interfaces", "/dubbo-prod", "--zookeeper-applications", "/apps"); code != 3 || out != "" || !strings.Contains(errs, "has neither /dubbo-prod nor /apps") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// A name that stands for several applications.
	other := kube.Namespace(t)
	other.Service(t, "inventory", 20000)
	if code, _, errs := diff("inventory"); code != 2 || !strings.Contains(errs, "choose one with -n") {
		t.Errorf("%d %s", code, errs)
	}
	// It keeps the others from no verdict.
	if code, out, errs := diff(); code != 4 || !strings.Contains(out, ns.Name+"/orders ") || strings.Contains(out, "/inventory ") || !strings.Contains(errs, "inventory is in several, so it was left out: choose one with -n") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	// What a bridge left.
	unbridge := func(more ...string) (int, string, string) {
		return do(t, nil, append([]string{"registry", "unbridge", "--zookeeper", server.Address()}, more...)...)
	}
	if code, out, errs := unbridge(); code != 0 || !strings.Contains(out, "no bridge has written into ZooKeeper at "+server.Address()) {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	z.put("/dubbo/org.example.Stock/providers/"+url.QueryEscape("dubbo://10.9.9.7:1/org.example.Stock?application=a&weir.bridge=west"), "")
	if code, out, errs := unbridge(); code != 0 || out != "west   1 providers, does not run\n" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	for _, want := range []string{"removed 1 providers of bridge west", "removed 0 providers of bridge west"} {
		if code, out, errs := unbridge("west"); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d\n%s%s", code, out, errs)
		}
	}

	server.Kill(t)
	if code, out, errs := diff("--timeout", "1s"); code != 3 || out != "" || !strings.Contains(errs, "cannot reach ZooKeeper at "+server.Address()) {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, _, errs := do(t, nil, "registry", "diff", "--kubeconfig", kube.Kubeconfig); code != 2 || !strings.Contains(errs, "give --zookeeper host:2181") {
		t.Errorf("%d %s", code, errs)
	}
}
