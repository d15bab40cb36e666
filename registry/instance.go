package registry

import (
	"net/netip"
	"time"
)

// Instance is one running copy of an application, as a discoverer sees it.
// Instances inside a Snapshot are shared between receivers: read, do not write.
type Instance struct {
	// ID is the pod UID; outside Kubernetes a generated id.
	ID string `json:"id"`
	// Name is the pod name, for people.
	Name string `json:"name"`
	// Host is the address at which the instance itself is reached.
	Host netip.Addr `json:"host"`
	// Endpoints are the protocols and ports the instance says it serves, sorted
	// by port. Empty until the instance has registered.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Metadata is what the instance registered, key by key as written. For Dubbo
	// this is the content of the pod annotation io.dubbo/metadata.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Revision names the MetadataStore document that tells what the instance
	// offers; empty when the instance does not say.
	Revision string  `json:"revision,omitempty"`
	Details  Details `json:"details"`
	Health   Health  `json:"health"`
	// Kept is set where the instance is called though it is not ready, since its
	// loss is doubted; nil where nothing is doubted.
	Kept *Kept `json:"kept,omitempty"`
	// Node, Zone and Cluster say where the instance runs, where that is known. Only a
	// discoverer of several clusters names the cluster.
	Node    string `json:"node,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	// Problem says, in a user's words, why the instance cannot be called even
	// though it may be healthy, such as unreadable metadata. Empty when there is
	// none. Having registered nothing is none: see Registered.
	Problem string `json:"problem,omitempty"`
	// Warning says what is wrong without standing in the way of calls, such as
	// unreadable details that defaults stand in for. Empty when there is none.
	Warning string `json:"warning,omitempty"`
	// Standby says, in a user's words, which instances are called in place of this
	// one, which is as good but farther away. Empty when it is called itself.
	Standby string `json:"standby,omitempty"`
}

// Registered reports whether the instance has published metadata. One that has
// not may still be a good HTTP server behind the application's Service, but
// says nothing of Dubbo.
func (i *Instance) Registered() bool { return len(i.Metadata) > 0 }

// Endpoint is one protocol at one port of an instance.
type Endpoint struct {
	// Protocol is Dubbo's name of it: "tri", "dubbo", "rest", "http".
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
}

// Details are what an instance says of itself beyond its metadata, in the pod
// annotation weirmesh.io/instance.
type Details struct {
	// Weight is the share of calls wanted, 100 when nothing else was said.
	Weight int `json:"weight,omitempty"`
	// Tag is the release or traffic tag (dubbo.tag).
	Tag string `json:"tag,omitempty"`
	// State is what the instance itself asks for.
	State State `json:"state,omitempty"`
	// Started is when the instance's process started; the zero time if unknown.
	Started time.Time `json:"started,omitzero"`
}

// PortsOf returns where the instance serves what the document of its revision offers
// over a protocol, at the port that the document names, 0 for none: every port that
// the instance names for the protocol, narrowed to the document's where that is one of
// them. An instance that names no endpoints leaves it to the document.
func (i *Instance) PortsOf(protocol string, documented uint16) []uint16 {
	if len(i.Endpoints) == 0 && documented != 0 {
		return []uint16{documented}
	}
	var out []uint16
	for _, e := range i.Endpoints {
		if e.Protocol != protocol {
			continue
		}
		if e.Port == documented {
			return []uint16{e.Port}
		}
		out = append(out, e.Port)
	}
	return out
}

// DefaultWeight is the weight of an instance that names none.
const DefaultWeight = 100

// State is an instance's own wish to be called or not.
type State string

// States of an instance. The empty State means Up.
const (
	Up       State = "up"
	Draining State = "draining" // finish what runs, send nothing new
)

// Health is what the platform knows of an instance.
type Health string

// Healths of an instance.
const (
	Ready       Health = "ready"
	NotReady    Health = "not-ready"
	Terminating Health = "terminating"
)

// Callable reports whether new calls should go to the instance.
func (i *Instance) Callable() bool { return i.fit() && i.Standby == "" }

// StandsBy reports whether new calls should go to the instance once none of those
// that are Callable takes any.
func (i *Instance) StandsBy() bool { return i.fit() && i.Standby != "" }

func (i *Instance) fit() bool {
	return i.healthy() && i.Details.State != Draining && i.Problem == ""
}

// healthy reports whether the instance is ready, or counts as ready.
func (i *Instance) healthy() bool { return i.Health == Ready || i.Health == NotReady && i.Kept != nil }

// Why says, in a few words, why the instance is not callable; it is empty when
// it is. Problems come first, since they are what somebody can mend.
func (i *Instance) Why() string {
	switch {
	case i.Problem != "":
		return i.Problem
	case i.Health == Terminating:
		return "terminating"
	case i.Details.State == Draining:
		return "draining"
	case !i.healthy():
		return "not ready"
	}
	return i.Standby
}
