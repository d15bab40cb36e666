package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/governance/memory"
)

const onePath = "/api/v1/policies/shop/inventory.all"

func TestAPolicyIsWrittenReadChangedAndBroughtBack(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	doc := func(timeout string) []byte {
		return fmt.Appendf(nil, `{"target":{"app":"shop/inventory"},"timeout":%q,"breaker":{"errorPercent":50,"minCalls":20},"bulkhead":{"concurrent":64},
			"fallback":{"cached":{"maxAge":"5m"},"else":{"value":{"reserved":false}}}}`, timeout)
	}
	a := k.want(200, k.do(http.MethodPut, onePath, "operator", doc("800ms"), "If-None-Match", "*"), "0 live instances")
	var first api.PolicyAnswer
	a.into(t, &first)
	if a.header.Get("ETag") != `"1"` || first.Version.Version != 1 || first.Policy.Target.At != governance.Provider || first.Confirmation.Live != 0 || len(first.Warnings) != 1 {
		t.Fatalf("%s", a.body)
	}
	k.want(412, k.do(http.MethodPut, onePath, "operator", doc("1s"), "If-None-Match", "*"), "version 1")
	k.want(412, k.do(http.MethodPut, onePath, "operator", doc("1s"), "If-Match", `"7"`), "version 1")
	k.want(200, k.do(http.MethodPut, onePath, "operator", doc("1s"), "If-Match", `"1"`))
	a = k.want(200, k.do(http.MethodGet, onePath, "viewer", nil), `"timeout":"1s"`)
	k.want(304, k.do(http.MethodGet, onePath, "viewer", nil, "If-None-Match", a.header.Get("ETag")))
	a = k.want(200, k.do(http.MethodGet, "/api/v1/policies", "viewer", nil), "inventory.all")
	k.want(304, k.do(http.MethodGet, "/api/v1/policies", "viewer", nil, "If-None-Match", a.header.Get("ETag")))

	k.want(400, k.do(http.MethodDelete, onePath, "operator", nil, "Weir-Reason", ""))
	k.want(200, k.do(http.MethodDelete, onePath, "operator", nil), `"deleted":true`)
	k.want(404, k.do(http.MethodGet, onePath, "viewer", nil), "no policy")
	k.want(404, k.do(http.MethodDelete, onePath, "operator", nil))
	k.want(404, k.do(http.MethodPost, onePath+"/rollback?to=99", "operator", nil), "no version 99")
	k.want(200, k.do(http.MethodPost, onePath+"/rollback?to=1", "operator", nil), `"timeout":"800ms"`)
	var list struct{ Items []governance.Version }
	k.want(200, k.do(http.MethodGet, onePath+"/versions", "viewer", nil)).into(t, &list)
	if len(list.Items) != 4 || list.Items[0].Version != 4 || !list.Items[1].Deleted || list.Items[0].Reason != "INC-1" || list.Items[0].Actor != "token:deploy" {
		t.Fatalf("%+v", list.Items)
	}
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	if e := k.journal.entries[len(k.journal.entries)-1]; e.Outcome != "ok" || e.Revision != 4 || e.Object != "policy shop/inventory.all" || e.Action != "rollback-policy" {
		t.Fatalf("the audit says %+v", e)
	}
}

