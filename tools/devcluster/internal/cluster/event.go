package cluster

// Part names one of the things a cluster consists of, as its users see them.
type Part string

const (
	PartControlPlane Part = "control-plane"
	PartNode         Part = "node"
	PartDNS          Part = "dns"
	PartImage        Part = "image"
	PartCluster      Part = "cluster"
)

// State is where a part stands.
type State string

const (
	Starting State = "starting"
	Ready    State = "ready"
	Failed   State = "failed"
	Stopped  State = "stopped"
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
