package api_test

import (
	"testing"

	"github.com/weirmesh/weir/governance/api"
)

func TestAControlPlaneKnowsItsStreams(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{MaxStreams: 7, MaxReports: 5})
	k.instance(inventory, "a").open().next()
	f := k.api.Facts()
	if len(f.Queues) != 2 || len(f.Notes) != 0 {
		t.Fatalf("it says of itself %+v", f)
	}
	if q := f.Queues[0]; q.Name != "streams" || q.Depth != 1 || q.Limit != 7 {
		t.Errorf("streams: %+v", q)
	}
	if q := f.Queues[1]; q.Name != "reports" || q.Depth != 0 || q.Limit != 5 {
		t.Errorf("reports: %+v", q)
	}
}
