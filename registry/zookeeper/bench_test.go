package zookeeper

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
)

// Many interfaces, as a company has them that comes from Dubbo 2: how long it takes a
// bridge to write them all, and then to write one instance more.
func BenchmarkBridge(b *testing.B) {
	const apps, interfaces, instances = 300, 10, 3
	for range b.N {
		b.StopTimer()
		z := newBridged(b, testzk.Start(b))
		app := func(n int) registry.App { return registry.App{Namespace: "shop", Name: fmt.Sprintf("app-%d", n)} }
		instance := func(n, i int) registry.Instance {
			return registry.Instance{
				ID: fmt.Sprintf("uid-%d-%d", n, i), Name: fmt.Sprintf("app-%d-%d", n, i), Host: netip.AddrFrom4([4]byte{10, byte(n / 256), byte(n), byte(i + 1)}), Health: registry.Ready, Revision: "r",
				Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}},
				Metadata:  map[string]string{registry.KeyRevision: "r", registry.KeyEndpoints: `[{"port":20000,"protocol":"dubbo"}]`},
				Details:   registry.Details{Weight: 100, Started: time.UnixMilli(1730000000000)},
			}
		}
		for n := range apps {
			z.reg.PutService(app(n), registry.Service{})
			var services []string
			for s := range interfaces {
				name := fmt.Sprintf("org.example.app%d.Service%d", n, s)
				services = append(services, fmt.Sprintf(`"%s:dubbo":{"name":%q,"protocol":"dubbo","port":20000,"params":{"methods":"get,reserve,release,list","release":"dubbo-golang-3.3.2","serialization":"hessian2","timeout":"1000"}}`, name, name))
			}
			if err := z.client.PutMetadata(within(b), app(n), "r", []byte(`{"services":{`+strings.Join(services, ",")+`}}`)); err != nil {
				b.Fatal(err)
			}
			for i := range instances {
				z.reg.PutInstance(app(n), instance(n, i))
			}
		}
		written := func(want int) func() error {
			return func() error {
				list, err := z.providers(fmt.Sprintf("org.example.app%d.Service%d", apps-1, interfaces-1))
				if err == nil && len(list) != want {
					err = fmt.Errorf("%d are written", len(list))
				}
				return err
			}
		}
		b.StartTimer()
		begin := time.Now()
		r := z.run(func(c *BridgeConfig) { c.Resync = time.Hour })
		z.eventually("all are written", func() error {
			if s := r.Status(); s.Nodes != apps*interfaces*instances {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		b.ReportMetric(time.Since(begin).Seconds(), "s/all")
		pause.For(within(b), 2*time.Second) // until it knows again what it has written
		begin = time.Now()
		z.reg.PutInstance(app(apps-1), instance(apps-1, instances))
		z.eventually("one more is written", written(instances+1))
		b.ReportMetric(time.Since(begin).Seconds(), "s/change")
		b.StopTimer()
		r.end()
	}
}
