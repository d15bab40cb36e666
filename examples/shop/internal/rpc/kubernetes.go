package rpc

import (
	"dubbo.apache.org/dubbo-go/v3"

	dubbokubernetes "github.com/weirmesh/weir/registry/dubbo/kubernetes"
)

// withKubernetes is all of Weir in the shop: with this option an instance finds
// others, and is found, through Kubernetes itself.
func withKubernetes(c Config) dubbo.InstanceOption {
	return dubbokubernetes.WithKubernetes(
		dubbokubernetes.WithLogger(c.Log.With("part", "registry")),
		dubbokubernetes.WithMetricsRegisterer(c.Metrics),
	)
}