func TestWrongPoliciesAreRefusedByName(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	for name, c := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"an unknown field":    {`{"target":{"app":"shop/inventory"},"timeuot":"1s"}`, 422, "timeuot"},
		"a bare number":       {`{"target":{"app":"shop/inventory"},"timeout":800}`, 422, "timeout"},
		"a negative duration": {`{"target":{"app":"shop/inventory"},"timeout":"-1s"}`, 422, "timeout"},
		"no target":           {`{"timeout":"1s"}`, 422, "target"},
		"a wrong app":         {`{"target":{"app":"inventory"},"timeout":"1s"}`, 422, "namespace/name"},
		"says nothing":        {`{"target":{"app":"shop/inventory"}}`, 422, "says nothing"},
		"two wrong things":    {`{"target":{"app":"shop/inventory","at":"moon"},"breaker":{"errorPercent":500}}`, 422, "breaker.errorPercent"},
		"another's name":      {`{"name":"other","target":{"app":"shop/inventory"},"timeout":"1s"}`, 422, "shop/other"},
		"another's namespace": {`{"target":{"app":"bank/inventory"},"timeout":"1s"}`, 422, "namespace"},
		"over already":        {`{"target":{"app":"shop/inventory"},"timeout":"1s","expires":"2020-01-01T00:00:00Z"}`, 422, "is over"},
		"no JSON":             {`{`, 400, "JSON"},
		"from at a provider":  {`{"target":{"app":"shop/inventory","from":["shop/orders"]},"timeout":"1s"}`, 422, "target.from"},
	} {
		a := k.do(http.MethodPut, onePath, "operator", []byte(c.body))
		if a.status != c.status || !strings.Contains(string(a.body), c.says) || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: answered %d, want %d and %q: %s", name, a.status, c.status, c.says, a.body)
		}
	}
	k.want(422, k.do(http.MethodPut, onePath+"?wait=soon", "operator", []byte(`{"target":{"app":"shop/inventory"},"timeout":"1s"}`)))
	k.want(400, k.do(http.MethodPut, onePath+"?dry=1", "operator", []byte(`{"target":{"app":"shop/inventory"},"timeout":"1s"}`)), "dry")
	k.want(413, k.do(http.MethodPut, onePath, "operator", []byte(strings.Repeat(" ", 2<<20))))
	k.want(404, k.do(http.MethodGet, onePath, "viewer", nil))
}

func TestWhoMayWriteWhere(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	p := timeout(inventory, "", time.Second)
	for token, status := range map[string]int{"viewer": 403, "bank": 403, "pod shop a": 403, "x": 401, "operator": 200} {
		k.want(status, k.do(http.MethodPut, onePath, token, p))
		k.want(status, k.do(http.MethodPost, "/api/v1/switches", token, pull(reserve)))
	}
	// A document may not be about another namespace than its address.
	p.Target.App.Namespace = "bank"
	k.want(422, k.do(http.MethodPut, "/api/v1/policies/shop/x", "operator", p))
	// Who is bounded to a namespace sees that alone.
	var list api.PolicyList
	k.want(200, k.do(http.MethodGet, "/api/v1/policies", "bank", nil)).into(t, &list)
	if len(list.Items) != 0 {
		t.Fatalf("bank sees %+v", list.Items)
	}
	k.want(403, k.do(http.MethodGet, onePath, "bank", nil))
	k.want(403, k.do(http.MethodGet, "/api/v1/apps/shop/inventory", "bank", nil))
	var events struct{ Items []governance.Event }
	k.want(200, k.do(http.MethodGet, "/api/v1/events", "bank", nil)).into(t, &events)
	if len(events.Items) != 0 {
		t.Fatalf("bank sees %+v", events.Items)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	k.instance(inventory, "a").open().next()
	p := timeout(inventory, "", time.Second)
	k.until("the instance is known", func() bool {
		var would api.PolicyAnswer
		k.want(200, k.do(http.MethodPost, "/api/v1/policies/check", "viewer", p)).into(t, &would)
		return would.Confirmation.Live == 1 && would.Version.Version == 0 && would.Policy.Name == "inventory.all"
	})
	k.want(422, k.do(http.MethodPost, "/api/v1/policies/check", "viewer", governance.Policy{Target: p.Target}), "says nothing")
	k.want(404, k.do(http.MethodGet, onePath, "viewer", nil))
	v := k.put(p)
	var would api.PolicyAnswer
	k.want(200, k.do(http.MethodPost, "/api/v1/policies/check", "viewer", p)).into(t, &would)
	if would.Version.Version != v.Version {
		t.Fatalf("it would replace %d, want %d", would.Version.Version, v.Version)
	}
}

func TestUnknownApplicationsAreWarnedOf(t *testing.T) {
	t.Parallel()
	known := map[governance.App]bool{inventory: true}
	k := start(t, api.Config{Known: func(_ context.Context, app governance.App) (bool, error) {
		if app.Namespace == "away" {
			return false, errors.New("the API server is away")
		}
		return known[app], nil
	}})
	if a := k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", pull(reserve)), "0 live instances"); strings.Contains(string(a.body), "nothing is known") {
		t.Fatalf("warned of a known application: %s", a.body)
	}
	typo := pull(reserve)
	typo.Target.App.Name = "inventroy"
	k.want(422, k.do(http.MethodPost, "/api/v1/switches", "operator", typo), "nothing is known of application shop/inventroy")
	k.want(200, k.do(http.MethodPost, "/api/v1/switches?allowUnknown=true", "operator", typo), "nothing is known of application shop/inventroy")
	away := pull(reserve)
	away.Target.App.Namespace = "away"
	k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", away))
}

