package dubbo

import (
	"slices"
	"testing"

	clusterdirectory "dubbo.apache.org/dubbo-go/v3/cluster/directory"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	"dubbo.apache.org/dubbo-go/v3/metadata/mapping"
	"dubbo.apache.org/dubbo-go/v3/metadata/report"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/registry/directory"
	"dubbo.apache.org/dubbo-go/v3/registry/servicediscovery"

	gxset "github.com/dubbogo/gost/container/set"
	"github.com/dubbogo/gost/gof/observer"

	"github.com/weirmesh/weir/registry"
)

func (r *rig) report() report.MetadataReport {
	u := common.NewURLWithOptions(common.WithProtocol(r.binding.Name()))
	return extension.GetMetadataReportFactory(r.binding.Name()).CreateMetadataReport(u)
}

func TestReportMetadata(t *testing.T) {
	r := newRig(t)
	rep := r.report()
	doc, _, err := describe("inventory", []*common.URL{exportedURL("tri", "20001", stock)})
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.PublishAppMetadata("inventory", "r1", doc.info); err != nil {
		t.Fatal(err)
	}
	got, err := rep.GetAppMetadata("inventory", "r1")
	if err != nil || got.Services[stock+":tri"] == nil || got.Revision != "r1" {
		t.Errorf("the document is %v, %v", got, err)
	}
	revisions, err := rep.ListAppRevisions("inventory")
	if err != nil || len(revisions) != 1 || revisions[0].Revision != "r1" || revisions[0].ModifyTime == 0 {
		t.Errorf("revisions are %v, %v", revisions, err)
	}
	if err := rep.UnPublishAppMetadata("inventory", "r1"); err != nil {
		t.Fatal(err)
	}
	if err := rep.UnPublishAppMetadata("inventory", "r1"); err != nil {
		t.Errorf("once more: %v", err)
	}
	if _, err := rep.GetAppMetadata("inventory", "r1"); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("a removed document: %v", err)
	}
	if _, err := rep.GetAppMetadata("In_ventory", "r1"); registry.CodeOf(err) != registry.Invalid {
		t.Errorf("a bad name: %v", err)
	}

	// A process's own revision goes with its registration.
	own := info.NewMetadataInfo("inventory", "")
	own.AddService(exportedURL("tri", "20001", stock))
	if err := rep.PublishAppMetadata("inventory", "own", own); err != nil {
		t.Fatal(err)
	}
	if _, err := rep.GetAppMetadata("inventory", "own"); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("the process's own document: %v", err)
	}
}

type mappingRecorder struct{ names chan []string }

func (m *mappingRecorder) OnEvent(e observer.Event) error {
	m.names <- sorted(e.(*goregistry.ServiceMappingChangeEvent).GetServiceNames())
	return nil
}

func (m *mappingRecorder) Stop() {}

func sorted(set *gxset.HashSet) []string {
	var out []string
	for _, v := range set.Values() {
		out = append(out, v.(string))
	}
	slices.Sort(out)
	return out
}

func TestReportMapping(t *testing.T) {
	r := newRig(t)
	rep := r.report()
	if err := rep.RegisterServiceAppMapping(stock, "mapping", "order"); err != nil {
		t.Fatal(err)
	}
	l := &mappingRecorder{names: make(chan []string, 10)}
	set, err := rep.GetServiceAppMapping(stock, "mapping", l)
	if err != nil || !slices.Equal(sorted(set), []string{"order"}) {
		t.Fatalf("the mapping is %v, %v", set, err)
	}
	if got := <-l.names; !slices.Equal(got, []string{"order"}) {
		t.Errorf("first told of %v", got)
	}
	// A name that contains another is another name.
	if err := rep.RegisterServiceAppMapping(stock, "mapping", "order-service"); err != nil {
		t.Fatal(err)
	}
	if got := <-l.names; !slices.Equal(got, []string{"order", "order-service"}) {
		t.Errorf("then told of %v", got)
	}
	if _, err := rep.GetServiceAppMapping(stock, "mapping", l); err != nil { // once per listener
		t.Fatal(err)
	}
	if err := rep.RemoveServiceAppMappingListener(stock, "mapping"); err != nil {
		t.Fatal(err)
	}
	if err := rep.RegisterServiceAppMapping(stock, "mapping", "third"); err != nil {
		t.Fatal(err)
	}
	set, err = rep.GetServiceAppMapping(stock, "mapping", nil)
	if err != nil || set.Size() != 3 {
		t.Errorf("the mapping is %v, %v", set, err)
	}
	if len(l.names) != 0 {
		t.Errorf("a removed listener was told of %v", <-l.names)
	}
	if set, err := rep.GetServiceAppMapping("org.example.None", "mapping", nil); err != nil || !set.Empty() {
		t.Errorf("an unknown interface has %v, %v", set, err)
	}
	if err := rep.RegisterServiceAppMapping(stock, "mapping", "Bad_Name"); err != nil {
		t.Errorf("a bad name stops the export, where Serve would say why: %v", err)
	}
}

