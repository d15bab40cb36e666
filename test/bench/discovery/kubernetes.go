//go:build linux

package discovery

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/kubernetes"
	"github.com/weirmesh/weir/test/bench/zookeeper"
)

// prepare checks what is needed before the first slow step, then starts the
// registries.
func (r *run) prepare(ctx context.Context) error {
	o := r.options
	kube := o.wants(consumer.Weir) || o.wants(consumer.Hub)
	if o.wants(consumer.ZooKeeper) {
		if err := zookeeper.Check(o.ZooKeeperJar); err != nil {
			return err
		}
	}
	if kube && o.Kubeconfig == "" {
		if err := kubernetes.Check(o.DevCluster); err != nil {
			return err
		}
	}
	if kube {
		if err := r.prepareKubernetes(ctx); err != nil {
			return err
		}
	}
	if o.wants(consumer.ZooKeeper) {
		return r.prepareZooKeeper(ctx)
	}
	return nil
}

// cleanUp is how long a user's API server is given to forget the run.
const cleanUp = time.Minute

// prepareKubernetes fills an API server with the plan.
func (r *run) prepareKubernetes(ctx context.Context) error {
	kubeconfig, server := r.options.Kubeconfig, (*kubernetes.Server)(nil)
	if kubeconfig == "" {
		r.say("starting an API server …")
		var err error
		if server, err = kubernetes.Start(ctx, filepath.Join(r.dir, "kubernetes"), r.options.DevCluster); err != nil {
			return err
		}
		r.atEnd(server.Stop)
		kubeconfig = server.Kubeconfig()
	}
	cluster, err := kubernetes.Connect(kubeconfig)
	if err != nil {
		return err
	}
	if err := cluster.Prepare(ctx, r.options.Plan); err != nil {
		return err
	}
	if server == nil {
		r.atEnd(func() {
			ctx, cancel := context.WithTimeout(context.Background(), cleanUp)
			defer cancel()
			if err := cluster.Clear(ctx); err != nil {
				r.say("namespaces %s and %s could not be removed: %v", kubernetes.Namespace, kubernetes.Empty, err)
			}
		})
	}
	r.say("Kubernetes: making %d pods by status writes, and waiting for its EndpointSlices …", r.options.Plan.Instances)
	if err := cluster.Fill(ctx); err != nil {
		return err
	}
	keeping, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { cluster.KeepNodes(keeping) })
	r.atEnd(func() { stop(); wg.Wait() })

	// The consumer has the rights of any consumer, and no more.
	asConsumer := filepath.Join(r.dir, "consumer.kubeconfig")
	if err := cluster.WriteConsumer(ctx, asConsumer); err != nil {
		return err
	}
	for _, backend := range []consumer.Backend{consumer.Weir, consumer.Hub} {
		if r.options.wants(backend) {
			r.subjects = append(r.subjects, r.kubernetesSubject(backend, cluster, server, asConsumer))
		}
	}
	return nil
}

func (r *run) kubernetesSubject(backend consumer.Backend, cluster *kubernetes.Cluster, server *kubernetes.Server, kubeconfig string) subject {
	return subject{
		backend: backend,
		target: func(empty bool) consumer.OpenArgs {
			namespace := kubernetes.Namespace
			if empty {
				namespace = kubernetes.Empty
			}
			return consumer.OpenArgs{
				Backend: backend, Plan: r.options.Plan, Kubeconfig: kubeconfig, Namespace: namespace, WithoutDubbo: backend == consumer.Hub,
			}
		},
		change: cluster.Change,
		outage: func(ctx context.Context, down time.Duration) error {
			if err := server.Outage(ctx, down); err != nil {
				return err
			}
			if err := pause(ctx, down); err != nil {
				return err
			}
			return cluster.Await(ctx)
		},
		upgrade: func(ctx context.Context, from int) ([]kubernetes.Replaced, error) {
			return cluster.Upgrade(ctx, from, r.options.Rollout)
		},
		memory: func(ctx context.Context) (uint64, error) {
			if server == nil {
				return 0, nil
			}
			return server.Memory(ctx)
		},
	}
}
