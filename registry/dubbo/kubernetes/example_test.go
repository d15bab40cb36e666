package kubernetes_test

import (
	"fmt"

	"dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/protocol"

	dubbokubernetes "github.com/weirmesh/weir/registry/dubbo/kubernetes"
)

// A provider's main function. Services are registered with the server as ever.
func ExampleWithKubernetes() {
	ins, err := dubbo.NewInstance(
		dubbo.WithName("inventory"), // the name of its Kubernetes Service
		// Given here, and not to NewServer, or dubbo-go opens Triple's default port
		// besides.
		dubbo.WithProtocol(protocol.WithDubbo(), protocol.WithPort(20000)),
		dubbokubernetes.WithKubernetes(),
	)
	if err != nil {
		fmt.Println(err) // says what to mend: no cluster, no such kubeconfig
		return
	}
	srv, err := ins.NewServer()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := srv.Serve(); err != nil {
		fmt.Println(err) // says what to mend: no Service, no permission
		return
	}
}
