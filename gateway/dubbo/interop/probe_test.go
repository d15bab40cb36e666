package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/dubbo"
	"github.com/weirmesh/weir/registry"
)

// protocols runs a test against a provider of each protocol.
func protocols(t *testing.T, f func(t *testing.T, w *world, p *process)) {
	for _, protocol := range []string{"dubbo", "tri"} {
		t.Run(protocol, func(t *testing.T) {
			p, port := startProbe(t, protocol, "a")
			w := newWorld(t, dubbo.Config{})
			w.put("a", protocol, port)
			f(t, w, p)
		})
	}
}

func arg(typ, from string) gateway.Arg { return gateway.Arg{Type: typ, From: from} }

func TestArguments(t *testing.T) {
	protocols(t, func(t *testing.T, w *world, _ *process) {
		describe := w.compile(probe, "describe", []gateway.Arg{
			arg("java.lang.String", "body.s"), arg("boolean", "body.b"), arg("byte", "body.i8"), arg("java.lang.Short", "body.i16"),
			arg("int", "body.i32"), arg("long", "body.i64"), arg("double", "body.f"),
		})
		expect(t, post(describe, `{"s":"a\u00e9\ud83d\ude00","b":true,"i8":-128,"i16":32767,"i32":-2147483648,"i64":9223372036854775807,"f":1.5}`),
			http.StatusOK, `true -128 32767 -2147483648 9223372036854775807 1.5`, `aé😀`)

		person := w.compile(probe, "person", []gateway.Arg{arg("org.example.Person", "body")})
		const bob = `{"name":"bob","age":42,"weight":70.25,"admin":true,"tags":["a","b"],"home":{"street":"x","zip":7},"friends":[{"name":"eve"}]}`
		resp := post(person, bob)
		expect(t, resp, http.StatusOK)
		var got struct {
			Name    string
			Age     int
			Weight  float64
			Admin   bool
			Tags    []string
			Home    struct{ Street string }
			Friends []struct{ Name string }
		}
		if err := json.Unmarshal(resp.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%+v", got); text != "{Name:bob Age:42 Weight:70.25 Admin:true Tags:[a b] Home:{Street:x} Friends:[{Name:eve}]}" {
			t.Errorf("%s of %s", text, resp.Body)
		}
		if strings.Contains(resp.Body.String(), "org.example") {
			t.Errorf("classes are told: %s", resp.Body)
		}
		expect(t, post(person, `{"name":{"first":"bob"}}`), http.StatusBadRequest, "the provider cannot make its arguments")
		expect(t, post(person, `{"class":"java.net.URL"}`), http.StatusBadRequest, "body.class")

		lists := w.compile(probe, "lists", []gateway.Arg{
			arg("java.util.List<java.lang.String>", "body.names"), arg("long[]", "body.numbers"),
			arg("java.util.Map<java.lang.String, java.lang.Long>", "body.byName"), arg("java.util.Set<org.example.Person>", "body.people"),
		})
		expect(t, post(lists, `{"names":["a","b"],"numbers":[1,2],"byName":{"x":9},"people":[{"name":"bob"}]}`),
			http.StatusOK, `[[\"a\",\"b\"],[1,2],{\"x\":9},[{\"Name\":\"bob\"`)

		exact := w.compile(probe, "exact", []gateway.Arg{
			arg("java.math.BigDecimal", "body.d"), arg("java.util.Date", "body.when"), arg("java.time.LocalDateTime", "body.local"),
			arg("byte[]", "body.raw"), arg("enum org.example.Color", "body.color"),
		})
		expect(t, post(exact, `{"d":12345678901234567890.123456789,"when":"2026-11-20T01:02:03.004+01:00","local":"2026-11-20T01:02:03","raw":"aGk=","color":"GREEN"}`),
			http.StatusOK, `12345678901234567890.123456789 2026-11-20T00:02:03.004Z 2026 3 \"hi\" GREEN`)
	})
}

