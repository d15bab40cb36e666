package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

// one returns a snapshot of one good instance, changed.
func one(change func(*registry.Snapshot, *registry.Instance)) registry.Snapshot {
	s := registry.Snapshot{
		App: registry.App{Namespace: "shop", Name: "inventory"}, Mode: registry.ModePod,
		Service: registry.Service{Host: "inventory.shop.svc"},
		Instances: []registry.Instance{{
			ID: "u1", Name: "inventory-a", Host: netip.MustParseAddr("10.0.0.1"), Health: registry.Ready, Revision: "5f1c",
			Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}, {Protocol: "tri", Port: 20001}},
			Metadata:  map[string]string{registry.KeyRevision: "5f1c"},
			Details:   registry.Details{Weight: registry.DefaultWeight, State: registry.Up},
		}},
	}
	if change != nil {
		change(&s, &s.Instances[0])
	}
	return s
}

// told writes findings as "yes check: detail" and "EFFECT check: detail".
func told(found []registry.Finding) []string {
	var out []string
	for _, f := range found {
		verdict := "yes"
		if !f.OK {
			verdict = strings.ToUpper(string(f.Effect))
		}
		out = append(out, strings.TrimSuffix(verdict+" "+string(f.Check)+": "+f.Detail, ": "))
	}
	return out
}

func TestExplain(t *testing.T) {
	t.Parallel()
	all := []string{
		"yes in touch with the API server", "yes its application has a Service: inventory.shop.svc", "yes in the Service's endpoints: at 10.0.0.1",
		"yes not terminating", "yes ready", "yes not draining", "yes has published metadata: 1 key", "yes its metadata can be read",
		"yes names what it speaks: dubbo:20000, tri:20001", "yes says what it offers: revision 5f1c", "yes its details can be read",
	}
	for name, c := range map[string]struct {
		change func(*registry.Snapshot, *registry.Instance)
		wrong  []string // beginnings of those that do not hold
		absent []registry.Check
	}{
		"a good one": {},
		"not ready": {func(_ *registry.Snapshot, i *registry.Instance) { i.Health = registry.NotReady },
			[]string{"HELD ready: its readiness probe has not passed, or fails now; kubectl describe pod inventory-a -n shop"}, nil},
		"kept": {func(_ *registry.Snapshot, i *registry.Instance) {
			i.Health, i.Kept = registry.NotReady, &registry.Kept{Because: registry.KeptNotReady, Lost: 3, Of: 4, Until: time.Unix(0, 0)}
		}, []string{"NONE ready: it is not ready, and is called all the same until 1970-01-01T00:00:00Z at the latest: 3 of 4 instances were lost at once"}, nil},
		"kept and unlisted": {func(_ *registry.Snapshot, i *registry.Instance) {
			i.Health, i.Kept = registry.NotReady, &registry.Kept{Because: registry.KeptUnlisted, Lost: 3, Of: 4, Until: time.Unix(0, 0)}
		}, []string{"NONE ready: it left the endpoints of its Service, and is called all the same"}, nil},
		"terminating": {func(_ *registry.Snapshot, i *registry.Instance) { i.Health = registry.Terminating },
			[]string{"HELD not terminating: it is going away"}, []registry.Check{registry.CheckReady}},
		"draining": {func(_ *registry.Snapshot, i *registry.Instance) { i.Details.State = registry.Draining },
			[]string{"HELD not draining: it asks for no new calls itself"}, nil},
		"kept behind the Service": {func(s *registry.Snapshot, i *registry.Instance) {
			s.Mode = registry.ModeService
			i.Health, i.Kept = registry.NotReady, &registry.Kept{Because: registry.KeptNotReady, Lost: 3, Of: 3, Until: time.Unix(0, 0)}
		}, []string{"NONE ready: it is not ready, and is called all the same until 1970-01-01T00:00:00Z at the latest: 3 of 3 instances were lost at once, and nothing proves that they are gone; who calls the Service does not reach it anew"}, nil},
		"draining behind the Service": {func(s *registry.Snapshot, i *registry.Instance) {
			s.Mode, i.Details.State = registry.ModeService, registry.Draining
		}, []string{"HELD not draining: it asks for no new calls itself, as it does before it ends; the Service leads to it all the same while it is ready"}, nil},
		"unreadable": {func(_ *registry.Snapshot, i *registry.Instance) {
			i.Metadata, i.Endpoints, i.Revision, i.Problem = nil, nil, "", "its annotation io.dubbo/metadata cannot be read: it is empty"
		}, []string{"HELD its metadata can be read: its annotation io.dubbo/metadata cannot be read: it is empty; "}, []registry.Check{registry.CheckEndpoints, registry.CheckOffers}},
		"unregistered": {func(_ *registry.Snapshot, i *registry.Instance) { i.Metadata, i.Endpoints, i.Revision = nil, nil, "" },
			[]string{"DUBBO has published metadata: it has registered nothing"}, []registry.Check{registry.CheckReadable, registry.CheckEndpoints, registry.CheckOffers}},
		"without endpoints": {func(_ *registry.Snapshot, i *registry.Instance) { i.Endpoints = nil },
			[]string{"NONE names what it speaks: its metadata has no dubbo.endpoints"}, nil},
		"without a revision": {func(_ *registry.Snapshot, i *registry.Instance) { i.Revision = "" },
			[]string{"DUBBO says what it offers: its metadata has no dubbo.metadata.revision"}, nil},
		"offering nothing": {func(_ *registry.Snapshot, i *registry.Instance) { i.Revision = "0" },
			[]string{`DUBBO says what it offers: its revision is "0"`}, nil},
		"warned": {func(_ *registry.Snapshot, i *registry.Instance) { i.Warning = "its weight is wrong" },
			[]string{"NONE its details can be read: its weight is wrong"}, nil},
		"without a Service": {func(s *registry.Snapshot, _ *registry.Instance) { s.Service = registry.Service{} },
			[]string{"NONE its application has a Service: no Service bears the name inventory in namespace shop"}, nil},
		"stale": {func(s *registry.Snapshot, _ *registry.Instance) {
			s.StaleSince = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		}, []string{"NONE in touch with the API server: it has not answered since 2026-11-20T12:00:00Z"}, nil},
		"all at once": {func(_ *registry.Snapshot, i *registry.Instance) {
			i.Health, i.Details.State, i.Problem = registry.NotReady, registry.Draining, "unreadable"
		}, []string{"HELD ready", "HELD not draining", "HELD its metadata can be read"}, []registry.Check{registry.CheckEndpoints, registry.CheckOffers}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := one(c.change)
			got := s.Explain(&s.Instances[0], nil)
			var wrong, right []string
			held := false
			for n, line := range told(got) {
				if got[n].OK {
					right = append(right, line)
				} else {
					wrong = append(wrong, line)
				}
				held = held || got[n].Effect == registry.EffectHeld
			}
			if !slices.EqualFunc(wrong, c.wrong, strings.HasPrefix) {
				t.Errorf("these do not hold:\n%s\nwant\n%s", strings.Join(wrong, "\n"), strings.Join(c.wrong, "\n"))
			}
			if c.change == nil && !slices.Equal(right, all) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(right, "\n"), strings.Join(all, "\n"))
			}
			if len(got) != len(all)-len(c.absent) || slices.ContainsFunc(got, func(f registry.Finding) bool { return slices.Contains(c.absent, f.Check) }) {
				t.Errorf("got %v, want none of %v", told(got), c.absent)
			}
			// What is told agrees with what is done.
			if callable := s.Instances[0].Callable(); held == callable {
				t.Errorf("held %v and callable %v", held, callable)
			}
		})
	}
}

