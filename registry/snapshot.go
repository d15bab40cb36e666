package registry

import "time"

// Snapshot is the whole state of one application at one moment. It is immutable
// and may be kept; its slices and maps are shared and must not be written to.
type Snapshot struct {
	App App `json:"app"`
	// Mode is how the application asks its consumers to call it.
	Mode Mode `json:"mode"`
	// ModeFrom says what asks for the mode, for people; empty where nothing does
	// and the default holds.
	ModeFrom string `json:"modeFrom,omitempty"`
	// Prefer is which instances a DiscoveryPolicy wants called first; nil where none
	// says. A discoverer that tells instances apart by it marks the others as Standby.
	Prefer *Preference `json:"prefer,omitempty"`
	// Choice is by which registry a DiscoveryPolicy wants the application called, for
	// consumers that use another one beside this; empty where none says.
	Choice Choice `json:"choice,omitempty"`
	// ChoiceFrom says what wants it, for people.
	ChoiceFrom string `json:"choiceFrom,omitempty"`
	// Service is the address of the application as a whole, for Service mode.
	Service Service `json:"service"`
	// Instances are all known instances, callable or not, sorted by ID.
	Instances []Instance `json:"instances"`
	// Generation grows with each snapshot of the application that this process
	// has built. It does not compare across processes.
	Generation uint64 `json:"generation"`
	// Observed is when the newest change behind the snapshot reached this
	// process.
	Observed time.Time `json:"observed"`
	// StaleSince is when the discoverer lost touch with its source; the zero
	// time while it is in touch. A stale snapshot is still the best there is,
	// and subscribers are not called for a change of StaleSince alone.
	StaleSince time.Time `json:"staleSince,omitzero"`
}

// Callable returns the instances to which new calls should go, in the order of
// Instances. The slice is the caller's.
func (s Snapshot) Callable() []Instance {
	out := make([]Instance, 0, len(s.Instances))
	for i := range s.Instances {
		if s.Instances[i].Callable() {
			out = append(out, s.Instances[i])
		}
	}
	return out
}

// Mode is how consumers reach an application.
type Mode string

// Modes of calling.
const (
	// ModePod balances on the client over the addresses of single instances.
	ModePod Mode = "pod"
	// ModeService calls the application's one Service address and leaves the
	// choice of the instance to the cluster.
	ModeService Mode = "service"
)

// Choice is by which of two registries an application is called, while it moves from
// one to the other.
type Choice string

// Choices of a registry. By that which is chosen, calls go while it has somebody to
// call; by the other, while it has not.
const (
	ChooseKubernetes Choice = "kubernetes"
	ChooseZooKeeper  Choice = "zookeeper"
	ChooseBoth       Choice = "both" // at random, call by call
)

// Known reports whether it is one of them.
func (c Choice) Known() bool {
	return c == ChooseKubernetes || c == ChooseZooKeeper || c == ChooseBoth
}

// Preference is which of an application's instances are called first, where there
// are enough of them.
type Preference struct {
	// Clusters are called in this order; others after them.
	Clusters []string `json:"clusters,omitempty"`
	// ClusterPercent is the share of its instances that a cluster has to have callable
	// to be called alone, 0 for any at all; nil leaves it to the caller.
	ClusterPercent *int `json:"clusterPercent,omitempty"`
	// ReturnAfter is how long a better cluster must have had enough before others are
	// called no more; 0 leaves it to the caller.
	ReturnAfter time.Duration `json:"returnAfter,omitempty"`
	// ZonePercent is how much of an even share over the zones the caller's own has to
	// have to be called alone, 0 to call all zones alike; nil leaves it to the caller.
	ZonePercent *int `json:"zonePercent,omitempty"`
	// From says what wants it, for people.
	From string `json:"from,omitempty"`
}

// Service is the address of an application as a whole.
type Service struct {
	// Host is its name inside the cluster, such as "inventory.shop.svc". It is
	// empty when the application has no Service.
	Host string `json:"host,omitempty"`
	// Headless is set where the Service has no address of its own: its name
	// resolves to instances, and Service mode cannot be had.
	Headless bool `json:"headless,omitempty"`
	// External is set where the name stands for a host that is not the cluster's (an
	// ExternalName). It has no instances, and is called by its name.
	External bool          `json:"external,omitempty"`
	Ports    []ServicePort `json:"ports,omitempty"`
	// Govern is set where the instances are to be governed from outside.
	Govern *Govern `json:"govern,omitempty"`
}

// ServicePort maps a port of a Service to the port of its instances.
type ServicePort struct {
	Name string `json:"name,omitempty"`
	Port uint16 `json:"port"`
	// Target is the instances' port; 0 when it is a named port that differs
	// between instances.
	Target uint16 `json:"target"`
	// Primary is set where the Service names the port as the one to call, as Spring
	// Cloud Kubernetes has it: by primary-port-name.
	Primary bool `json:"primary,omitempty"`
	// Secured is set where TLS is spoken at the port.
	Secured bool `json:"secured,omitempty"`
}

// Registration is what an instance publishes of itself.
type Registration struct {
	App      App
	Metadata map[string]string
	Details  Details
}
