package dubboconfig

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirmesh/weir/governance"
)

var (
	restock   = governance.App{Namespace: "shop", Name: "restock"}
	inventory = governance.App{Namespace: "shop", Name: "inventory"}
	now       = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
)

// policy is one for calls of inventory's method reserve, or what edit makes of it.
func policy(version int64, edit func(*governance.Policy)) governance.Version {
	p := governance.Policy{Target: governance.Target{App: inventory, Command: "InventoryService.reserve", At: governance.Caller}}
	edit(&p)
	return governance.Version{Policy: p.WithDefaults(), Version: version}
}

func forced(fallback *governance.Fallback) func(*governance.Policy) {
	return func(p *governance.Policy) {
		p.Kind, p.Breaker, p.Fallback = governance.KindSwitch, &governance.Breaker{Mode: governance.ModeForcedOpen}, fallback
	}
}

// parameters are those of a document's items, by what they hold for, as a reader of
// YAML sees them.
func parameters(t *testing.T, d document) map[string]string {
	t.Helper()
	out := map[string]string{}
	if d.content == "" {
		return out
	}
	var rule struct {
		ConfigVersion, Scope, Key string
		Enabled                   bool
		Configs                   []struct {
			Side  string
			Match struct {
				Param []struct {
					Key   string
					Value map[string]string
				}
				Service struct{ Oneof []map[string]string }
			}
			Parameters map[string]string
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(strings.ReplaceAll(d.content, "configVersion", "configversion")))
	dec.KnownFields(true)
	if err := dec.Decode(&rule); err != nil {
		t.Fatalf("%v in\n%s", err, d.content)
	}
	if rule.ConfigVersion != "v3.0" || rule.Scope != "application" || rule.Key != "restock" || !rule.Enabled {
		t.Errorf("the rule is %+v", rule)
	}
	for _, c := range rule.Configs {
		if c.Side != "consumer" || len(c.Match.Param) != 1 || c.Match.Param[0].Key != "provided-by" {
			t.Errorf("an item is %+v", c)
		}
		maps.Copy(out, c.Parameters)
	}
	return out
}

func TestPoliciesBecomeOverrides(t *testing.T) {
	t.Parallel()
	value := func(text string) *governance.Fallback { return &governance.Fallback{Value: json.RawMessage(text)} }
	whole := func(p *governance.Policy) { p.Target.Command = "" }
	for name, c := range map[string]struct {
		policies []governance.Version
		want     map[string]string
		unmet    string
	}{
		"nothing is said where there is nothing to say": {nil, map[string]string{}, ""},
		"a switch that says nothing of the answer":      {[]governance.Version{policy(1, forced(nil))}, map[string]string{"reserve.mock": "force:throw"}, ""},
		"an answer in JSON":                             {[]governance.Version{policy(1, forced(value(`{"reserved": false}`)))}, map[string]string{"reserve.mock": "force:return%20%7B%22reserved%22%3Afalse%7D"}, ""},
		"a text": {
			[]governance.Version{policy(1, forced(value(`"a & b = \"c\" 100% +"`)))},
			map[string]string{"reserve.mock": "force:return%20%22a%20%26%20b%20%3D%20%22c%22%20100%25%20%2B%22"}, "",
		},
		"a text that cannot be carried": {
			[]governance.Version{policy(1, forced(value("\"a `b`\"")))}, map[string]string{"reserve.mock": "force:throw"}, "backquote",
		},
		"a backquote within JSON": {
			[]governance.Version{policy(1, forced(value("{\"a\":\"`\"}")))}, map[string]string{"reserve.mock": "force:return%20%7B%22a%22%3A%22%5Cu0060%22%7D"}, "",
		},
		"the zero value":    {[]governance.Version{policy(1, forced(&governance.Fallback{Empty: true}))}, map[string]string{"reserve.mock": "force:return%20null"}, ""},
		"an error":          {[]governance.Version{policy(1, forced(&governance.Fallback{Error: "closed"}))}, map[string]string{"reserve.mock": "force:throw"}, "fallback.error"},
		"the last good one": {[]governance.Version{policy(1, forced(&governance.Fallback{Cached: &governance.Cached{MaxAge: 1}}))}, map[string]string{"reserve.mock": "force:throw"}, "fallback.cached"},
		"or else one":       {[]governance.Version{policy(1, forced(&governance.Fallback{Cached: &governance.Cached{MaxAge: 1}, Else: value("1")}))}, map[string]string{"reserve.mock": "force:return%201"}, "fallback.cached"},
		"a timeout":         {[]governance.Version{policy(1, func(p *governance.Policy) { p.Timeout = governance.Duration(800 * time.Millisecond) })}, map[string]string{"reserve.timeout": "800"}, ""},
		"an answer for what fails": {
			[]governance.Version{policy(1, func(p *governance.Policy) { p.Fallback = value("3") })}, map[string]string{"reserve.mock": "fail:return%203"}, "",
		},
		"what Dubbo has not": {
			[]governance.Version{policy(1, func(p *governance.Policy) {
				p.Breaker, p.Bulkhead = &governance.Breaker{ErrorPercent: 50}, &governance.Bulkhead{Concurrent: 3}
			})}, map[string]string{}, "breaker: Dubbo Java has no circuit breaker that counts; it can be forced open; bulkhead",
		},
		"a circuit that is forced closed, which there is none of": {
			[]governance.Version{policy(1, func(p *governance.Policy) { p.Breaker = &governance.Breaker{Mode: governance.ModeForcedClosed} })}, map[string]string{}, "",
		},
		"all commands but one": {
			[]governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Kind = ""; whole(p) }), policy(2, func(p *governance.Policy) {
				p.Breaker = &governance.Breaker{Mode: governance.ModeAuto}
			})}, map[string]string{"mock": "force:throw", "reserve.mock": "false"}, "",
		},
		"a command that is no method": {
			[]governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Target.Command = "GET /cart" })}, map[string]string{}, "target.command",
		},
		"another caller's": {
			[]governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Target.From = []governance.App{inventory} })}, map[string]string{}, "",
		},
		"one at the provider": {
			[]governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Target.At = governance.Provider })}, map[string]string{}, "",
		},
		"one that has expired": {
			[]governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Expires = now })}, map[string]string{}, "",
		},
		"one of another namespace": {
			[]governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Target.App.Namespace, p.Namespace = "bank", "" })}, map[string]string{}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := write(restock, c.policies, now)
			got := parameters(t, d)
			if len(got) != len(c.want) {
				t.Errorf("want %v, got %v", c.want, got)
			}
			for k, v := range c.want {
				if got[k] != v {
					t.Errorf("want %s %q, got %q", k, v, got[k])
				}
			}
			var b strings.Builder
			for _, u := range d.unmet {
				b.WriteString(u.Reason)
			}
			said := b.String()
			if c.unmet == "" && said != "" || !strings.Contains(said, c.unmet) {
				t.Errorf("want it to say that %q is unmet, it says %q", c.unmet, said)
			}
			if (d.hash == "") != (d.content == "") {
				t.Errorf("the hash of %q is %q", d.content, d.hash)
			}
		})
	}
}

// A document that expires says when, and is another one then.
func TestADocumentChangesWhenAPolicyExpires(t *testing.T) {
	t.Parallel()
	soon := now.Add(time.Minute)
	policies := []governance.Version{policy(1, func(p *governance.Policy) { forced(nil)(p); p.Expires = soon })}
	d := write(restock, policies, now)
	if !d.until.Equal(soon) || d.content == "" {
		t.Errorf("it holds until %v: %q", d.until, d.content)
	}
	if d = write(restock, policies, soon); d.content != "" {
		t.Errorf("after that it is %q", d.content)
	}
}

// The whole of a document, as real clients of Dubbo 3.2 and 3.3 obeyed it.
func TestTheDocumentIsWhatRealClientsObeyed(t *testing.T) {
	t.Parallel()
	d := write(restock, []governance.Version{
		policy(1, forced(&governance.Fallback{Value: json.RawMessage(`{"ok":false}`)})),
		policy(2, func(p *governance.Policy) { p.Target.Command, p.Timeout = "", governance.Duration(time.Second) }),
	}, now)
	file := filepath.Join("testdata", "restock.yaml")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d.content != string(want) {
		t.Errorf("%s is\n%s, the document\n%s", file, want, d.content)
	}
}
