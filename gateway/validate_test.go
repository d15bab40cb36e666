package gateway_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// good are routes that use every field there is.
const good = `[
{
	"namespace": "shop", "name": "cart", "priority": 10,
	"match": {
		"host": ["shop.example.com", "*.shop.example.com", "[::1]", "127.0.0.1"],
		"path": "/shop/cart/{id}", "method": ["GET", "PUT"],
		"header": [{"name": "X-A", "equals": "1"}, {"name": "X-B", "regex": "^v[0-9]+$"}, {"name": "X-C", "present": true}, {"name": "X-D", "absent": true}]
	},
	"filters": [
		{"stripPrefix": 1}, {"addPrefix": "/v1"}, {"setPath": "/carts/{id}"}, {"rewrite": {"regex": "^/old/(.*)", "with": "/$1"}},
		{"requestHeaders": {"remove": ["X-Secret"], "set": {"X-Route": "cart"}, "add": {"Via": "weir"}}},
		{"responseHeaders": {"set": {"X-Served-By": "weir"}}},
		{"hostHeader": "upstream"},
		{"timeout": {"total": "2s", "perTry": "800ms", "idle": "1m"}},
		{"retry": {"attempts": 2, "on": ["connect", 503], "methods": "POST", "budgetPercent": 10}},
		{"breaker": {"window": "10s", "minCalls": 20, "errorPercent": 50, "openFor": "5s", "probes": 3, "concurrent": 100}},
		{"fallback": {"status": 200, "headers": {"X-Degraded": "yes"}, "body": {"items": [], "degraded": true}, "on5xx": true}},
		{"bodyLimit": 1048576}
	],
	"upstream": {"app": "shop/storefront", "port": "http", "balance": "roundRobin", "protocol": "http1"},
	"disabled": true
},
{"namespace": "shop", "name": "static.v1_x", "match": {"host": "a_b.example.com", "path": "/static/{rest...}", "method": "GET"}, "upstream": {"url": "https://[2001:db8::1]:8443/base"}},
{"namespace": "shop", "name": "all", "match": {}, "upstream": {"url": "http://127.0.0.1:8080"}},
{
	"namespace": "shop", "name": "reserve", "match": {"path": "/shop/stock/{sku}/reserve", "method": "POST"},
	"upstream": {"dubbo": {
		"app": "shop/inventory", "interface": "org.example.shop.InventoryService", "group": "g", "version": "1.0.0", "method": "reserve",
		"args": [
			{"type": "java.lang.String", "from": "path.sku"}, {"type": "int", "from": "body.count", "default": 1},
			{"type": "java.util.Map<java.lang.String, java.util.List<? extends org.example.A$B[]>>", "from": "body"},
			{"type": "byte[]", "from": "query.q", "optional": true}
		],
		"attachments": {"tenant": "header.X-Tenant"}, "bigNumbersAsStrings": true
	}}
},
{
	"namespace": "shop", "name": "idl", "match": {"path": "/idl/{sku}"},
	"filters": [{"timeout": {"total": "1s"}}, {"responseHeaders": {"remove": ["X"]}}],
	"upstream": {"dubbo": {"app": "shop/inventory", "interface": "org.example.InventoryService", "method": "Reserve", "message": {"body": true, "fields": {"sku": "path.sku"}}}}
}
]`

func TestGoodRoutes(t *testing.T) {
	routes, err := gateway.DecodeRoutes([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", r.Key(), err)
		}
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := gateway.DecodeRoutes(raw)
		if err != nil {
			t.Fatalf("%s cannot be read back: %v", r.Key(), err)
		}
		if twice, err := json.Marshal(again[0]); err != nil || !bytes.Equal(twice, raw) {
			t.Errorf("%s changes when it is written and read:\n%s\n%s", r.Key(), raw, twice)
		}
	}
}

