package cluster_test

import (
	"strings"
	"testing"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/internal/testkube"
)

func TestAClusterHasAnID(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.ServiceAccount(t, "nobody")
	id, err := (&cluster.Target{REST: kube.REST()}).ID(testkube.Context(t))
	if err != nil || len(id) != 36 {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := (&cluster.Target{REST: ns.As(t, "nobody", nil)}).ID(testkube.Context(t)); err == nil || !strings.Contains(err.Error(), "bind ClusterRole weir-control") {
		t.Errorf("for one that may not ask: %v", err)
	}
}
