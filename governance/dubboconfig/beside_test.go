package dubboconfig

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// lookedAt are pods whose Service asks to be governed by their own ports too.
type lookedAt struct{ pods }

func (lookedAt) Snapshot(context.Context, registry.App) (registry.Snapshot, error) {
	return registry.Snapshot{Service: registry.Service{Govern: &registry.Govern{}}}, nil
}

// What a pod's own ports say it lacks stands beside a client's word; and where they
// show an engine that obeys policies, what that says of them.
func TestAClientIsBesideWhatItsPodsOwnPortsSay(t *testing.T) {
	t.Parallel()
	for sdk, own := range map[string]bool{sdkName: true, "hystrix-stream": false} {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			w := start(t, Config{Registry: lookedAt{pods{"127.0.0.1": {ID: "1", Namespace: "shop", Name: "restock-1"}}}})
			lacks := []string{"something"}
			err := w.store.PutInstances(w.ctx, governance.Instance{
				App: restock, ID: "1", Name: "restock-1", SDK: sdk, Seen: time.Now(), Lacks: lacks,
				Applied: &governance.Applied{Hash: "of its ports"}, AppliedAt: time.Now().Add(-time.Minute),
			})
			if err != nil {
				t.Fatal(err)
			}
			p := w.dial()
			p.open()
			p.fetch("", document1)
			p.listen("", map[string]string{document1: "", "inventory.tag-router": ""})
			w.eventually("what it calls is known", func() bool { i, ok := w.instance(); return ok && len(i.Calls) == 1 })
			if i, _ := w.instance(); i.SDK != sdk || !slices.Equal(i.Lacks, lacks) || (i.Applied.Hash != "of its ports") != own {
				t.Errorf("it is %+v, %+v", i, i.Applied)
			}
		})
	}
}
