package dubbo

import (
	"reflect"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/registry"
)

func consumerURL(iface, proto string, params ...string) *common.URL {
	u := common.NewURLWithOptions(
		common.WithProtocol(proto), common.WithPath(iface), common.WithInterface(iface),
		common.WithParamsValue(constant.SideKey, "consumer"),
		common.WithParamsValue(constant.ApplicationKey, "orders"),
		common.WithParamsValue(constant.TimestampKey, "1800000000"),
	)
	for i := 0; i+1 < len(params); i += 2 {
		u.SetParam(params[i], params[i+1])
	}
	return u
}

// withoutStubsURL is that of a reference that is called by method name.
func withoutStubsURL(iface, proto string) *common.URL {
	return consumerURL(iface, proto, constant.SerializationKey, constant.Hessian2Serialization,
		constant.IDLMode, constant.NONIDL) //nolint:staticcheck // Triple without generated stubs still needs it
}

func TestReferenceMatches(t *testing.T) {
	plain := &service{name: "a.B", protocol: "tri"}
	zero := &service{name: "a.B", protocol: "tri", version: "0.0.0"}
	grouped := &service{name: "a.B", protocol: "tri", group: "g", version: "2.0.0"}
	for name, tc := range map[string]struct {
		url  *common.URL
		want []bool // plain, zero, grouped
	}{
		"plain":        {consumerURL("a.B", "tri"), []bool{true, true, false}},
		"no protocol":  {consumerURL("a.B", ""), []bool{true, true, false}},
		"zero version": {consumerURL("a.B", "tri", "version", "0.0.0"), []bool{true, true, false}},
		"grouped":      {consumerURL("a.B", "tri", "group", "g", "version", "2.0.0"), []bool{false, false, true}},
		"one of":       {consumerURL("a.B", "tri", "group", "f, g", "version", "2.0.0"), []bool{false, false, true}},
		"anything":     {consumerURL("a.B", "tri", "group", "*", "version", "*"), []bool{true, true, true}},
		"any version":  {consumerURL("a.B", "tri", "version", "*"), []bool{true, true, false}},
		"protocol":     {consumerURL("a.B", "dubbo", "group", "*", "version", "*"), []bool{false, false, false}},
		"interface":    {consumerURL("a.C", "tri", "group", "*", "version", "*"), []bool{false, false, false}},
	} {
		r, err := newReference(tc.url, "shop")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := []bool{r.matches(plain), r.matches(zero), r.matches(grouped)}; !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: matches %v, want %v", name, got, tc.want)
		}
	}
}

func TestReferenceProvidedBy(t *testing.T) {
	r, err := newReference(consumerURL("a.B", "tri", constant.ProvidedBy, "inventory, stores/stock,inventory,"), "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := []registry.App{{Namespace: "shop", Name: "inventory"}, {Namespace: "stores", Name: "stock"}}
	if !reflect.DeepEqual(r.apps, want) {
		t.Errorf("apps are %v, want %v", r.apps, want)
	}
	for _, bad := range []string{"Inventory", "a/b/c", "x_y"} {
		if _, err := newReference(consumerURL("a.B", "tri", constant.ProvidedBy, bad), "shop"); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := newReference(consumerURL("", "tri"), "shop"); registry.CodeOf(err) != registry.Invalid {
		t.Errorf("no interface: %v", err)
	}
}

func FuzzReference(f *testing.F) {
	f.Add("a.B", "tri", "g", "1.0.0", "inventory,other/app")
	f.Add("", "", "*,", "0.0.0", ",,")
	f.Fuzz(func(t *testing.T, iface, proto, group, version, providedBy string) {
		r, err := newReference(consumerURL(iface, proto, "group", group, "version", version, constant.ProvidedBy, providedBy), "shop")
		if err != nil {
			return
		}
		if r.word().Validate() != nil || r.protocol == "" {
			t.Fatalf("accepted %+v", r)
		}
		for _, a := range r.apps {
			if err := a.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		_ = r.String()
		r.matches(&service{name: iface, group: group, version: version, protocol: proto})
	})
}