func TestResults(t *testing.T) {
	protocols(t, func(t *testing.T, w *world, _ *process) {
		for name, strings := range map[string]bool{"numbers": false, "strings": true} {
			h := w.route(gateway.Route{Namespace: "shop", Name: "results", Upstream: gateway.Upstream{
				Dubbo: &gateway.Dubbo{App: "shop/probe", Interface: probe, Method: "results", BigNumbersAsStrings: strings},
			}})
			resp := post(h, "")
			quote := ""
			if strings {
				quote = `"`
			}
			expect(t, resp, http.StatusOK, `"long":`+quote+`9007199254740993`+quote, `"int":-7`, `"double":0.5`, `"born":"2023-11-14T22:13:20.123Z"`,
				`"null":null`, `"text":"é😀\u2028\""`, `"name":"bob"`, `"street":"x"`, `"class":"economy"`, `"color":"GREEN"`)
			if !json.Valid(resp.Body.Bytes()) {
				t.Errorf("%s: no JSON: %s", name, resp.Body)
			}
		}
		expect(t, post(w.compile(probe, "nothing", nil), ""), http.StatusOK, "null")
	})
}

func TestErrors(t *testing.T) {
	protocols(t, func(t *testing.T, w *world, _ *process) {
		fail := w.compile(probe, "fail", []gateway.Arg{arg("java.lang.String", "query.what")})
		r := httptest.NewRequest(http.MethodPost, "/?what=out+of+stock+at+10.1.2.3:20880", nil)
		resp := httptest.NewRecorder()
		fail.ServeHTTP(resp, r)
		expect(t, resp, http.StatusInternalServerError, "out of stock at …")
		if ct := resp.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("content type %q", ct)
		}
		expect(t, post(w.compile(probe, "missing", nil), ""), http.StatusNotFound)
		expect(t, post(w.compile("org.example.Missing", "missing", nil), ""), http.StatusNotFound)
		expect(t, post(w.compile(probe, "who", []gateway.Arg{arg("int", "body.n")}), `{"n":1}`), http.StatusNotFound)
	})
}

func TestDeadline(t *testing.T) {
	protocols(t, func(t *testing.T, w *world, _ *process) {
		slow := w.compile(probe, "slow", []gateway.Arg{arg("long", "body")},
			gateway.Filter{Timeout: &gateway.Timeout{Total: gateway.Duration(50 * time.Millisecond)}})
		who := w.compile(probe, "who", nil)
		// Late answers come while others run; none of those may suffer.
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { expect(t, post(slow, "120"), http.StatusGatewayTimeout) })
		}
		wg.Wait()
		for range 300 {
			expect(t, post(who, ""), http.StatusOK, `"a"`)
			<-time.After(time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		expect(t, send(ctx, w.compile(probe, "slow", []gateway.Arg{arg("long", "body")}), "60000"), http.StatusGatewayTimeout)
	})
}

func TestAttachments(t *testing.T) {
	protocols(t, func(t *testing.T, w *world, _ *process) {
		attached := w.route(gateway.Route{
			Namespace: "shop", Name: "attached",
			Filters: []gateway.Filter{{Timeout: &gateway.Timeout{Total: gateway.Duration(time.Hour)}}},
			Upstream: gateway.Upstream{Dubbo: &gateway.Dubbo{
				App: "shop/probe", Interface: probe, Method: "attached", Args: []gateway.Arg{arg("java.lang.String", "body")},
				Attachments: map[string]string{"tenant": "header.X-Tenant", registry.KeyTag: "header.X-Tag"},
			}},
		})
		expect(t, post(attached, `"tenant"`, "X-Tenant", "acme", "X-Other", "o"), http.StatusOK, `acme`)
		expect(t, post(attached, `"dubbo.tag"`, "X-Tag", "gray"), http.StatusOK, `gray`)
		expect(t, post(attached, `"x-other"`, "X-Other", "o"), http.StatusOK, `""`)
	})
	t.Run("timeout", func(t *testing.T) {
		_, port := startProbe(t, "dubbo", "a")
		w := newWorld(t, dubbo.Config{})
		w.put("a", "dubbo", port)
		h := w.compile(probe, "attached", []gateway.Arg{arg("java.lang.String", "body")}, gateway.Filter{Timeout: &gateway.Timeout{Total: gateway.Duration(time.Hour)}})
		expect(t, post(h, `"timeout"`), http.StatusOK, "359999") // 3,599,99x ms are left
	})
}

