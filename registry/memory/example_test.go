package memory_test

import (
	"context"
	"fmt"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

func Example() {
	world := memory.New()
	inventory := registry.App{Namespace: "shop", Name: "inventory"}
	world.PutService(inventory, registry.Service{Ports: []registry.ServicePort{{Port: 20000, Target: 20000}}})

	provider := world.Join(memory.Config{ID: "inventory-1"})
	defer provider.Close()
	err := provider.Register(context.Background(), registry.Registration{
		App:      inventory,
		Metadata: map[string]string{registry.KeyEndpoints: `[{"port":20000,"protocol":"tri"}]`},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	consumer := world.Join(memory.Config{})
	defer consumer.Close()
	got := make(chan registry.Snapshot)
	stop, err := consumer.Subscribe(inventory, func(s registry.Snapshot) { got <- s })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, instance := range (<-got).Callable() {
		fmt.Println(instance.Name, instance.Host, instance.Endpoints[0].Protocol, instance.Endpoints[0].Port)
	}
	stop()
	// Output: inventory-1 127.0.0.1 tri 20000
}