func TestASwitchAnswersTheLastGoodAnswerFirst(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	k.instance(inventory, "a").open()
	body := pull(reserve)
	for _, value := range []json.RawMessage{nil, body.Value} {
		body.Value, body.Cached = value, &governance.Cached{MaxAge: governance.Duration(5 * time.Minute)}
		var got api.PolicyAnswer
		k.want(200, k.do(http.MethodPost, "/api/v1/switches?allowUnknown=true", "operator", body)).into(t, &got)
		f := got.Policy.Fallback
		if f == nil || f.Cached == nil || f.Cached.MaxAge != body.Cached.MaxAge || f.Value != nil || (f.Else != nil) != (value != nil) || value != nil && string(f.Else.Value) != string(value) {
			t.Fatalf("the fallback with the value %s is %+v", value, f)
		}
	}
}

func TestWrongSwitchesAreRefused(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	target := `"target":{"app":"shop/inventory","command":"InventoryService.reserve"}`
	for body, says := range map[string]string{
		`{}`: "target",
		`{` + target + `,"value":1,"empty":true}`:                                        "value, empty",
		`{` + target + `,"cached":{"maxAge":"25h"}}`:                                     "cached.maxAge",
		`{` + target + `,"cached":{"maxAge":"1m"},"value":1,"error":"x"}`:                "fallback.else",
		`{` + target + `,"for":"2m","until":"2126-01-01T00:00:00Z"}`:                     "until",
		`{` + target + `,"for":"-2m"}`:                                                   "over",
		`{` + target + `,"until":"2020-01-01T00:00:00Z"}`:                                "over",
		`{` + target + `,"for":5}`:                                                       "for",
		`{` + target + `,"name":"a b"}`:                                                  "name",
		`{"target":{"app":"shop/inventory","at":"caller","from":["orders"]},"for":"1s"}`: "namespace/name",
	} {
		a := k.do(http.MethodPost, "/api/v1/switches", "operator", []byte(body))
		if a.status/100 != 4 || !strings.Contains(string(a.body), says) {
			t.Errorf("%s: %d %s, want %q", body, a.status, a.body, says)
		}
	}
	k.put(timeout(inventory, "", time.Second))
	k.want(409, k.do(http.MethodDelete, "/api/v1/switches/shop/inventory.all", "operator", nil), "is a policy")
	var list api.PolicyList
	k.want(200, k.do(http.MethodGet, "/api/v1/switches", "viewer", nil)).into(t, &list)
	if len(list.Items) != 0 {
		t.Fatalf("%+v", list.Items)
	}
}

