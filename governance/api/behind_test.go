package api_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
)

func TestWhoIsBehind(t *testing.T) {
	t.Parallel()
	one := func(id string, version int64, hash string) governance.Instance {
		return governance.Instance{App: inventory, ID: id, Applied: &governance.Applied{Version: version, Hash: hash}}
	}
	early := api.New(api.Config{Store: memory.New(memory.Options{})})
	if _, known := early.Behind(nil); known {
		t.Error("it is known before the policies are read")
	}
	if n := api.BehindOf(early, inventory, one("1", 1, "sha256:any")); n != 0 {
		t.Errorf("before the policies are read, health counts %d as behind", n)
	}
	k := start(t, api.Config{})
	k.want(200, k.do(http.MethodPut, onePath, "operator", []byte(`{"target":{"app":"shop/inventory"},"timeout":"1s"}`)))
	set := k.instance(inventory, "1").open().next()
	all := []governance.Instance{
		one("current", set.Version, set.Hash), one("same", set.Version-1, set.Hash), one("behind", set.Version-1, "sha256:old"), one("other", set.Version, "sha256:old"),
		one("ahead", set.Version+1, "sha256:new"), {App: inventory, ID: "silent"},
	}
	behind, known := k.api.Behind(all)
	if n := api.BehindOf(k.api, inventory, all...); n != len(behind) {
		t.Errorf("health counts %d as behind, and they are %d", n, len(behind))
	}
	var ids []string
	for _, i := range behind {
		ids = append(ids, i.ID)
	}
	if !known || !slices.Equal(ids, []string{"behind", "other", "silent"}) {
		t.Errorf("%t: %v", known, ids)
	}
}
