package cluster

// Part names one of the things a cluster consists of, as its users see them.
type Part string

const (
	// PartControlPlane is etcd, the API server, controllers and scheduler.
	PartControlPlane Part = "control-plane"
	// PartNode is containerd, kubelet and kube-proxy.
	PartNode Part = "node"
	// PartDNS is the cluster's name service.
	PartDNS Part = "dns"
	// PartImage is an image to be loaded at the start: one event each, whose
	// detail is its name, or why it failed.
	PartImage Part = "image"
	// PartCluster is all of them together.
	PartCluster Part = "cluster"
)

// State is where a part stands.
type State string

const (
	// Starting parts are on their way to Ready.
	Starting State = "starting"
	// Ready parts do what they are for.
	Ready State = "ready"
	// Failed parts are started again by themselves.
	Failed State = "failed"
	// Stopped parts were told to end.
	Stopped State = "stopped"
)

// Event tells that a part changed. `up --output json` prints one a line. The
// fields after Seconds are set only in the event (cluster, ready).
type Event struct {
	Part   Part   `json:"part"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Seconds since `up` began.
	Seconds float64 `json:"seconds"`

	*Summary
}

// Summary is what a user of a ready cluster needs to know.
type Summary struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Mode       Mode   `json:"mode"`
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
	Network
}
