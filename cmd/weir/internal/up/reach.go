package up

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
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
	more []reachedMore
}

// reachedMore is another port of a role's Service, with a handler of its own.
type reachedMore struct {
	name    string
	port    int
	h2c     bool
	handler func(role.Service) http.Handler
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
		svc := one.role.get().Service
		port, err := r.serve(ctx, one.name, host, one.port, one.role.h2c, svc.Handler())
		if err != nil {
			return err
		}
		ports := []servicePort{{httpPort, one.port, port}}
		for _, more := range one.more {
			port, err := r.serve(ctx, one.name, host, more.port, more.h2c, more.handler(svc))
			if err != nil {
				return err
			}
			ports = append(ports, servicePort{more.name, more.port, port})
		}
		objects = append(objects, service(one.name, ports), endpoints(one.name, host, ports))
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
func (r *reach) serve(ctx context.Context, name string, host netip.Addr, usual int, h2c bool, handler http.Handler) (port int, err error) {
	for _, want := range []int{usual, 0} {
		server := run.NewServer(run.ServerConfig{
			Address: net.JoinHostPort(host.String(), strconv.Itoa(want)), Handler: handler, H2C: h2c, Log: r.up.log.With("part", name),
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
	return 0, fmt.Errorf("pods cannot be let to the %s: %w", name, err)
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

// httpPort is the name of a role's own port.
const httpPort = "http"

// servicePort is a port of a Service, and where that leads.
type servicePort struct {
	name         string
	port, target int
}

// service is one without a selector: nobody but us says where it leads.
func service(name string, ports []servicePort) *unstructured.Unstructured {
	var all []any
	for _, p := range ports {
		all = append(all, map[string]any{"name": p.name, "protocol": "TCP", "port": int64(p.port), "targetPort": int64(p.port)})
	}
	return object("v1", "Service", systemNamespace, name, map[string]any{"spec": map[string]any{"ports": all}})
}

// endpoints hold where a Service leads. A run that ends leaves them: the next
// one overwrites them.
func endpoints(name string, host netip.Addr, ports []servicePort) *unstructured.Unstructured {
	var all []any
	for _, p := range ports {
		all = append(all, map[string]any{"name": p.name, "protocol": "TCP", "port": int64(p.target)})
	}
	o := object("discovery.k8s.io/v1", "EndpointSlice", systemNamespace, name, map[string]any{
		"addressType": "IPv4",
		"endpoints": []any{map[string]any{
			"addresses": []any{host.String()}, "conditions": map[string]any{"ready": true, "serving": true, "terminating": false},
		}},
		"ports": all,
	})
	o.SetLabels(map[string]string{
		"app.kubernetes.io/part-of": "weir", "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "weir.weirmesh.io",
	})
	return o
}
