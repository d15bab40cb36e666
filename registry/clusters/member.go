package clusters

import (
	"net/url"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

// Measure returns what takes the metrics of the hub of one of several clusters: they
// name their cluster. Nil for nil.
func Measure(r prometheus.Registerer, cluster string) prometheus.Registerer {
	if r == nil {
		return nil
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"cluster": cluster}, r)
}

// SnapshotDir is where what is known of a cluster besides the first is kept, below
// where that of the first is; empty for nowhere, as dir is.
func SnapshotDir(dir, cluster string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "cluster-"+url.PathEscape(cluster))
}