func TestBadRoutes(t *testing.T) {
	const ok = `"namespace":"shop","name":"x"`
	for _, c := range []struct{ doc, field, says string }{
		{`{"name":"x","match":{},"upstream":{"app":"a/b"}}`, "namespace", "no namespace"},
		{`{"namespace":"shop","name":"X Y","match":{},"upstream":{"app":"a/b"}}`, "name", "no name"},
		{`{"namespace":"shop","name":"..","match":{},"upstream":{"app":"a/b"}}`, "name", "no name"},
		{`{` + ok + `,"match":{}}`, "upstream", "missing"},
		{`{` + ok + `,"match":{},"priority":99999999,"upstream":{"app":"a/b"}}`, "priority", "between"},
		{`{` + ok + `,"match":{"host":"*"},"upstream":{"app":"a/b"}}`, "match.host", "leave host out"},
		{`{` + ok + `,"match":{"host":["a","http://b"]},"upstream":{"app":"a/b"}}`, "match.host[1]", "no host name"},
		{`{` + ok + `,"match":{"host":["A.b","a.b."]},"upstream":{"app":"a/b"}}`, "match.host[1]", "twice"},
		{`{` + ok + `,"match":{"path":"/{x"},"upstream":{"app":"a/b"}}`, "match.path", "whole segment"},
		{`{` + ok + `,"match":{"method":"get"},"upstream":{"app":"a/b"}}`, "match.method", "write GET"},
		{`{` + ok + `,"match":{"method":["GET","G T"]},"upstream":{"app":"a/b"}}`, "match.method[1]", "no method"},
		{`{` + ok + `,"match":{"header":[{"name":"Host","present":true}]},"upstream":{"app":"a/b"}}`, "match.header[0].name", "match.host"},
		{`{` + ok + `,"match":{"header":[{"name":"X"}]},"upstream":{"app":"a/b"}}`, "match.header[0]", "give one"},
		{`{` + ok + `,"match":{"header":[{"name":"X","regex":"("}]},"upstream":{"app":"a/b"}}`, "match.header[0].regex", "RE2"},
		{`{` + ok + `,"match":{},"filters":[{}],"upstream":{"app":"a/b"}}`, "filters[0]", "says nothing"},
		{`{` + ok + `,"match":{},"filters":[{"stripPrefix":1,"addPrefix":"/x"}],"upstream":{"app":"a/b"}}`, "filters[0]", "stripPrefix and addPrefix"},
		{`{` + ok + `,"match":{},"filters":[{"bodyLimit":1},{"bodyLimit":2}],"upstream":{"app":"a/b"}}`, "filters[1].bodyLimit", "filters[0] already"},
		{`{` + ok + `,"match":{},"filters":[{"stripPrefix":0}],"upstream":{"app":"a/b"}}`, "filters[0].stripPrefix", "between"},
		{`{` + ok + `,"match":{},"filters":[{"addPrefix":"x"}],"upstream":{"app":"a/b"}}`, "filters[0].addPrefix", "slash"},
		{`{` + ok + `,"match":{},"filters":[{"addPrefix":"/../x"}],"upstream":{"app":"a/b"}}`, "filters[0].addPrefix", "segment"},
		{`{` + ok + `,"match":{"path":"/{id}"},"filters":[{"setPath":"/{ID}"}],"upstream":{"app":"a/b"}}`, "filters[0].setPath", "it has id"},
		{`{` + ok + `,"match":{},"filters":[{"rewrite":{"regex":"["}}],"upstream":{"app":"a/b"}}`, "filters[0].rewrite.regex", "RE2"},
		{`{` + ok + `,"match":{},"filters":[{"requestHeaders":{"set":{"A b":"x"}}}],"upstream":{"app":"a/b"}}`, "filters[0].requestHeaders.set", "no name"},
		{`{` + ok + `,"match":{},"filters":[{"requestHeaders":{"set":{"A":"x\r\nB: y"}}}],"upstream":{"app":"a/b"}}`, "filters[0].requestHeaders.set", "control"},
		{`{` + ok + `,"match":{},"filters":[{"requestHeaders":{"remove":["Connection"]}}],"upstream":{"app":"a/b"}}`, "filters[0].requestHeaders.remove[0]", "connection"},
		{`{` + ok + `,"match":{},"filters":[{"responseHeaders":{}}],"upstream":{"app":"a/b"}}`, "filters[0].responseHeaders", "says nothing"},
		{`{` + ok + `,"match":{},"filters":[{"hostHeader":"a b"}],"upstream":{"app":"a/b"}}`, "filters[0].hostHeader", "host name"},
		{`{` + ok + `,"match":{},"filters":[{"timeout":{"total":"1s","perTry":"2s"}}],"upstream":{"app":"a/b"}}`, "filters[0].timeout.perTry", "longer than the total"},
		{`{` + ok + `,"match":{},"filters":[{"timeout":{"total":"-1s"}}],"upstream":{"app":"a/b"}}`, "filters[0].timeout.total", "between"},
		{`{` + ok + `,"match":{},"filters":[{"stripPrefix":1},{"retry":{"attempts":11}}],"upstream":{"app":"a/b"}}`, "filters[1].retry.attempts", "11 is not between 1 and 10"},
		{`{` + ok + `,"match":{},"filters":[{"retry":{"attempts":2,"on":["connect","200"]}}],"upstream":{"app":"a/b"}}`, "filters[0].retry.on[1]", "neither"},
		{`{` + ok + `,"match":{},"filters":[{"breaker":{"errorPercent":101}}],"upstream":{"app":"a/b"}}`, "filters[0].breaker.errorPercent", "between"},
		{`{` + ok + `,"match":{},"filters":[{"fallback":{"status":99}}],"upstream":{"app":"a/b"}}`, "filters[0].fallback.status", "between"},
		{`{` + ok + `,"match":{},"filters":[{"bodyLimit":-1}],"upstream":{"app":"a/b"}}`, "filters[0].bodyLimit", "between"},
		{`{` + ok + `,"match":{},"upstream":{"app":"inventory"}}`, "upstream.app", "namespace/name"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","url":"http://x"}}`, "upstream", "give one"},
		{`{` + ok + `,"match":{},"upstream":{"url":"ftp://x"}}`, "upstream.url", "no address"},
		{`{` + ok + `,"match":{},"upstream":{"url":"http://u:p@x"}}`, "upstream.url", "password"},
		{`{` + ok + `,"match":{},"upstream":{"url":"http://x:99999"}}`, "upstream.url", "no host"},
		{`{` + ok + `,"match":{},"upstream":{"url":"http://x?a=b"}}`, "upstream.url", "query"},
		{`{` + ok + `,"match":{},"upstream":{"url":"https://x","protocol":"h2c"}}`, "upstream.protocol", "without TLS"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","tls":{}}}`, "upstream.tls", "is empty"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","protocol":"h2c","tls":{"serverName":"x"}}}`, "upstream.tls", "protocol is h2c"},
		{`{` + ok + `,"match":{},"upstream":{"url":"http://x","tls":{"serverName":"x"}}}`, "upstream.tls", "the URL says http"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m"},"tls":{"serverName":"x"}}}`, "upstream.tls", "Dubbo provider"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","tls":{"serverName":"https://x"}}}`, "upstream.tls.serverName", "no host"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","tls":{"ca":"x"}}}`, "upstream.tls.ca", "no certificate"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","tls":{"ca":"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"}}}`, "upstream.tls.ca", "PRIVATE KEY"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","tls":{"ca":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}}}`, "upstream.tls.ca", "certificate 1 cannot be read"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","tls":{"ca":"-----BEGIN CERTIFICATE-----\nA"}}}`, "upstream.tls.ca", "1 of its 1 blocks in PEM cannot be read"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","port":"70000"}}`, "upstream.port", "between"},
		{`{` + ok + `,"match":{},"upstream":{"app":"a/b","balance":"magic"}}`, "upstream.balance", "none of"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"X","method":"m"}}}`, "upstream.dubbo.interface", "full name"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m m"}}}`, "upstream.dubbo.method", "no name"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m","args":[{"type":"List<","from":"body"}]}}}`, "upstream.dubbo.args[0].type", "no Java type"},
		{`{` + ok + `,"match":{"path":"/{sku}"},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m","args":[{"type":"int","from":"path.id"}]}}}`, "upstream.dubbo.args[0].from", "it has sku"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m","args":[{"type":"int","from":"cookie.id"}]}}}`, "upstream.dubbo.args[0].from", "none of path.NAME"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m","args":[{"type":"int","from":"body"}],"message":{"body":true}}}}`, "upstream.dubbo", "both"},
		{`{` + ok + `,"match":{},"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m","attachments":{"t":"body"}}}}`, "upstream.dubbo.attachments.t", "no header"},
		{`{` + ok + `,"match":{},"filters":[{"stripPrefix":1}],"upstream":{"dubbo":{"app":"a/b","interface":"x.Y","method":"m"}}}`, "filters[0].stripPrefix", "no path"},
	} {
		routes, err := gateway.DecodeRoutes([]byte(c.doc))
		if err != nil {
			t.Errorf("%s: %v", c.doc, err)
			continue
		}
		err = routes[0].Validate()
		problems := gateway.Problems(err)
		if len(problems) != 1 || problems[0].Field != c.field || !strings.Contains(problems[0].Message, c.says) || gateway.CodeOf(err) != gateway.Invalid {
			t.Errorf("%s:\n got %v\nwant %s: …%s…", c.doc, err, c.field, c.says)
		}
	}
}

func TestValidateSaysEverythingAtOnce(t *testing.T) {
	attempts := 0
	err := gateway.Route{
		Namespace: "Shop", Name: "",
		Match:   gateway.Match{Path: "cart"},
		Filters: []gateway.Filter{{Retry: &gateway.Retry{Attempts: attempts}}},
	}.Validate()
	var fields []string
	for _, p := range gateway.Problems(err) {
		fields = append(fields, p.Field)
	}
	if got, want := strings.Join(fields, " "), "namespace name match.path filters[0].retry.attempts upstream"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{``, "gateway: the document is empty"},
		{`{"namespace":"a"`, "gateway: the document is no JSON: it ends too early"},
		{"{\n\"a\":\n]", "gateway: the document is no JSON: line 3: invalid character ']' looking for beginning of value"},
		{`{} {}`, "gateway: the document is no JSON: line 1: something follows after its end"},
		{"{\"name\":\"\xff\"}", "gateway: the document is no UTF-8"},
		{`"x"`, `gateway: "x" is no object of named fields`},
		{`{"namme":"x"}`, "gateway: namme: is no field: did you mean name?"},
		{`{"Name":"x"}`, "gateway: Name: is no field: write name"},
		{`{"name":"x","name":"y"}`, "gateway: name: is given twice"},
		{`{"name":7}`, "gateway: name: 7 is no string: put it in quotes"},
		{`{"priority":1.5}`, "gateway: priority: 1.5 is no whole number in range"},
		{`{"disabled":"no"}`, `gateway: disabled: "no" is no true or false`},
		{`{"filters":{"retry":{}}}`, `gateway: filters: {"retry":{}} is no list`},
		{`{"filters":[{"stripPrefix":1},{"retry":{"atempts":2}}]}`, "gateway: filters[1].retry.atempts: is no field: did you mean attempts?"},
		{`{"filters":[{"timeout":{"total":5}}]}`, "gateway: filters[0].timeout.total: 5 is no duration: write a number with its unit, such as \"800ms\" or \"10s\""},
		{`{"match":{"host":{}}}`, "gateway: match.host: {} is neither a string nor a list of strings"},
		{`[{"name":"a"},{"match":{"pth":"/"}}]`, "gateway: [1].match.pth: is no field: did you mean path?"},
		{`{"weird":1}`, "gateway: weird: is no field: there are namespace, name, priority, match, filters, upstream, disabled"},
	} {
		_, err := gateway.DecodeRoutes([]byte(c.doc))
		if err == nil || err.Error() != c.want || gateway.CodeOf(err) != gateway.Invalid {
			t.Errorf("%s\n got %v\nwant %s", c.doc, err, c.want)
		}
	}
	_, err := gateway.DecodeRoutes([]byte(`{"x":1,"name":2,"match":{"y":3}}`))
	if got := len(gateway.Problems(err)); got != 3 {
		t.Errorf("%d problems, want all 3: %v", got, err)
	}
}

// FuzzDecodeRoutes: whatever is read and valid can be written and read again, and
// what is wrong is always Invalid.
func FuzzDecodeRoutes(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"namespace":"shop","name":"x","match":{"path":"/{a}","method":"GET"},"upstream":{"url":"http://x"}}`))
	f.Add([]byte(`{"filters":[{"fallback":{"status":200,"body":null}}],"match":{"header":[{"name":"a","equals":"b"}]}}`))
	f.Add([]byte(`[null,{"upstream":{"dubbo":{"args":[{"default":1e999,"type":"a<b,?>[]"}]}}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		routes, err := gateway.DecodeRoutes(data)
		if err != nil {
			if gateway.CodeOf(err) != gateway.Invalid {
				t.Fatalf("code %s: %v", gateway.CodeOf(err), err)
			}
			return
		}
		for _, r := range routes {
			if err := r.Validate(); err != nil {
				if gateway.CodeOf(err) != gateway.Invalid {
					t.Fatalf("code %s: %v", gateway.CodeOf(err), err)
				}
				continue
			}
			raw, err := json.Marshal(r)
			if err != nil {
				t.Fatalf("a valid route cannot be written: %v", err)
			}
			again, err := gateway.DecodeRoutes(raw)
			if err != nil {
				t.Fatalf("%s cannot be read back: %v", raw, err)
			}
			if err := again[0].Validate(); err != nil {
				t.Fatalf("%s is no longer valid: %v", raw, err)
			}
			if twice, err := json.Marshal(again[0]); err != nil || !bytes.Equal(twice, raw) {
				t.Fatalf("written twice:\n%s\n%s\n%v", raw, twice, err)
			}
			if _, err := r.Alternatives(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOrderOfAlternatives(t *testing.T) {
	// Each is tried before all that follow it.
	var ordered []gateway.Alternative
	for i, m := range []struct {
		priority int
		match    gateway.Match
	}{
		{5, gateway.Match{}},
		{0, gateway.Match{Host: gateway.Strings{"a.example.com"}}},
		{0, gateway.Match{Host: gateway.Strings{"*.a.example.com"}}},
		{0, gateway.Match{Host: gateway.Strings{"*.example.com"}, Path: "/a/b"}},
		{0, gateway.Match{Host: gateway.Strings{"*.example.com"}, Path: "/a"}},
		{0, gateway.Match{Path: "/a/{x}", Method: gateway.Strings{"GET"}, Header: []gateway.HeaderMatch{{Name: "X"}}}},
		{0, gateway.Match{Path: "/a/{x}", Method: gateway.Strings{"GET"}}},
		{0, gateway.Match{Path: "/a/{x}", Header: []gateway.HeaderMatch{{Name: "X"}}}},
		{0, gateway.Match{Path: "/a/{x}"}},
		{0, gateway.Match{Path: "/a/{y}"}},
		{0, gateway.Match{Path: "/{rest...}"}},
		{0, gateway.Match{}},
		{-1, gateway.Match{Path: "/a"}},
	} {
		r := gateway.Route{Namespace: "n", Name: string(rune('a' + i)), Priority: m.priority, Match: m.match}
		alternatives, err := r.Alternatives()
		if err != nil {
			t.Fatal(err)
		}
		ordered = append(ordered, alternatives...)
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if c := a.Compare(b); c < 0 != (i < j) || c == 0 != (i == j) {
				t.Errorf("%d and %d compare as %d", i, j, c)
			}
		}
	}
}

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		entry, host string
		want        bool
	}{
		{"", "anything", true}, {"shop.example.com", "Shop.Example.com:8080", true}, {"Shop.example.com.", "shop.example.com", true},
		{"*.example.com", "a.b.example.com", true}, {"*.example.com", "example.com", false}, {"*.example.com", "badexample.com", false},
		{"[::1]", "[::1]:8080", true}, {"[::1]", "[::1]", true}, {"a", "b", false},
	} {
		if got := gateway.HostTakes(c.entry, gateway.NormalHost(c.host)); got != c.want {
			t.Errorf("%q takes %q: %t", c.entry, c.host, got)
		}
	}
}

func TestChecksumFollowsTheSet(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 123456789, time.UTC)
	a := gateway.Version{Route: gateway.Route{Namespace: "n", Name: "a"}, Revision: 1, Created: at}
	b := gateway.Version{Route: gateway.Route{Namespace: "n", Name: "b"}, Revision: 2, Created: at}
	gone := gateway.Version{Route: gateway.Route{Namespace: "n", Name: "c"}, Revision: 3, Created: at, Deleted: true}
	if gateway.Checksum([]gateway.Version{a, b, gone}) != gateway.Checksum([]gateway.Version{b, a}) {
		t.Error("order or tombstones count")
	}
	stored := a
	stored.Created = at.Truncate(time.Microsecond).In(time.FixedZone("x", 3600))
	if gateway.Checksum([]gateway.Version{a}) != gateway.Checksum([]gateway.Version{stored}) {
		t.Error("a store's resolution of time, or its zone, counts")
	}
	for name, change := range map[string]func(*gateway.Version){
		"revision":  func(v *gateway.Version) { v.Revision++ },
		"time":      func(v *gateway.Version) { v.Created = v.Created.Add(time.Microsecond) },
		"name":      func(v *gateway.Version) { v.Route.Name = "x" },
		"namespace": func(v *gateway.Version) { v.Route.Namespace = "x" },
	} {
		other := a
		change(&other)
		if gateway.Checksum([]gateway.Version{a}) == gateway.Checksum([]gateway.Version{other}) {
			t.Errorf("another %s does not count", name)
		}
	}
	var s gateway.Sum
	s.Toggle(a)
	s.Toggle(b)
	s.Toggle(a)
	if s.String() != gateway.Checksum([]gateway.Version{b}) {
		t.Error("taking away is not the opposite of adding")
	}
}

func TestChangeNeedsWhoAndWhy(t *testing.T) {
	for _, c := range []gateway.Change{
		{Actor: "user:a"}, {Reason: "why"}, {Actor: "user:a", Reason: " "}, {Actor: "user:a", Reason: "a\x00b"},
		{Actor: "user:a", Reason: strings.Repeat("x", gateway.MaxReason+1)}, {Actor: "user:\xff", Reason: "x"},
	} {
		if err := c.Validate(); gateway.CodeOf(err) != gateway.Invalid {
			t.Errorf("%+v is taken: %v", c, err)
		}
	}
	if err := (gateway.Change{Actor: "user:a", Reason: "INC-1: 仓库"}).Validate(); err != nil {
		t.Error(err)
	}
}