// A provider that is killed fails the calls that ran in it, and no other.
func TestKilled(t *testing.T) {
	for _, protocol := range []string{"dubbo", "tri"} {
		t.Run(protocol, func(t *testing.T) {
			a, portA := startProbe(t, protocol, "a")
			_, portB := startProbe(t, protocol, "b")
			w := newWorld(t, dubbo.Config{})
			w.put("a", protocol, portA)
			slow := w.compile(probe, "slow", []gateway.Arg{arg("long", "body")})
			who := w.compile(probe, "who", nil)
			expect(t, post(who, ""), http.StatusOK, `"a"`)
			results := make(chan *httptest.ResponseRecorder)
			go func() { results <- post(slow, "30000") }()
			eventually(t, "the call runs in a", func() bool { return strings.Contains(a.log.String(), slowBegan) })
			w.put("b", protocol, portB)
			eventually(t, "b is called", func() bool { return strings.Contains(post(who, "").Body.String(), "b") })
			a.kill()
			expect(t, <-results, http.StatusBadGateway, "may have run")
			for range 50 {
				expect(t, post(who, ""), http.StatusOK, `"b"`)
			}
		})
	}
}

// A provider that leaves in order loses no call, though the registry says nothing.
func TestDrains(t *testing.T) {
	for _, protocol := range []string{"dubbo", "tri"} {
		t.Run(protocol, func(t *testing.T) {
			a, portA := startProbe(t, protocol, "a")
			_, portB := startProbe(t, protocol, "b")
			w := newWorld(t, dubbo.Config{})
			w.put("a", protocol, portA)
			w.put("b", protocol, portB)
			who := w.compile(probe, "who", nil)
			eventually(t, "a is called", func() bool { return strings.Contains(post(who, "").Body.String(), `"a"`) })
			a.terminate()
			for ended := false; !ended; {
				select {
				case <-a.done:
					ended = true
				case <-time.After(2 * time.Millisecond):
				}
				expect(t, post(who, ""), http.StatusOK)
			}
			w.reg.RemoveInstance(w.app, "a")
			for range 20 {
				expect(t, post(who, ""), http.StatusOK, `"b"`)
			}
		})
	}
}

// A provider that leaves answers, or is not reached; it is never taken to answer
// nothing, though calls come that know nothing of its leaving.
func TestLeaves(t *testing.T) {
	for _, protocol := range []string{"dubbo", "tri"} {
		t.Run(protocol, func(t *testing.T) {
			a, port := startProbe(t, protocol, "a")
			w := newWorld(t, dubbo.Config{})
			w.put("a", protocol, port)
			held := make(chan struct{})
			go func() { // keeps the provider from ending at once
				defer close(held)
				post(w.compile(probe, "slow", []gateway.Arg{arg("long", "body")}), "1500")
			}()
			for ended, told := false, false; !ended; {
				select {
				case <-a.done:
					ended = true
				case <-time.After(20 * time.Millisecond):
				}
				fresh := newWorld(t, dubbo.Config{})
				fresh.put("a", protocol, port)
				resp := post(fresh.compile(probe, "who", nil), "")
				if resp.Code == http.StatusOK && resp.Body.String() != `"a"` || resp.Code < 500 && resp.Code != http.StatusOK {
					t.Fatalf("%d %s", resp.Code, resp.Body)
				}
				if told { // this method's nothing is its result
					resp = post(fresh.compile(probe, "nothing", nil), "")
					if resp.Code == http.StatusOK && resp.Body.String() != "null" || strings.Contains(resp.Body.String(), "is leaving") {
						t.Fatalf("%d %s", resp.Code, resp.Body)
					}
				}
				fresh.d.Close()
				if !told {
					told = true
					a.terminate()
				}
			}
			<-held
		})
	}
}

func TestLargeAnswer(t *testing.T) {
	protocols(t, func(t *testing.T, _ *world, p *process) {
		_ = p
		protocol := "dubbo"
		if strings.HasSuffix(t.Name(), "tri") {
			protocol = "tri"
		}
		_, port := startProbe(t, protocol, "b")
		w := newWorld(t, dubbo.Config{MaxAnswer: 100_000})
		w.put("b", protocol, port)
		big := w.compile(probe, "big", []gateway.Arg{arg("int", "body")})
		expect(t, post(big, "90000"), http.StatusOK)
		expect(t, post(big, "200000"), http.StatusBadGateway, "larger than")
		expect(t, post(big, "3"), http.StatusOK, `"xxx"`)
	})
}