func TestExplainNamesTheSourceOfEachField(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/explain?command="+reserve, "viewer", nil), "no policy has a say")
	whole := timeout(inventory, "", time.Second)
	whole.Breaker = &governance.Breaker{ErrorPercent: 50}
	all := k.put(whole)
	one := k.put(timeout(inventory, "org.example.shop.InventoryService.reserve", 2*time.Second))
	other := k.put(timeout(inventory, "InventoryService.release", 3*time.Second))
	body := pull(reserve)
	k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", body))

	var e api.Explanation
	k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/explain?command="+reserve, "viewer", nil)).into(t, &e)
	if e.Rules.Timeout != governance.Duration(2*time.Second) || e.Rules.Breaker.Mode != governance.ModeForcedOpen || e.Rules.Breaker.ErrorPercent != 50 || e.Until.IsZero() {
		t.Fatalf("%+v", e.Rules)
	}
	if e.Sources["timeout"].Version != one.Version || e.Sources["breaker.errorPercent"].Version != all.Version {
		t.Fatalf("%+v", e.Sources)
	}
	verdicts := map[int64]string{}
	for _, c := range e.Considered {
		verdicts[c.Version] = c.Verdict
	}
	if verdicts[all.Version] != "sets breaker.errorPercent" || verdicts[one.Version] != "sets timeout" || verdicts[other.Version] != "is about InventoryService.release" {
		t.Fatalf("%+v", verdicts)
	}
	k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/explain?command=x&at=caller&from=shop/orders", "viewer", nil), "is enforced at the provider")
	k.want(400, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/explain?command=x&from=shop/orders", "viewer", nil))
	k.want(422, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/explain", "viewer", nil), "command")
}

func TestWrongRangesAreRefused(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	for path, says := range map[string]string{
		"/api/v1/apps/shop/inventory/series?command=x&from=yesterday":                 "no time",
		"/api/v1/apps/shop/inventory/series?command=x&from=-1h&to=-2h":                "is not before",
		"/api/v1/apps/shop/inventory/series?command=x&instance=a&from=-24h&step=1s":   "points",
		"/api/v1/apps/shop/inventory/series?command=x&step=-5s":                       "negative",
		"/api/v1/apps/shop/inventory/series?command=x&peer=orders":                    "namespace/name",
		"/api/v1/events?kind=weather":                                                 "no kind of event",
		"/api/v1/events?limit=100000":                                                 "limit",
		"/api/v1/events?app=x":                                                        "namespace/name",
		"/api/v1/apps?from=12x":                                                       "no time",
		"/api/v1/policies?app=x":                                                      "namespace/name",
		"/api/v1/policies?kind=x":                                                     "kind",
		"/api/v1/apps/shop/inventory/series?command=x&from=2026-01-01T00:00:00Z&to=1": "is not before",
	} {
		a := k.do(http.MethodGet, path, "viewer", nil)
		if a.status/100 != 4 || !strings.Contains(string(a.body), says) {
			t.Errorf("%s: %d %s, want %q", path, a.status, a.body, says)
		}
	}
	k.want(404, k.do(http.MethodGet, "/api/v1/apps/shop/nowhere", "viewer", nil), "nothing is known")
}

func TestTheDescriptionIsWhole(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(k.want(200, k.do(http.MethodGet, "/openapi.json", "", nil)).body, &doc); err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{
		governance.StreamPath: "get", governance.ReportsPath: "post", "/api/v1/switches": "post", "/api/v1/policies/{namespace}/{name}": "put",
		"/api/v1/apps/{namespace}/{name}/series": "get", "/api/v1/events": "get",
	} {
		if doc.Paths[path][method].OperationID == "" {
			t.Errorf("%s %s is not described", method, path)
		}
	}
}

func TestAnExpiredSwitchIsPutAwayLater(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	k := start(t, api.Config{Store: memory.New(memory.Options{Now: clock.Now}), Now: clock.Now})
	i := k.instance(inventory, "a").open()
	i.next()
	k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", pull(reserve)))
	set := i.next()
	clock.Advance(2 * time.Minute)
	api.PutAwayExpired(k.api, t.Context())
	// It is no longer listed, and still told: instances hold it expired themselves,
	// and what they are told changes with a version alone.
	var list api.PolicyList
	k.want(200, k.do(http.MethodGet, "/api/v1/switches", "viewer", nil)).into(t, &list)
	if len(list.Items) != 0 {
		t.Fatalf("listed %+v", list.Items)
	}
	if again := k.instance(inventory, "b").open().next(); again.Hash != set.Hash || len(again.Policies) != 1 {
		t.Fatalf("got %+v", again)
	}
	clock.Advance(10 * time.Minute)
	api.PutAwayExpired(k.api, t.Context())
	if set := i.next(); len(set.Policies) != 0 || set.Version != 2 {
		t.Fatalf("got %+v", set)
	}
	var versions struct{ Items []governance.Version }
	k.want(200, k.do(http.MethodGet, "/api/v1/policies/shop/inventory.InventoryService.reserve.switch/versions", "viewer", nil)).into(t, &versions)
	if v := versions.Items[0]; !v.Deleted || v.Actor != "weir" || !strings.Contains(v.Reason, "it expired at") {
		t.Fatalf("%+v", v)
	}
}
