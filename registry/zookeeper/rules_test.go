package zookeeper

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirmesh/weir/internal/testzk"
)

// As Dubbo Admin and Dubbo 2 write them.
const (
	override  = "override://0.0.0.0/org.example.Stock?application=orders&category=configurators&dynamic=false&enabled=true&weight=200"
	switchOff = "override://10.0.0.1:20880/org.example.Stock?category=configurators&disabled=true&dynamic=false&enabled=true"
	condition = "condition://0.0.0.0/org.example.Stock?category=routers&dynamic=false&enabled=true&force=true&name=no%20blue&priority=1&router=condition&rule=host+%3D+10.0.0.9+%3D%3E+host+%3D+10.0.0.1&runtime=false"
)

func TestRulesOfDubbo2(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		override:  "configurators org.example.Stock override application=orders weight=200",
		switchOff: "configurators org.example.Stock override for 10.0.0.1:20880: disabled=true",
		condition: "routers org.example.Stock condition rule=host = 10.0.0.9 => host = 10.0.0.1",
		strings.Replace(override, "enabled=true", "enabled=false", 1):                                                   "",
		"empty://0.0.0.0/org.example.Stock?category=configurators":                                                      "",
		"override://0.0.0.0/org.example.Stock?category=configurators&dynamic=false&enabled=true&compatible_config=true": "",
	} {
		kind := "configurators"
		if strings.HasPrefix(text, "condition") {
			kind = "routers"
		}
		r, err := decodeURLRule(kind, url.QueryEscape(text))
		if got := strings.TrimSpace(fmt.Sprint(r.Kind, " ", r.Interface, " ", r.Says)); got != want || (want == "") != errors.Is(err, errNoRule) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestRulesOfTheConfigurationCentre(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, content, want string }{
		{"inventory.tag-router", "enabled: true\ntags:\n- name: gray\n  addresses: [10.0.0.1:20880]\n", "tag-router inventory  enabled: true tags: - name: gray addresses: [10.0.0.1:20880]"},
		{"org.example.Stock:1.0.0:b.configurators", "configVersion: v2.7\nenabled: true\nscope: service\n", "configurators  org.example.Stock configVersion: v2.7 enabled: true scope: service"},
		{"org.example.Stock::.condition-router", "conditions: []", "condition-router  org.example.Stock conditions: []"},
		{"b*org.example.Stock:1.0.0.configurators", "scope: service", "configurators  org.example.Stock scope: service"},
		{"org.example.Stock.script-router", "scope: service\nscript: x", "script-router  org.example.Stock scope: service script: x"},
		{"inventory.condition-router", "enabled: false\nconditions: [a => b]", ""},
		{"inventory.condition-router", " \n", ""},
		{"dubbo.properties", "a=b", ""},
		{".tag-router", "a", ""},
	} {
		r, err := decodeCentreRule(c.key, []byte(c.content))
		got := fmt.Sprint(r.Kind, " ", r.App, " ", r.Interface, " ", r.Says)
		if strings.TrimSpace(got) != c.want || (c.want == "") != errors.Is(err, errNoRule) {
			t.Errorf("%s: %q, %v", c.key, got, err)
		}
	}
	if r, err := decodeCentreRule("a.tag-router", []byte(strings.Repeat("ä", maxSaid))); err != nil || !utf8.ValidString(r.Says) || len(r.Says) > maxSaid+len("…") {
		t.Errorf("%q, %v", r.Says, err)
	}
}

func TestRulesAreOfThoseWhomTheyAreFor(t *testing.T) {
	t.Parallel()
	server := testzk.Start(t)
	c := dial(t, Config{Servers: server.Address(), Interfaces: server.Root(t)})
	root := c.cfg.Interfaces
	c.provide(t, "org.example.Stock", "dubbo://10.0.0.1:20000/org.example.Stock?application=inventory&interface=org.example.Stock&version=1.0.0")
	c.provide(t, "org.example.Other", "dubbo://10.0.0.2:20000/org.example.Other?application=other&interface=org.example.Other")
	c.put(t, root+"/org.example.Stock/configurators/"+url.QueryEscape(override), "", 0)
	c.put(t, root+"/org.example.Stock/routers/nonsense", "", 0)
	c.put(t, root+"/config/dubbo/inventory.tag-router", "tags: []", 0)
	c.put(t, root+"/config/dubbo/orders.condition-router", "conditions: []", 0)
	state, err := c.Read(within(t))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range state.Apps["inventory"].Rules {
		kinds = append(kinds, r.Kind)
	}
	if got := fmt.Sprint(kinds); got != "[tag-router configurators routers]" || len(state.Apps["other"].Rules) > 0 {
		t.Errorf("inventory has %s, other %v", got, state.Apps["other"].Rules)
	}
	if len(state.Rules) != 1 || state.Rules[0].App != "orders" {
		t.Errorf("nobody's are %+v", state.Rules)
	}
	d := Compare(inventory, state.Apps["inventory"], nil, kubernetes(1))
	if d.Verdict != Ready || len(d.Rules) != 3 || !strings.Contains(d.Why, "rules that hold in ZooKeeper alone: 3") {
		t.Errorf("%s: %s, %v", d.Verdict, d.Why, d.Rules)
	}
}

func FuzzRules(f *testing.F) {
	f.Add(url.QueryEscape(override), "inventory.tag-router", "enabled: true")
	f.Add(url.QueryEscape(condition), "org.example.Stock::.configurators", "scope: service")
	f.Fuzz(func(t *testing.T, node, key, content string) {
		if r, err := decodeURLRule("routers", node); err == nil && (r.Says == "" || len(r.Says) > maxSaid+len("…")) {
			t.Errorf("%+v", r)
		}
		if r, err := decodeCentreRule(key, []byte(content)); err == nil && (r.Says == "" || (r.App == "") == (r.Interface == "")) {
			t.Errorf("%+v", r)
		}
	})
}
