package up

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/run"
)

// systemNamespace holds what stands for Weir in a cluster.
const systemNamespace = "weir-system"

// reach lets the pods of our own cluster reach the roles in this process: it
// serves them on the host's end of the link into the node too, and writes
// Services without selectors whose endpoints hold that address, so that pods use
// the names that they use in production.
type reach struct {
	up         *Up
	kubernetes *kubernetes
	check      *run.Check
	roles      []reached
	servers    []*run.Server
}

// reached is one role, by the name and port of its Service.
type reached struct {
	name string
	port int
	role *hosted
}

func (r *reach) part() run.Part {
	r.check = r.up.health.Check(partReach, "starting")
	needs := []string{partKubernetes}
	for _, one := range r.roles {
		needs = append(needs, one.role.name)
	}
	return run.Part{Name: partReach, Needs: needs, Start: r.start, Watch: r.watch, Stop: r.stop}
}

func (r *reach) start(ctx context.Context) error {
	host := r.kubernetes.summary.HostIP
	if !host.IsValid() {
		return errors.New("devcluster does not say how its pods reach this machine: build it anew with `make build-devcluster`")
	}
	objects := []*unstructured.Unstructured{object("v1", "Namespace", "", systemNamespace, nil)}
	for _, one := range r.roles {
		port, err := r.serve(ctx, one, host)
		if err != nil {
			return err
		}
		objects = append(objects, service(one.name, one.port), endpoints(one.name, host, port))
	}
	if err := r.kubernetes.client.Apply(ctx, objects); err != nil {
		return err
	}
	r.check.OK()
	r.up.ready(partReach, "")
	return nil
}

// serve serves a role to pods, on its usual port if nobody has taken it on all
// addresses of this machine.
func (r *reach) serve(ctx context.Context, one reached, host netip.Addr) (port int, err error) {
	for _, want := range []int{one.port, 0} {
		server := run.NewServer(run.ServerConfig{
			Address: net.JoinHostPort(host.String(), strconv.Itoa(want)),
			Handler: one.role.get().Service.Handler(), H2C: one.role.h2c, Log: r.up.log.With("part", one.name),
		})
		if err = server.Start(ctx); err != nil {
			continue
		}
		r.servers = append(r.servers, server)
		address, ok := server.Addr().(*net.TCPAddr)
		if !ok {
			return 0, fmt.Errorf("%s is no TCP address", server.Addr())
		}
		return address.Port, nil
	}
	return 0, fmt.Errorf("pods cannot be let to the %s: %w", one.name, err)
}

func (r *reach) watch(ctx context.Context) error {
	return role.WatchAll(ctx, nil, r.servers)
}

func (r *reach) stop(ctx context.Context) error {
	r.check.Fail("stopping")
	return role.StopAll(ctx, r.servers)
}

// object is a Kubernetes object of Weir's.
func object(version, kind, namespace, name string, more map[string]any) *unstructured.Unstructured {
	metadata := map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/part-of": "weir"}}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	o := map[string]any{"apiVersion": version, "kind": kind, "metadata": metadata}
	maps.Copy(o, more)
	return &unstructured.Unstructured{Object: o}
}

// service is one without a selector: nobody but us says where it leads.
func service(name string, port int) *unstructured.Unstructured {
	return object("v1", "Service", systemNamespace, name, map[string]any{"spec": map[string]any{
		"ports": []any{map[string]any{"name": "http", "protocol": "TCP", "port": int64(port), "targetPort": int64(port)}},
	}})
}

// endpoints hold where a Service leads. A run that ends leaves them: the next
// one overwrites them.
func endpoints(name string, host netip.Addr, port int) *unstructured.Unstructured {
	o := object("discovery.k8s.io/v1", "EndpointSlice", systemNamespace, name, map[string]any{
		"addressType": "IPv4",
		"endpoints": []any{map[string]any{
			"addresses": []any{host.String()}, "conditions": map[string]any{"ready": true, "serving": true, "terminating": false},
		}},
		"ports": []any{map[string]any{"name": "http", "protocol": "TCP", "port": int64(port)}},
	})
	o.SetLabels(map[string]string{
		"app.kubernetes.io/part-of": "weir", "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "weir.weirmesh.io",
	})
	return o
}
