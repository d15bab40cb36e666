package zookeeper

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/weirmesh/weir/registry"
)

func TestDecodeProvider(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url  string
		want Provider
	}{
		"of Dubbo Java": {
			"dubbo://10.0.0.1:20880/org.example.Stock?anyhost=true&application=inventory&deprecated=false&dubbo=2.0.2&dynamic=true&generic=false&group=b&interface=org.example.Stock&methods=get,reserve&pid=7&release=2.7.23&revision=1.0.0&side=provider&timestamp=1730000000000&version=1.0.0&weight=50",
			Provider{Interface: registry.Interface{Name: "org.example.Stock", Group: "b", Version: "1.0.0"}, Address: Address{"dubbo", "10.0.0.1", 20880}, Path: "org.example.Stock", App: "inventory", Weight: 50},
		},
		"of dubbo-go, which writes a weight of none": {
			"tri://10.0.0.2:20001/org.example.Report?anyhost=true&application=inventory&interface=org.example.Report&methods=Greet,Slow&release=dubbo-golang-3.3.2&side=provider&weight=0",
			Provider{Interface: registry.Interface{Name: "org.example.Report"}, Address: Address{"tri", "10.0.0.2", 20001}, Path: "org.example.Report", App: "inventory", Weight: 100},
		},
		"with a path of its own, and Dubbo's other word for no version": {
			"dubbo://10.0.0.3:20880/context/Stock?application=a&interface=org.example.Stock&version=0.0.0&weight=0",
			Provider{Interface: registry.Interface{Name: "org.example.Stock"}, Address: Address{"dubbo", "10.0.0.3", 20880}, Path: "context/Stock", App: "a"},
		},
		"over IPv6, as Java writes it, with credentials": {
			"dubbo://user:secret@fd00:0:0:0:0:0:0:1:20880/org.example.Stock?application=a&disabled=true",
			Provider{Interface: registry.Interface{Name: "org.example.Stock"}, Address: Address{"dubbo", "fd00::1", 20880}, Path: "org.example.Stock", App: "a", Weight: 100, Disabled: true},
		},
		"by Dubbo's other word for disabled": {
			"dubbo://10.0.0.4:20880/org.example.Stock?application=a&enabled=false",
			Provider{Interface: registry.Interface{Name: "org.example.Stock"}, Address: Address{"dubbo", "10.0.0.4", 20880}, Path: "org.example.Stock", App: "a", Weight: 100, Disabled: true},
		},
		"over IPv6": {
			"dubbo://[fd00::1]:20880/org.example.Stock?application=a",
			Provider{Interface: registry.Interface{Name: "org.example.Stock"}, Address: Address{"dubbo", "fd00::1", 20880}, Path: "org.example.Stock", App: "a", Weight: 100},
		},
	} {
		got, err := decodeProvider(url.QueryEscape(c.url))
		got.Params = nil
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for text, want := range map[string]string{
		"%zz":                                "not encoded",
		"nonsense":                           "no URL",
		"dubbo://10.0.0.1/org.example.Stock": "no host and port",
		"dubbo://10.0.0.1:70000/x?a=b":       "no host and port",
		"dubbo://:20880/x?a=b":               "no host and port",
		"dubbo://a:b:20880/x?a=b":            "no host and port",
		"dubbo%3A%2F%2F10.0.0.1%3A20880":     "names no interface",
		"dubbo%3A%2F%2F10.0.0.1%3A20880%2Fx" + strings.Repeat("x", maxNode): "bytes",
	} {
		if _, err := decodeProvider(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// As Dubbo Java 3 and dubbo-go 3.3.2 write it.
const (
	javaInstance = `{"name":"inventory","id":"10.0.0.1:20880","address":"10.0.0.1","port":20880,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.0.0.1:20880","name":"inventory","metadata":{"dubbo.endpoints":"[{\"port\":20880,\"protocol\":\"dubbo\"},{\"port\":50051,\"protocol\":\"tri\"}]","dubbo.metadata-service.url-params":"{\"version\":\"1.0.0\",\"dubbo\":\"2.0.2\",\"port\":\"20880\",\"protocol\":\"dubbo\"}","dubbo.metadata.revision":"0f3a","dubbo.metadata.storage-type":"local","timestamp":"1730000000000"}},"registrationTimeUTC":1730000000001,"serviceType":"DYNAMIC","uriSpec":null}`
	goInstance   = `{"name":"inventory","id":"10.0.0.2:20001","address":"10.0.0.2","port":20001,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.0.0.2:20001","metadata":{"dubbo.endpoints":"[{\"port\":20001,\"protocol\":\"tri\"}]","dubbo.metadata.revision":"77","registry.id":"zk"},"name":"inventory"},"registrationTimeUTC":0,"tag":""}`
)

func TestDecodeInstance(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Instance{
		javaInstance:                         {App: "inventory", Host: "10.0.0.1", Revision: "0f3a", Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20880}, {Protocol: "tri", Port: 50051}}},
		goInstance:                           {App: "inventory", Host: "10.0.0.2", Revision: "77", Endpoints: []registry.Endpoint{{Protocol: "tri", Port: 20001}}},
		`{"address":"10.0.0.3","port":8080}`: {App: "inventory", Host: "10.0.0.3", Endpoints: []registry.Endpoint{{Port: 8080}}},
	} {
		if got, err := decodeInstance("inventory", []byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`7`:                                    "no JSON",
		`{"port":1,"payload":{"metadata":{}}}`: "no address",
		`{"address":"10.0.0.1","payload":{"metadata":{"dubbo.endpoints":"[{\"port\":0}]"}}}`: "port 0",
	} {
		if _, err := decodeInstance("inventory", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDecodeConsumer(t *testing.T) {
	t.Parallel()
	got, err := decodeConsumer(url.QueryEscape("consumer://10.0.0.9/org.example.Stock?application=orders&category=consumers&interface=org.example.Stock&side=consumer&version=1.0.0"))
	want := Consumer{Interface: registry.Interface{Name: "org.example.Stock", Version: "1.0.0"}, App: "orders", Host: "10.0.0.9"}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	// Dubbo Java 3 writes the protocol there that the reference names.
	got, err = decodeConsumer(url.QueryEscape("dubbo://10.0.0.9/org.example.Stock?application=orders&background=false&category=consumers&check=false&dubbo=2.0.2&interface=org.example.Stock&methods=get&pid=1&protocol=dubbo&provided-by=inventory&release=3.3.6&revision=app&side=consumer&sticky=false&timestamp=1796006796022&unloadClusterRelated=false&version=1.0.0"))
	if err != nil || got != want {
		t.Errorf("of a reference that names its protocol: %+v, %v", got, err)
	}
	if _, err := decodeConsumer(url.QueryEscape("dubbo://10.0.0.9:1/x?a=b")); err == nil {
		t.Error("a provider counts as a consumer")
	}
}

func FuzzNodes(f *testing.F) {
	f.Add(url.QueryEscape("dubbo://10.0.0.1:20880/org.example.Stock?application=inventory&weight=50"))
	f.Add(javaInstance)
	f.Add(goInstance)
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := decodeProvider(text); err == nil && (p.Name == "" || p.Host == "" || p.Port == 0 || p.Weight < 0) {
			t.Errorf("%+v", p)
		}
		_, _ = decodeConsumer(text)
		if i, err := decodeInstance("a", []byte(text)); err == nil && i.Host == "" {
			t.Errorf("%+v", i)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"zk":                       "zk:2181",
		"zookeeper://a:1, b ,":     "a:1,b:2181",
		"[fd00::1]:2182,[fd00::2]": "[fd00::1]:2182,[fd00::2]:2181",
	} {
		if c, err := (Config{Servers: text}).withDefaults(); err != nil || c.Servers != want || c.Interfaces != "/dubbo" || c.Applications != "/services" {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
	for want, c := range map[string]Config{
		"it is empty":         {},
		"only hosts":          {Servers: "zk:2181/chroot"},
		"a host or a port":    {Servers: ":2181"},
		"write them as user:": {Servers: "zk", Auth: "secret"},
	} {
		if err := c.Validate(); registry.CodeOf(err) != registry.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
