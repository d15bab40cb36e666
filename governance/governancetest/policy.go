package governancetest

import (
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
)

var policyTests = map[string]func(*world){
	"WhatIsPutIsRead": func(w *world) {
		p := switchOf("InventoryService.reserve")
		p.Expires = w.Now().Add(time.Hour + 123*time.Nanosecond)
		put := w.put(p, 0)
		got, err := w.Store.Get(w.Context(), put.Policy.Key())
		w.must(err)
		if !reflect.DeepEqual(put, got) {
			w.Fatalf("put  %+v\nread %+v", put, got)
		}
		if got.Actor != why.Actor || got.Reason != why.Reason || !got.Created.Equal(w.Now()) || got.Deleted || got.Version != 1 {
			w.Fatalf("read %+v", got)
		}
		if want := "shop/inventory.InventoryService.reserve.switch"; got.Policy.Key().String() != want {
			w.Fatalf("it is called %s, want %s", got.Policy.Key(), want)
		}
		list, _, err := w.Store.List(w.Context(), governance.PolicyQuery{})
		w.must(err)
		if len(list) != 1 || governance.HashPolicies(list) != governance.HashPolicies([]governance.Version{put}) {
			w.Fatalf("the list hashes otherwise than what was put: %+v", list)
		}
	},
	"WrongOnesAreRefused": func(w *world) {
		for what, bad := range map[string]governance.Policy{
			"empty":         {},
			"says nothing":  {Target: governance.Target{App: inventory}},
			"other's":       {Namespace: "x", Target: governance.Target{App: inventory}, Rules: governance.Rules{Timeout: 1}},
			"no such mode":  {Target: governance.Target{App: inventory}, Rules: governance.Rules{Breaker: &governance.Breaker{Mode: "ajar"}}},
			"a wild app":    {Target: governance.Target{App: governance.App{Namespace: "a b", Name: "c\x00"}}, Rules: governance.Rules{Timeout: 1}},
			"a soft switch": {Kind: governance.KindSwitch, Target: governance.Target{App: inventory}, Rules: governance.Rules{Timeout: 1}},
		} {
			_, err := w.Store.Put(w.Context(), bad, 0, why)
			w.wantCode(what, err, governance.Invalid)
		}
		for _, c := range []governance.Change{{}, {Actor: "user:admin"}, {Reason: "x"}, {Actor: "a", Reason: "b\x00"}, {Actor: "a", Reason: strings.Repeat("b", 1001)}} {
			_, err := w.Store.Put(w.Context(), policyOf("", time.Second), 0, c)
			w.wantCode("a change without who or why", err, governance.Invalid)
		}
		list, version, err := w.Store.List(w.Context(), governance.PolicyQuery{Expired: true})
		w.must(err)
		if len(list) != 0 || version != 0 || len(w.events()) != 0 {
			w.Fatalf("refused writes left %s at version %d", ids(list), version)
		}
	},
	"OnlyWhatWasSeenIsChanged": func(w *world) {
		v1 := w.put(policyOf("", time.Second), 0)
		key := v1.Policy.Key()
		_, err := w.Store.Put(w.Context(), policyOf("", 2*time.Second), 0, why)
		w.wantCode("a second that must not exist", err, governance.Conflict)
		if !strings.Contains(err.Error(), "version 1") {
			w.Fatalf("the conflict does not name the version that is there: %v", err)
		}
		_, err = w.Store.Put(w.Context(), policyOf("", 2*time.Second), v1.Version+7, why)
		w.wantCode("a version that is not there", err, governance.Conflict)
		_, err = w.Store.Delete(w.Context(), key, v1.Version+7, why)
		w.wantCode("the deletion of another version", err, governance.Conflict)
		_, err = w.Store.Put(w.Context(), policyOf("other", time.Second), 5, why)
		w.wantCode("a change of what is not there", err, governance.Conflict)
		v2 := w.put(policyOf("", 2*time.Second), v1.Version)
		v3 := w.put(policyOf("", 3*time.Second), governance.AnyVersion)
		if v2.Version <= v1.Version || v3.Version <= v2.Version {
			w.Fatalf("versions %d, %d, %d", v1.Version, v2.Version, v3.Version)
		}
		all, err := w.Store.Versions(w.Context(), key, 10)
		w.must(err)
		if !reflect.DeepEqual(all, []governance.Version{v3, v2, v1}) {
			w.Fatalf("versions are %+v", all)
		}
		if newest, err := w.Store.Versions(w.Context(), key, 1); err != nil || !reflect.DeepEqual(newest, all[:1]) {
			w.Fatalf("the newest version is %+v, %v", newest, err)
		}
	},
	"DeletedOnesAreTombstones": func(w *world) {
		v1 := w.put(policyOf("", time.Second), 0)
		key := v1.Policy.Key()
		_, err := w.Store.Delete(w.Context(), governance.Key{Namespace: "shop", Name: "none"}, governance.AnyVersion, why)
		w.wantCode("the deletion of nothing", err, governance.NotFound)
		v2, err := w.Store.Delete(w.Context(), key, v1.Version, governance.Change{Actor: "user:b", Reason: "over"})
		w.must(err)
		if !v2.Deleted || v2.Version <= v1.Version || !reflect.DeepEqual(v2.Policy, v1.Policy) || v2.Actor != "user:b" {
			w.Fatalf("the tombstone is %+v", v2)
		}
		_, err = w.Store.Get(w.Context(), key)
		w.wantCode("what was deleted", err, governance.NotFound)
		_, err = w.Store.Delete(w.Context(), key, governance.AnyVersion, why)
		w.wantCode("a second deletion", err, governance.NotFound)
		list, whole, err := w.Store.List(w.Context(), governance.PolicyQuery{})
		w.must(err)
		if len(list) != 0 || whole != v2.Version {
			w.Fatalf("listed: %s, version %d", ids(list), whole)
		}
		v3 := w.put(policyOf("", 2*time.Second), 0)
		since, whole, err := w.Store.Since(w.Context(), 0)
		w.must(err)
		if !reflect.DeepEqual(since, []governance.Version{v3}) || whole != v3.Version {
			w.Fatalf("since 0: %s to %d", ids(since), whole)
		}
		all, err := w.Store.Versions(w.Context(), key, 0)
		w.must(err)
		if !reflect.DeepEqual(all, []governance.Version{v3, v2, v1}) {
			w.Fatalf("versions are %+v", all)
		}
		for _, v := range all {
			if one, err := w.Store.Version(w.Context(), key, v.Version); err != nil || !reflect.DeepEqual(one, v) {
				w.Fatalf("version %d is %+v, %v", v.Version, one, err)
			}
		}
		_, err = w.Store.Version(w.Context(), key, v3.Version+1)
		w.wantCode("a version that is not there", err, governance.NotFound)
		_, err = w.Store.Version(w.Context(), governance.Key{Namespace: "shop", Name: "none"}, v3.Version)
		w.wantCode("a version of another policy", err, governance.NotFound)
		_, err = w.Store.Versions(w.Context(), governance.Key{Namespace: "shop", Name: "none"}, 0)
		w.wantCode("versions of nothing", err, governance.NotFound)
	},
	"SinceTellsWhatChanged": func(w *world) {
		a, b := w.put(policyOf("a", time.Second), 0), w.put(policyOf("b", time.Second), 0)
		a2 := w.put(policyOf("a", 2*time.Second), a.Version)
		gone, err := w.Store.Delete(w.Context(), b.Policy.Key(), b.Version, why)
		w.must(err)
		since, whole, err := w.Store.Since(w.Context(), b.Version)
		w.must(err)
		if !reflect.DeepEqual(since, []governance.Version{a2, gone}) || whole != gone.Version {
			w.Fatalf("since %d: %s to %d", b.Version, ids(since), whole)
		}
		if since, whole, err = w.Store.Since(w.Context(), whole); err != nil || len(since) != 0 || whole != gone.Version {
			w.Fatalf("since the end: %s to %d, %v", ids(since), whole, err)
		}
		if since, whole, err = w.Store.Since(w.Context(), 1000); err != nil || len(since) != 0 || whole != gone.Version {
			w.Fatalf("since the future: %s to %d, %v", ids(since), whole, err)
		}
	},
	"ListsNarrow": func(w *world) {
		soon := policyOf("soon", time.Second)
		soon.Expires = w.Now().Add(time.Minute)
		other := policyOf("", time.Second)
		other.Target.App = governance.App{Namespace: "bank", Name: "ledger"}
		mine, sw, exp, foreign := w.put(policyOf("b", time.Second), 0), w.put(switchOf("a"), 0), w.put(soon, 0), w.put(other, 0)
		for _, c := range []struct {
			name string
			q    governance.PolicyQuery
			want []governance.Version
		}{
			{"all", governance.PolicyQuery{}, []governance.Version{foreign, sw, mine, exp}},
			{"namespace", governance.PolicyQuery{Namespace: "shop"}, []governance.Version{sw, mine, exp}},
			{"app", governance.PolicyQuery{App: other.Target.App}, []governance.Version{foreign}},
			{"kind", governance.PolicyQuery{Kind: governance.KindSwitch}, []governance.Version{sw}},
		} {
			got, whole, err := w.Store.List(w.Context(), c.q)
			w.must(err)
			if !reflect.DeepEqual(got, c.want) || whole != foreign.Version {
				w.Fatalf("%s: got %s at %d, want %s", c.name, ids(got), whole, ids(c.want))
			}
		}
		w.Advance(time.Minute)
		if got, _, err := w.Store.List(w.Context(), governance.PolicyQuery{Namespace: "shop"}); err != nil || !reflect.DeepEqual(got, []governance.Version{sw, mine}) {
			w.Fatalf("after the expiry: %s, %v", ids(got), err)
		}
		if got, _, err := w.Store.List(w.Context(), governance.PolicyQuery{Namespace: "shop", Expired: true}); err != nil || !reflect.DeepEqual(got, []governance.Version{sw, mine, exp}) {
			w.Fatalf("expired ones too: %s, %v", ids(got), err)
		}
		_, err := w.Store.Delete(w.Context(), exp.Policy.Key(), governance.AnyVersion, why)
		w.must(err)
	},
	"WritersDoNotOverwriteOneAnother": func(w *world) {
		const writers, each = 8, 10
		base := w.put(policyOf("counted", time.Millisecond), 0)
		key := base.Policy.Key()
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for done := 0; done < each; {
					v, err := w.Store.Get(w.Context(), key)
					if err != nil {
						w.Error(err)
						return
					}
					p := v.Policy
					p.Timeout += governance.Duration(time.Millisecond)
					_, err = w.Store.Put(w.Context(), p, v.Version, why)
					switch governance.CodeOf(err) {
					case "":
						done++
					case governance.Conflict:
					default:
						w.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		v, err := w.Store.Get(w.Context(), key)
		w.must(err)
		if want := governance.Duration((1 + writers*each) * time.Millisecond); v.Policy.Timeout != want {
			w.Fatalf("%s after %d changes of 1ms each", v.Policy.Timeout, writers*each)
		}
		if n := len(w.events(governance.EventPublished)); n != 1+writers*each {
			w.Fatalf("%d events of %d changes", n, 1+writers*each)
		}
	},
	"AReaderWhoSawAVersionSawAllBefore": func(w *world) {
		// Writers of many policies at once; a reader follows by version alone and
		// must end with what is there.
		const writers, each = 6, 15
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for n := range writers {
			wg.Go(func() {
				for range each {
					if _, err := w.Store.Put(w.Context(), policyOf(string(rune('a'+n)), time.Second), governance.AnyVersion, why); err != nil {
						w.Error(err)
					}
				}
			})
		}
		go func() { wg.Wait(); close(stop) }()
		have, at := map[governance.Key]int64{}, int64(0)
		read := func() {
			since, whole, err := w.Store.Since(w.Context(), at)
			w.must(err)
			for _, v := range since {
				if v.Version <= at || v.Version > whole {
					w.Fatalf("since %d up to %d came version %d", at, whole, v.Version)
				}
				have[v.Policy.Key()] = v.Version
			}
			at = whole
		}
		for open := true; open; {
			select {
			case <-stop:
				open = false
			default:
			}
			read()
		}
		list, whole, err := w.Store.List(w.Context(), governance.PolicyQuery{})
		w.must(err)
		if whole != at || whole != writers*each || len(list) != len(have) {
			w.Fatalf("read %d policies to %d; there are %d to %d", len(have), at, len(list), whole)
		}
		for _, v := range list {
			if have[v.Policy.Key()] != v.Version {
				w.Fatalf("%s is in version %d, read was %d", v.Policy.Key(), v.Version, have[v.Policy.Key()])
			}
		}
	},
	"WatchersAreTold": func(w *world) {
		moved := w.watch(w.Store.Watch)
		version := func() int64 {
			_, v, err := w.Store.Since(w.Context(), 0)
			w.must(err)
			return v
		}
		<-moved // at least once
		for n := range 3 {
			v := w.put(policyOf("", time.Duration(n+1)*time.Second), governance.AnyVersion)
			w.eventually("a watcher sees the write", moved, func() bool { return version() >= v.Version })
		}
	},
	"WritesAreEvents": func(w *world) {
		v1 := w.put(switchOf("a"), 0)
		w.Advance(time.Second)
		v2, err := w.Store.Delete(w.Context(), v1.Policy.Key(), v1.Version, governance.Change{Actor: "user:b", Reason: "over"})
		w.must(err)
		got := w.events()
		want := []governance.Event{
			{Time: v2.Created, Kind: governance.EventDeleted, App: inventory, Command: "a", Policy: v1.Policy.Key().String(), Version: v2.Version, Actor: "user:b", Reason: "over"},
			{Time: v1.Created, Kind: governance.EventPublished, App: inventory, Command: "a", Policy: v1.Policy.Key().String(), Version: v1.Version, Actor: why.Actor, Reason: why.Reason},
		}
		for i := range got {
			got[i].ID = 0
		}
		if !reflect.DeepEqual(got, want) {
			w.Fatalf("events %+v", got)
		}
	},
}