func TestExplainMissing(t *testing.T) {
	t.Parallel()
	s := one(nil)
	got := told(s.ExplainMissing("inventory-z"))
	if len(got) != 3 || !strings.HasPrefix(got[2], "HELD in the Service's endpoints: none of them is inventory-z") || !strings.Contains(got[2], "kubectl get pod inventory-z -n shop --show-labels") {
		t.Errorf("got %v", got)
	}
	s.Service = registry.Service{}
	if got := told(s.ExplainMissing("inventory-z")); len(got) != 2 || !strings.HasPrefix(got[1], "HELD its application has a Service: no Service bears the name inventory") {
		t.Errorf("got %v", got)
	}
	if s.Find("inventory-a") != s.Find("u1") || s.Find("u1") == nil || s.Find("x") != nil {
		t.Error("an instance is found by its name and its ID, and no other is")
	}
}

func TestExplainTheDocument(t *testing.T) {
	t.Parallel()
	offer := func(name string) registry.Offer { return registry.Offer{Interface: registry.Interface{Name: name}} }
	described := func(s registry.Snapshot, d registry.Document) string {
		for _, f := range s.Explain(&s.Instances[0], &d) {
			if f.Check == registry.CheckDescribed {
				return told([]registry.Finding{f})[0]
			}
		}
		return ""
	}
	for want, d := range map[string]registry.Document{
		"yes what it offers is described: a.Stock, a.Price":                                               {Offers: []registry.Offer{offer("a.Stock"), offer("a.Price"), offer("a.Stock")}},
		"yes what it offers is described: a, b, c and 2 more":                                             {Offers: []registry.Offer{offer("a"), offer("b"), offer("c"), offer("d"), offer("e")}},
		"DUBBO what it offers is described: the document of revision 5f1c offers no interface":            {},
		"NONE what it offers is described: no document of revision 5f1c is stored, so consumers ask":      {Err: &registry.Error{Code: registry.NotFound, Message: "none"}},
		"NONE what it offers is described: the document of revision 5f1c could not be read here: away; x": {Err: &registry.Error{Code: registry.Unavailable, Message: "away", Fix: "x"}},
		"NONE what it offers is described: the document of revision 5f1c could not be read here: odd":     {Err: errors.New("odd")},
	} {
		if got := described(one(nil), d); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, change := range []func(*registry.Instance){
		func(i *registry.Instance) { i.Revision = "" }, func(i *registry.Instance) { i.Revision = "0" }, func(i *registry.Instance) { i.Problem = "x" },
	} {
		if got := described(one(func(_ *registry.Snapshot, i *registry.Instance) { change(i) }), registry.Document{}); got != "" {
			t.Errorf("found %q where there is nothing to find", got)
		}
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	var s registry.Snapshot
	s.Service.Host = "x"
	add := func(n int, change func(*registry.Instance)) {
		for range n {
			i := one(nil).Instances[0]
			i.ID = fmt.Sprint(len(s.Instances))
			change(&i)
			s.Instances = append(s.Instances, i)
		}
	}
	add(2, func(*registry.Instance) {})
	add(3, func(i *registry.Instance) { i.Health, i.Revision = registry.NotReady, "77aa" })
	add(1, func(i *registry.Instance) { i.Problem, i.Metadata, i.Revision = "bad", nil, "" })
	add(1, func(i *registry.Instance) {
		i.Warning, i.Endpoints, i.Revision = "hm", []registry.Endpoint{{Protocol: "dubbo", Port: 9}}, "0"
	})
	sum := registry.Summarize(s)
	if sum.Instances != 7 || sum.Callable != 3 || sum.Registered != 6 || sum.Problems != 1 || sum.Warnings != 1 {
		t.Errorf("counted %+v", sum)
	}
	if want := []registry.Held{{Why: "bad", Instances: 1}, {Why: "not ready", Instances: 3}}; !slices.Equal(sum.Held, want) {
		t.Errorf("held %v", sum.Held)
	}
	if want := []registry.RevisionCount{{Revision: "77aa", Instances: 3}, {Revision: "5f1c", Instances: 2}}; !slices.Equal(sum.Revisions, want) {
		t.Errorf("revisions %v", sum.Revisions)
	}
	if got := fmt.Sprint(sum.Endpoints, sum.Protocols()); got != "[dubbo:20000 dubbo:9 tri:20001] [dubbo tri]" {
		t.Errorf("speaks %s", got)
	}
	if !s.Known() || (registry.Snapshot{}).Known() {
		t.Error("known by Service or instance")
	}
}

func TestDecodeDocument(t *testing.T) {
	t.Parallel()
	got, err := registry.DecodeDocument([]byte(`{"app":"inventory","services":{
		"b/org.example.Stock:1.0.0:tri":{"name":"org.example.Stock","group":"b","version":"1.0.0","protocol":"tri","params":{"methods":"reserve,get,get"}},
		"a":{"name":"org.example.Price","params":{"methods":"*"},"methods":[{"name":"of","parameterTypes":["java.lang.String","int"]},{"name":"all"}]},
		"odd":{"group":"no name"}}}`))
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if p := got[0]; p.Interface.String() != "org.example.Price" || len(p.Names) != 0 || fmt.Sprint(p.Methods) != "[of(java.lang.String, int) all()]" {
		t.Errorf("got %+v", p)
	}
	if s := got[1]; s.Interface.String() != "b/org.example.Stock:1.0.0" || s.Protocol != "tri" || !slices.Equal(s.Names, []string{"get", "reserve"}) {
		t.Errorf("got %+v", s)
	}
	for _, bad := range []string{"", "[]", `{"services":{"a":5}}`, `{"app":"` + strings.Repeat("x", registry.MaxDocument) + `"}`} {
		if _, err := registry.DecodeDocument([]byte(bad)); err == nil {
			t.Errorf("read %.30q", bad)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"away; come again":        &registry.Error{Code: registry.Unavailable, Message: "away", Fix: "come again", Err: context.DeadlineExceeded},
		"away: cable; come again": &registry.Error{Code: registry.Unavailable, Message: "away", Fix: "come again", Err: errors.New("cable")},
		"odd":                     errors.New("odd"),
	} {
		if got := registry.Text(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