// dubbo-go takes back the listeners of an interface without a word of which: those of
// other groups and versions hear on.
func TestReportMappingOfSeveralReferences(t *testing.T) {
	r := newRig(t)
	rep := r.report()
	if err := rep.RegisterServiceAppMapping(stock, "mapping", "order"); err != nil {
		t.Fatal(err)
	}
	u, err := common.NewURL("service-discovery-registry://"+r.binding.Name(), common.WithParamsValue(constant.RegistryKey, r.binding.Name()))
	if err != nil {
		t.Fatal(err)
	}
	var directories []clusterdirectory.Directory
	var listeners []mapping.MappingListener
	for _, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		at := u.Clone()
		at.SubURL = consumerURL(stock, "tri", constant.VersionKey, version)
		dir, err := directory.NewServiceDiscoveryRegistryDirectory(at, r.reg)
		if err != nil {
			t.Fatal(err)
		}
		l := servicediscovery.NewMappingListener(at, at.SubURL, gxset.NewSet("order"), dir.(goregistry.NotifyListener))
		if _, err := rep.GetServiceAppMapping(stock, "mapping", l); err != nil {
			t.Fatal(err)
		}
		directories, listeners = append(directories, dir), append(listeners, l)
	}
	here := func() (left []mapping.MappingListener) {
		r.binding.mu.Lock()
		defer r.binding.mu.Unlock()
		for _, m := range r.binding.mappings[stock] {
			left = append(left, m.listener)
		}
		return left
	}
	directories[1].Destroy()
	for range 2 { // and once for a reference that names its applications, and has no listener
		if err := rep.RemoveServiceAppMappingListener(stock, "mapping"); err != nil {
			t.Fatal(err)
		}
	}
	if left := here(); !slices.Equal(left, []mapping.MappingListener{listeners[0], listeners[2]}) {
		t.Errorf("of %v %v are left", listeners, left)
	}
	directories[0].Destroy()
	directories[2].Destroy()
	for range 2 {
		if err := rep.RemoveServiceAppMappingListener(stock, "mapping"); err != nil {
			t.Fatal(err)
		}
	}
	if left := here(); len(left) != 0 {
		t.Errorf("at the end %v are left", left)
	}

	// Of listeners about which nothing is known, all end with the last.
	a, b := &mappingRecorder{names: make(chan []string, 10)}, &mappingRecorder{names: make(chan []string, 10)}
	for _, l := range []*mappingRecorder{a, b} {
		if _, err := rep.GetServiceAppMapping(stock, "mapping", l); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		if err := rep.RemoveServiceAppMappingListener(stock, "mapping"); err != nil {
			t.Fatal(err)
		}
		if left := here(); len(left) != want {
			t.Errorf("%v are left", left)
		}
	}
}

// What dubbo-go asks of a service discovery, without dubbo-go.
func TestDiscovery(t *testing.T) {
	r := newRig(t)
	u, err := common.NewURL("x://y", common.WithParamsValue(constant.RegistryKey, r.binding.Name()))
	if err != nil {
		t.Fatal(err)
	}
	d, err := extension.GetServiceDiscovery(u)
	if err != nil {
		t.Fatal(err)
	}
	if d.GetServices().Empty() {
		t.Error("dubbo-go would take the registry for down")
	}
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r1"))
	down := callable("c", "10.0.0.3", "r1")
	down.Health = registry.NotReady
	r.world.PutInstance(app("inventory"), down)
	list := d.GetInstances("inventory")
	if len(list) != 2 || list[0].GetMetadata()[constant.MetadataStorageTypePropertyName] != "remote" {
		t.Fatalf("instances are %v", list)
	}
	if got := d.GetInstancesByPage("inventory", 1, 5); len(got.GetData()) != 1 || got.GetData()[0].(goregistry.ServiceInstance).GetID() != "b" {
		t.Errorf("the second page is %v", got)
	}
	if got := d.GetHealthyInstancesByPage("inventory", 0, 5, true); len(got.GetData()) != 2 {
		t.Errorf("healthy are %v", got)
	}
	if got := d.GetRequestInstances([]string{"inventory", "none"}, 0, 1); len(got) != 2 || len(got["inventory"].GetData()) != 1 {
		t.Errorf("pages are %v", got)
	}
	if got := d.GetInstances("In_ventory"); got != nil {
		t.Errorf("a bad name has %v", got)
	}
	r.binding.mu.Lock()
	watches := len(r.binding.watches)
	r.binding.mu.Unlock()
	if watches != 0 {
		t.Errorf("%d applications are still followed after a question", watches)
	}
	if err := d.Destroy(); err != nil || d.String() == "" || d.GetDefaultPageSize() == 0 {
		t.Error(err)
	}
}
