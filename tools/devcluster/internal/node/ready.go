package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/apiclient"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// Names of the hidden commands that the program re-executes itself with, and
// of the files they read in the cluster's run directory.
const (
	ChildInit         = "child-node"
	ChildControlPlane = "child-control-plane"
	ChildKubelet      = "child-kubelet"
	ChildProxy        = "child-kube-proxy"
	ChildDNS          = "child-coredns"

	SpecFile         = "node.json"
	ControlPlaneFile = "control-plane.json"
)

// WaitControlPlane waits until the API server is ready and has made what
// every namespace needs for its first pod.
func WaitControlPlane(ctx context.Context, c *apiclient.Client) error {
	for _, path := range []string{
		"/readyz",
		"/api/v1/namespaces/default/serviceaccounts/default",
		"/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
	} {
		if err := c.WaitOK(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

const nodePath = "/api/v1/nodes/" + cluster.NodeName

// forget corrects what an earlier start left: until the kubelet speaks, nobody
// knows whether the node is ready, and its pods, whose processes are gone, are
// not. Without it clients would be sent to them for some seconds.
func forget(ctx context.Context, c *apiclient.Client) error {
	if err := forgetNode(ctx, c); err != nil {
		return err
	}
	var pods struct {
		Items []struct {
			Metadata struct{ Namespace, Name string }
			Status   struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := c.Get(ctx, "/api/v1/pods?fieldSelector=spec.nodeName%3D"+cluster.NodeName, &pods); err != nil {
		return err
	}
	type object = map[string]any
	now := time.Now().UTC().Format(time.RFC3339)
	for _, p := range pods.Items {
		var down []object
		for _, cond := range p.Status.Conditions {
			if (cond.Type == "Ready" || cond.Type == "ContainersReady") && cond.Status == "True" {
				down = append(down, object{"type": cond.Type, "status": "False", "reason": "NodeRestarted", "lastTransitionTime": now})
			}
		}
		if down == nil {
			continue
		}
		path := "/api/v1/namespaces/" + p.Metadata.Namespace + "/pods/" + p.Metadata.Name + "/status"
		if err := c.Patch(ctx, path, object{"status": object{"conditions": down}}); err != nil && !isNotFound(err) {
			return err
		}
	}
	return nil
}

func isNotFound(err error) bool {
	var status *apiclient.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

func forgetNode(ctx context.Context, c *apiclient.Client) error {
	type object = map[string]any
	now := time.Now().UTC().Format(time.RFC3339)
	err := c.Patch(ctx, nodePath+"/status", object{"status": object{"conditions": []object{{
		"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "the kubelet is starting",
		"lastHeartbeatTime": now, "lastTransitionTime": now,
	}}}})
	if isNotFound(err) {
		return nil
	}
	return err
}

func nodeReady(ctx context.Context, c *apiclient.Client) error {
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := c.Get(ctx, nodePath, &n); err != nil {
		return err
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type != "Ready" {
			continue
		}
		if cond.Status == "True" {
			return nil
		}
		return errors.New(cond.Message)
	}
	return errors.New("the kubelet has not spoken yet")
}

func waitHTTP(ctx context.Context, url string) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// applyDNS makes the objects that lead pods to the DNS server: it is a process
// of the node, not a pod, so its Service has no selector.
func applyDNS(ctx context.Context, c *apiclient.Client, n cluster.Network) error {
	type object = map[string]any
	meta := func(name string, more object) object {
		m := object{"name": name}
		maps.Copy(m, more)
		return m
	}
	port := func(name, protocol string, more object) object {
		p := object{"name": name, "protocol": protocol, "port": 53}
		maps.Copy(p, more)
		return p
	}
	inSystem := object{"namespace": "kube-system", "labels": object{"k8s-app": "kube-dns"}}
	for _, o := range []struct {
		path string
		body object
	}{
		{"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns", object{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta("system:coredns", nil),
			"rules": []object{
				{"apiGroups": []string{""}, "resources": []string{"services", "pods", "namespaces"}, "verbs": []string{"list", "watch"}},
				{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": []string{"list", "watch"}},
			},
		}},
		{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns", object{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta("system:coredns", nil),
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
			"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}},
		}},
		{"/api/v1/namespaces/kube-system/services/kube-dns", object{
			"apiVersion": "v1", "kind": "Service", "metadata": meta("kube-dns", inSystem),
			"spec": object{
				"clusterIP": n.DNSIP.String(),
				"ports":     []object{port("dns", "UDP", object{"targetPort": 53}), port("dns-tcp", "TCP", object{"targetPort": 53})},
			},
		}},
		{"/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-node", object{
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
			"metadata": meta("kube-dns-node", object{"namespace": "kube-system", "labels": object{
				"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "devcluster",
			}}),
			"endpoints": []object{{"addresses": []string{n.NodeIP.String()}, "conditions": object{"ready": true}}},
			"ports":     []object{port("dns", "UDP", nil), port("dns-tcp", "TCP", nil)},
		}},
	} {
		if err := c.Apply(ctx, o.path, o.body); err != nil {
			return fmt.Errorf("make the DNS objects: %w", err)
		}
	}
	return nil
}
