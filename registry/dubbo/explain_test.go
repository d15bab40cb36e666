package dubbo

import (
	"errors"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/registry"
)

// The log says why there is nothing to call.
func TestReasons(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(r *rig)
		url  *common.URL
		want string
	}{
		"no mapping": {
			set:  func(*rig) {},
			want: "no application in namespace shop says that it provides org.example.Stock",
		},
		"no Service": {
			set:  func(r *rig) { r.offer("inventory", "r1", stock) },
			want: "shop/inventory has no Service and no instance",
		},
		"no instance": {
			set: func(r *rig) {
				r.offer("inventory", "r1", stock)
				r.world.PutService(app("inventory"), registry.Service{})
			},
			want: "shop/inventory has no instance",
		},
		"not ready": {
			set: func(r *rig) {
				r.offer("inventory", "r1", stock)
				i := callable("a", "10.0.0.1", "r1")
				i.Health = registry.NotReady
				r.world.PutInstance(app("inventory"), i)
			},
			want: "shop/inventory has 1 instance, none of which can be called: a is not ready",
		},
		"another protocol": {
			set: func(r *rig) {
				r.offer("inventory", "r1", stock)
				r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
			},
			url:  consumerURL(stock, "rest"),
			want: "shop/inventory offers it over dubbo and tri, and this reference asks for rest; choose the protocol with client.WithProtocol",
		},
		"another version": {
			set: func(r *rig) {
				r.offer("inventory", "r1", stock)
				r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
			},
			url:  consumerURL(stock, "tri", "version", "2.0.0"),
			want: "shop/inventory offers org.example.Stock; group and version must be those of the provider",
		},
		"another interface": {
			set: func(r *rig) {
				r.offer("inventory", "r1", "org.example.Price")
				r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
			},
			url:  consumerURL(stock, "tri", constant.ProvidedBy, "inventory"),
			want: "shop/inventory has 1 callable instance, but does not offer org.example.Stock",
		},
		"no port": {
			set: func(r *rig) {
				r.offer("inventory", "r1", stock)
				i := callable("a", "10.0.0.1", "r1")
				i.Endpoints = i.Endpoints[:1]
				r.world.PutInstance(app("inventory"), i)
			},
			want: "its instances name no port for it",
		},
		"forbidden": {
			set: func(r *rig) {
				r.client.Refuse(errors.New("bind ClusterRole weir-consumer to ServiceAccount shop/orders"))
			},
			want: "bind ClusterRole weir-consumer to ServiceAccount shop/orders",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tc.set(r)
			u := tc.url
			if u == nil {
				u = consumerURL(stock, "tri")
			}
			r.subscribe(u)
			r.logs(tc.want)
		})
	}
}
