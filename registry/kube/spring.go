package kube

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weirmesh/weir/registry"
)

// What Spring Cloud Kubernetes reads of a Service, as a label or else an annotation.
const (
	// LabelPrimaryPort, on a Service, names the port that is called where nothing else
	// says which.
	LabelPrimaryPort = "primary-port-name"
	// LabelSecured, on a Service, says whether TLS is spoken at that port: "true",
	// "on", "yes" or "1".
	LabelSecured = "secured"
)

// springSays is what a Service says of its ports, as Spring Cloud Kubernetes has it.
type springSays struct{ primary, secured string }

func saysOf(labels, annotations map[string]string) springSays {
	return springSays{
		primary: cmp.Or(labels[LabelPrimaryPort], annotations[LabelPrimaryPort]),
		secured: cmp.Or(labels[LabelSecured], annotations[LabelSecured]),
	}
}

// mark marks the port that a Service names as primary, and those at which TLS is
// spoken. What the Service says of TLS is meant of the one port that Spring would
// call; of others, and where it says nothing, their name and the number of the
// instances' port do: in front of that, TLS may have ended.
func (says springSays) mark(ports []registry.ServicePort) {
	for i := range ports {
		p := &ports[i]
		p.Primary = says.primary != "" && p.Name == says.primary
		p.Secured = strings.EqualFold(p.Name, "https") || p.Target == 443 || p.Target == 8443
	}
	if says.secured == "" {
		return
	}
	if at := springPort(ports); at >= 0 {
		ports[at].Secured = slices.Contains([]string{"true", "on", "yes", "1"}, strings.ToLower(says.secured))
	}
}

// springPort is the port that Spring Cloud Kubernetes calls.
func springPort(ports []registry.ServicePort) int {
	for _, is := range []func(registry.ServicePort) bool{
		func(registry.ServicePort) bool { return len(ports) == 1 },
		func(p registry.ServicePort) bool { return p.Primary },
		func(p registry.ServicePort) bool { return p.Name == "https" },
		func(p registry.ServicePort) bool { return p.Name == "http" },
		func(registry.ServicePort) bool { return true },
	} {
		if at := slices.IndexFunc(ports, is); at >= 0 {
			return at
		}
	}
	return -1
}
