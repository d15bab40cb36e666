// Package kubernetes makes Kubernetes the registry of a dubbo-go application, in
// place of ZooKeeper or Nacos:
//
//	import dubbokubernetes "github.com/weirmesh/weir/registry/dubbo/kubernetes"
//
//	ins, err := dubbo.NewInstance(
//		dubbo.WithName("inventory"), // the name of its Kubernetes Service
//		dubbokubernetes.WithKubernetes(),
//	)
//
// It joins registry/dubbo, which speaks to dubbo-go, and registry/kube, which
// speaks to the cluster. A program that links it in links client-go in.
//
// What the pod needs is in docs/registry.md: its identity from the downward API,
// and a ServiceAccount with the role weir-provider, weir-consumer or both. On a
// laptop without Kubernetes leave the option out and give addresses
// (client.WithURL).
//
// # Errors
//
// A configuration that cannot work (a kubeconfig that is not there, a process
// outside any cluster) is what dubbo.NewInstance returns, and stands in the log.
// What the cluster refuses to a provider (no Service, no permission) is what
// Serve returns. A cluster that does not answer is waited for: a provider is not
// ready until it is registered, a consumer logs why it has nobody to call.
package kubernetes
