package dubbo

import (
	"strings"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/registry/memory"
)

// A consumer finds a provider and calls it, over both protocols.
func TestCall(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	ports := freePorts(t, 2)
	start(t, processConfig{
		Bridge: b.url, ID: "p1", App: "greeter",
		Servers: []serverConfig{
			{Protocol: constant.DubboProtocol, Port: ports[0], Services: []serviceConfig{{Interface: "org.example.Hessian"}}},
			{Protocol: constant.TriProtocol, Port: ports[1], Services: []serviceConfig{{Interface: "org.example.Triple"}}},
		},
	})
	backend, _ := memoryBackend(t, world)
	c := newConsumer(t, backend, false)
	for _, tc := range []struct{ iface, proto string }{
		{"org.example.Hessian", constant.DubboProtocol},
		{"org.example.Triple", constant.TriProtocol},
	} {
		conn := c.refer(tc.iface, tc.proto)
		var got string
		eventually(t, "a call over "+tc.proto, func() bool {
			var err error
			got, err = greet(conn)
			return err == nil
		})
		if !strings.HasPrefix(got, "p1 greets") {
			t.Errorf("%s: %q", tc.proto, got)
		}
	}
}
