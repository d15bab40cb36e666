package dubbo

import (
	"net/netip"
	"net/url"
	"reflect"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/cluster/loadbalance"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/invocation"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
)

// callable returns a ready instance that serves tri on 20001 and dubbo on 20000.
func callable(id, host, revision string) registry.Instance {
	return registry.Instance{
		ID: id, Name: id, Host: netip.MustParseAddr(host),
		Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}, {Protocol: "tri", Port: 20001}},
		Metadata: map[string]string{
			registry.KeyEndpoints: `[{"port":20000,"protocol":"dubbo"},{"port":20001,"protocol":"tri"}]`,
			registry.KeyRevision:  revision,
		},
		Revision: revision,
		Details:  registry.Details{Weight: registry.DefaultWeight, State: registry.Up, Started: time.Unix(1700000000, 0)},
		Health:   registry.Ready,
	}
}

func TestTargets(t *testing.T) {
	with := func(endpoints ...registry.Endpoint) registry.Instance {
		i := callable("a", "10.0.0.1", "r")
		i.Endpoints = endpoints
		return i
	}
	two := with(registry.Endpoint{Protocol: "tri", Port: 50051}, registry.Endpoint{Protocol: "tri", Port: 50052})
	six := callable("a", "fd00::7", "r")
	for name, tc := range map[string]struct {
		instance registry.Instance
		service  service
		want     []target
	}{
		"by protocol":               {callable("a", "10.0.0.1", "r"), service{protocol: "tri"}, []target{{host: "10.0.0.1", port: 20001}}},
		"the instance knows best":   {callable("a", "10.0.0.1", "r"), service{protocol: "tri", port: 9}, []target{{host: "10.0.0.1", port: 20001}}},
		"the document chooses":      {two, service{protocol: "tri", port: 50052}, []target{{host: "10.0.0.1", port: 50052}}},
		"V2 names no port":          {two, service{protocol: "tri"}, []target{{host: "10.0.0.1", port: 50051}, {host: "10.0.0.1", port: 50052}}},
		"no endpoints":              {with(), service{protocol: "tri", port: 9}, []target{{host: "10.0.0.1", port: 9}}},
		"no port at all":            {with(), service{protocol: "tri"}, nil},
		"another protocol":          {callable("a", "10.0.0.1", "r"), service{protocol: "rest", port: 8080}, nil},
		"IPv6":                      {six, service{protocol: "tri"}, []target{{host: "[fd00::7]", port: 20001}}},
		"no address":                {registry.Instance{}, service{protocol: "tri", port: 9}, nil},
		"IPv4 in an IPv6 clothing":  {callable("a", "::ffff:10.0.0.1", "r"), service{protocol: "tri"}, []target{{host: "10.0.0.1", port: 20001}}},
		"a document of another pod": {two, service{protocol: "tri", port: 50053}, []target{{host: "10.0.0.1", port: 50051}, {host: "10.0.0.1", port: 50052}}},
	} {
		if got := targets(&tc.instance, &tc.service); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestURL(t *testing.T) {
	s := &service{
		name: "org.example.Stock", group: "g", version: "1.0.0", protocol: "tri", methods: []string{"get"},
		params: url.Values{"timeout": {"500"}, "weight": {"70"}, "environment": {"old"}},
	}
	i := callable("a", "10.0.0.1", "r")
	i.Zone = "north"
	i.Details.Weight, i.Details.Tag = 250, "gray"
	i.Metadata[constant.EnvironmentKey] = "new"
	u := urls(&i, s)[0]
	for key, want := range map[string]string{
		"interface": "org.example.Stock", "group": "g", "version": "1.0.0", "timeout": "500",
		"weight": "250", "dubbo.tag": "gray", "zone": "north", "environment": "new",
		"timestamp": "1700000000", "remote.timestamp": "1700000000",
	} {
		if got := u.GetParam(key, ""); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if u.Location != "10.0.0.1:20001" || u.Path != "/org.example.Stock" || u.ServiceKey() != "g/org.example.Stock:1.0.0" {
		t.Errorf("URL is %s", u)
	}
	if got := s.params.Get("weight"); got != "70" {
		t.Errorf("the shared parameters were written to: weight %s", got)
	}

	// dubbo-go takes a weight change for a change, and warms up by the start.
	merged := u.MergeURL(consumerURL("org.example.Stock", "tri"))
	invoker := base.NewBaseInvoker(merged)
	inv := invocation.NewRPCInvocation("get", nil, nil)
	if got := loadbalance.GetWeightAt(invoker, inv, 1700000000+3600); got != 250 {
		t.Errorf("warm, it has weight %d, want 250", got)
	}
	if got := loadbalance.GetWeightAt(invoker, inv, 1700000000+60); got < 1 || got > 50 {
		t.Errorf("a minute old, it has weight %d, want a tenth of 250", got)
	}
	i.Details.Weight = 100
	if changed := urls(&i, s)[0].MergeURL(consumerURL("org.example.Stock", "tri")); common.GetCompareURLEqualFunc()(changed, merged) {
		t.Error("dubbo-go would not notice the new weight")
	} else if changed.GetCacheInvokerMapKey() != merged.GetCacheInvokerMapKey() {
		t.Error("a new weight makes another instance of it")
	}

	// An unmodified Java instance has no Details of its own: the document counts.
	java := callable("j", "10.0.0.2", "r")
	java.Details.Started = time.Time{}
	u = urls(&java, s)[0]
	if u.GetParam("weight", "") != "70" || u.GetParam("remote.timestamp", "") != "" {
		t.Errorf("Java's URL is %s", u)
	}
	java.Metadata[registry.KeyTag] = "blue"
	if got := urls(&java, s)[0].GetParam("dubbo.tag", ""); got != "blue" {
		t.Errorf("Java's tag is %q", got)
	}
}

// Lanes are URLs of one address that dubbo-go keeps apart.
func TestLanes(t *testing.T) {
	i := callable("a", "10.0.0.1", "r")
	s := &service{name: "org.example.Stock", protocol: "tri"}
	keys := map[string]bool{}
	for lane := range 3 {
		keys[newURL(target{host: "10.0.0.1", port: 80, lane: lane}, &i, s).GetCacheInvokerMapKey()] = true
	}
	if len(keys) != 3 {
		t.Errorf("3 lanes have %d keys", len(keys))
	}
}

func TestServiceInstance(t *testing.T) {
	i := callable("a", "10.0.0.1", "r")
	i.Details.Tag, i.Details.Weight = "gray", 250
	s := newServiceInstance("inventory", &i)
	if s.GetID() != "a" || s.GetServiceName() != "inventory" || s.GetHost() != "10.0.0.1" || s.GetPort() != 20000 ||
		s.GetAddress() != "10.0.0.1:20000" || !s.IsEnable() || !s.IsHealthy() || s.GetTag() != "gray" || s.GetWeight() != 250 {
		t.Errorf("instance is %+v", s)
	}
	if got := len(s.GetEndPoints()); got != 2 {
		t.Errorf("%d endpoints", got)
	}
	s.stored()
	if s.GetMetadata()[constant.MetadataStorageTypePropertyName] != "remote" {
		t.Error("dubbo-go would ask the instance before the store")
	}
	if _, ok := i.Metadata[constant.MetadataStorageTypePropertyName]; ok {
		t.Error("the shared snapshot was written to")
	}
	si := &info.ServiceInfo{Name: "org.example.Stock", Protocol: "tri", Params: map[string]string{"methods": "get"}}
	if got := s.ToURLs(si); len(got) != 1 || got[0].Location != "10.0.0.1:20001" {
		t.Errorf("URLs are %v", got)
	}
	if got := s.ToURLs(&info.ServiceInfo{}); got != nil {
		t.Errorf("a service without a name has %v", got)
	}
	c := s.Copy(&goregistry.Endpoint{Port: 7, Protocol: "rest"})
	if c.GetPort() != 7 || len(c.GetEndPoints()) != 1 {
		t.Errorf("copy is %+v", c)
	}
	s.SetServiceMetadata(info.NewAppMetadataInfo("inventory"))
	if s.GetServiceMetadata().App != "inventory" {
		t.Error("the metadata got lost")
	}
	i.Revision = ""
	if got := newServiceInstance("inventory", &i).GetMetadata()[registry.KeyRevision]; got != noServices {
		t.Errorf("an instance without a revision has %q", got)
	}
}
