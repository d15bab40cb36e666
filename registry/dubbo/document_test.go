package dubbo

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/registry"
)

// exportedURL is what dubbo-go registers for a service.
func exportedURL(proto, port, iface string, params ...string) *common.URL {
	u := common.NewURLWithOptions(
		common.WithProtocol(proto), common.WithIp("10.0.0.7"), common.WithPort(port),
		common.WithPath(iface), common.WithInterface(iface),
		common.WithMethods([]string{"reserve", "Reserve", "get", "Get"}),
		common.WithParamsValue(constant.ApplicationKey, "inventory"),
		common.WithParamsValue(constant.SideKey, constant.SideProvider),
		common.WithParamsValue(constant.TimestampKey, "1700000000"),
		common.WithParamsValue(constant.ReleaseKey, release),
		common.WithParamsValue(constant.PIDKey, "1"),
	)
	for i := 0; i+1 < len(params); i += 2 {
		u.SetParam(params[i], params[i+1])
	}
	return u
}

// Two processes of one build publish the same revision and the same bytes,
// although they started at different times and list methods in another order.
func TestDescribeIsTheSameForAllInstances(t *testing.T) {
	one := []*common.URL{
		exportedURL("tri", "20001", "org.example.Stock"),
		exportedURL("dubbo", "20000", "org.example.Price", "version", "1.0.0"),
	}
	other := []*common.URL{
		exportedURL("dubbo", "20000", "org.example.Price", "version", "1.0.0", "timestamp", "1800000000", "pid", "77"),
		exportedURL("tri", "20001", "org.example.Stock", "timestamp", "1800000001"),
	}
	for _, u := range other {
		slices.Reverse(u.Methods)
	}
	docA, bytesA, err := describe("inventory", one)
	if err != nil {
		t.Fatal(err)
	}
	docB, bytesB, err := describe("inventory", other)
	if err != nil {
		t.Fatal(err)
	}
	if docA.info.Revision != docB.info.Revision {
		t.Errorf("revisions differ: %s and %s", docA.info.Revision, docB.info.Revision)
	}
	if !bytes.Equal(bytesA, bytesB) {
		t.Errorf("documents differ:\n%s\n%s", bytesA, bytesB)
	}
	changed, _, err := describe("inventory", one[:1])
	if err != nil {
		t.Fatal(err)
	}
	if changed.info.Revision == docA.info.Revision {
		t.Error("another set of services has the same revision")
	}
	if got, want := docA.interfaces(), []string{"org.example.Price", "org.example.Stock"}; !reflect.DeepEqual(got, want) {
		t.Errorf("interfaces are %v, want %v", got, want)
	}
}

func TestDecodeDocument(t *testing.T) {
	// As a Dubbo Java 3.3 metadata centre holds it.
	const java = `{"app":"inventory","revision":"5f1c0a","services":{
		"org.example.Stock:1.0.0:tri":{"name":"org.example.Stock","version":"1.0.0","protocol":"tri","port":50051,
		 "path":"org.example.Stock","params":{"methods":"get,reserve","side":"provider","release":"3.3.6","reserve.timeout":"800","timestamp":"1700000000000"}},
		"shop/org.example.Price:dubbo":{"name":"org.example.Price","group":"shop","protocol":"dubbo","port":20880,"path":"org.example.Price","params":{"methods":"of"}}}}`
	d, err := decodeDocument([]byte(java))
	if err != nil {
		t.Fatal(err)
	}
	stock := d.services["org.example.Stock"][0]
	if stock.version != "1.0.0" || stock.protocol != "tri" || stock.port != 50051 || !slices.Equal(stock.methods, []string{"get", "reserve"}) {
		t.Errorf("Stock is %+v", stock)
	}
	if got := stock.params.Get("methods.reserve.timeout"); got != "800" {
		t.Errorf("the method's timeout is %q, want 800", got)
	}
	if price := d.services["org.example.Price"][0]; price.group != "shop" {
		t.Errorf("Price has group %q", price.group)
	}

	for name, bad := range map[string]string{
		"not JSON":     `{"app":`,
		"null service": `{"services":{"a:tri":null}}`,
		"no name":      `{"services":{"a:tri":{"protocol":"tri"}}}`,
		"bad port":     `{"services":{"a:tri":{"name":"a","protocol":"tri","port":70000}}}`,
		"a list":       `[]`,
		"a string":     `"x"`,
		"too long":     `{"app":"` + strings.Repeat("x", registry.MaxDocument) + `"}`,
	} {
		if _, err := decodeDocument([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if d, err := decodeDocument([]byte(`{}`)); err != nil || len(d.services) != 0 {
		t.Errorf("a document without services: %v, %v", d, err)
	}
}

func FuzzDecodeDocument(f *testing.F) {
	_, encoded, err := describe("inventory", []*common.URL{exportedURL("tri", "20001", "org.example.Stock")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add([]byte(`{"services":{"a:tri":{"name":"a","params":{"methods":"x,,y","x.timeout":"1"}}}}`))
	f.Add([]byte(`{"services":{"":{"name":"\u0000","group":"*"}}}`))
	i := callable("a", "10.0.0.1", "r")
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDocument(b)
		if err != nil {
			return
		}
		for name, list := range d.services {
			for _, s := range list {
				if s.name != name {
					t.Fatalf("%q is filed under %q", s.name, name)
				}
				for _, u := range urls(&i, s) {
					_ = u.String()
					_ = u.MergeURL(consumerURL("org.example.Stock", "tri"))
				}
			}
		}
	})
}
