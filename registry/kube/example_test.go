package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// In a pod nothing needs to be said: credentials, namespace and identity are
// what Kubernetes mounted. Elsewhere a kubeconfig names the cluster.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	hub, err := kube.Open(ctx, kube.Config{Logger: slog.Default()})
	if err != nil {
		fmt.Println(err) // says what to set
		return
	}
	defer hub.Close()

	inventory := registry.App{Namespace: "shop", Name: "inventory"}
	stop, err := hub.Subscribe(inventory, func(s registry.Snapshot) {
		for _, instance := range s.Callable() {
			fmt.Println(instance.Name, instance.Host, instance.Endpoints)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	if _, err := hub.Snapshot(ctx, inventory); err != nil {
		fmt.Println(err) // names the role to bind, or what cannot be reached
	}
}
