package registry

// Clustered is a Discoverer that may be of several clusters. An App without a Cluster
// is then the application of all of them, and one with a Cluster what that cluster
// alone knows of it.
type Clustered interface {
	// Clusters returns the names of the clusters, that of the process's own first; none
	// where there is a single one, which needs no name.
	Clusters() []string
}

// ClusterCount is how many instances of an application a cluster has.
type ClusterCount struct {
	Cluster   string `json:"cluster"`
	Instances int    `json:"instances"`
	Callable  int    `json:"callable"`
	// Standby counts those that would be called, were there not better ones.
	Standby int `json:"standby,omitempty"`
}
