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

// markPorts marks the port that a Service names as primary, and those at which TLS is
// spoken. What the Service says of TLS is meant of the one port that Spring would
// call; of others, and where it says nothing, their name and number do.
func markPorts(ports []servicePort, labels, annotations map[string]string) {
	primary := cmp.Or(labels[LabelPrimaryPort], annotations[LabelPrimaryPort])
	for i := range ports {
		p := &ports[i]
		p.Primary = primary != "" && p.Name == primary
		p.Secured = strings.EqualFold(p.Name, "https") || securePort(p.ServicePort)
	}
	said := cmp.Or(labels[LabelSecured], annotations[LabelSecured])
	if said == "" {
		return
	}
	if at := springPort(ports); at >= 0 {
		ports[at].Secured = slices.Contains([]string{"true", "on", "yes", "1"}, strings.ToLower(said))
	}
}

// securePort reports the numbers that Spring takes for those of TLS.
func securePort(p registry.ServicePort) bool {
	n := cmp.Or(p.Target, p.Port)
	return n == 443 || n == 8443
}

// springPort is the port that Spring Cloud Kubernetes calls.
func springPort(ports []servicePort) int {
	for _, is := range []func(servicePort) bool{
		func(servicePort) bool { return len(ports) == 1 },
		func(p servicePort) bool { return p.Primary },
		func(p servicePort) bool { return p.Name == "https" },
		func(p servicePort) bool { return p.Name == "http" },
		func(servicePort) bool { return true },
	} {
		if at := slices.IndexFunc(ports, is); at >= 0 {
			return at
		}
	}
	return -1
}
