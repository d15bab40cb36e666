package java

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

const (
	resilience4j = "spring-resilience4j"
	// price is the circuit breaker of gifts that guards pricing, and wrapping that of a
	// method of its own.
	price, wrapping = "PriceClient#price(String)", "wrapping"
	// byCatalogue is who names a price where gifts' own fallback does.
	byCatalogue = "the catalogue"
)

// gift is what gifts answers.
type gift struct {
	Sku, Wrapping, PricedBy string
	Cents                   int64
	Stale                   bool
}

// gift asks one pod of gifts, straight from this host.
func (p pod) gift(ctx context.Context, sku string) (gift, error) {
	var g gift
	err := mesh.GetJSON(ctx, "http://"+net.JoinHostPort(p.Status.PodIP, "8080")+"/gifts/"+sku, &g)
	return g, err
}

// gifts asks a pod several times, and returns who named the prices.
func gifts(t *testing.T, p pod, sku string, times int) (byPricing, byOther int64) {
	t.Helper()
	for range times {
		g, err := p.gift(t.Context(), sku)
		switch {
		case err != nil:
			t.Fatal(err)
		case g.PricedBy == byCatalogue:
			byOther++
		default:
			byPricing++
		}
	}
	return byPricing, byOther
}

// priced waits until a pod of gifts is answered by pricing, and returns how many
// calls that took.
func priced(t *testing.T, p pod) (failed int64) {
	t.Helper()
	mesh.Eventually(t, p.Metadata.Name+" is answered by pricing", func() error {
		ok, other := gifts(t, p, "book", 1)
		failed += other
		if ok == 0 {
			return fmt.Errorf("the catalogue answers")
		}
		return nil
	})
	return failed
}

// circuits asks a pod's actuator for the states of its circuit breakers.
func circuits(t *testing.T, p pod) map[string]string {
	t.Helper()
	resp, err := p.management(t.Context(), http.MethodGet, "/circuitbreakers", "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		CircuitBreakers map[string]struct{ State string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, c := range answer.CircuitBreakers {
		out[name] = c.State
	}
	return out
}

// ofGifts waits until Weir governs the one pod of gifts, and returns it with the name
// of its instance.
func ofGifts(t *testing.T) (p pod, instance string) {
	t.Helper()
	needs(t, resilience4j)
	all := pods(t, "gifts")
	if len(all) != 1 {
		t.Fatalf("there are %d pods of gifts", len(all))
	}
	mesh.Eventually(t, "the pod of gifts is governed", func() error {
		for _, i := range weir[application](t, "history", "shop/gifts", "--from", "-5m").Instances {
			if i.Name == all[0].Metadata.Name && i.SDK == "resilience4j-actuator" && len(i.Lacks) == 0 && i.Current {
				instance = i.Instance
				return nil
			}
		}
		return fmt.Errorf("%+v", weir[application](t, "history", "shop/gifts", "--from", "-5m").Instances)
	})
	return all[0], instance
}

// counted are the sums of a command's history.
func counted(t *testing.T, command, instance string, since time.Time) (success, failure, short, switched int64) {
	t.Helper()
	for _, p := range history(t, "gifts", command, since, "--instance", instance).Points {
		success, failure = success+p.Counts.Success, failure+p.Counts.Failure+p.Counts.Timeout
		short, switched = short+p.Counts.ShortCircuited, switched+p.Counts.Switched
	}
	return success, failure, short, switched
}

// What a pod with Resilience4j counts is in the history call by call, and so are its
// circuit's states: what failed opened it, and what succeeded closed it again.
func TestResilience4jIsInHistory(t *testing.T) {
	springTurns.take(t)
	p, instance := ofGifts(t)
	s0, f0, c0, w0 := counted(t, price, instance, time.Now().Add(-time.Hour))
	began := time.Now()
	failed := priced(t, p)
	ok, _ := gifts(t, p, "book", 60)
	ok++
	same := func(what string, success, notSuccess int64) {
		t.Helper()
		mesh.Eventually(t, "the history has every call of "+what, func() error {
			s, f, c, w := counted(t, price, instance, began.Add(-time.Hour))
			if s-s0 != success || f+c+w-f0-c0-w0 != notSuccess {
				return fmt.Errorf("%d of %d succeeded, %d of %d did not", s-s0, success, f+c+w-f0-c0-w0, notSuccess)
			}
			return nil
		})
	}
	same("those that went well", ok, failed)
	// Pricing has no anvil, which Feign takes for an error.
	if was, other := gifts(t, p, "anvil", 150); was != 0 {
		t.Fatalf("pricing has an anvil: %d, %d", was, other)
	}
	failed += 150
	if state := circuits(t, p)[price]; state != "OPEN" {
		t.Fatalf("after 150 failures it is %s", state)
	}
	mesh.Eventually(t, "probes close it", func() error {
		byPricing, byOther := gifts(t, p, "book", 1)
		ok, failed = ok+byPricing, failed+byOther
		if state := circuits(t, p)[price]; state != "CLOSED" {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	same("all", ok, failed)
	var h series
	mesh.Eventually(t, "the history tells that it opened and closed", func() error {
		h = history(t, "gifts", price, began.Add(-time.Second), "--instance", instance)
		var told []string
		for _, e := range h.Events {
			if e.Transition != nil {
				told = append(told, e.Transition.To+": "+e.Transition.Cause)
			}
		}
		text := strings.Join(told, "\n")
		for _, want := range []string{"open: ", "calls failed, 50 % allowed", "closed: its probes succeeded"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("it does not tell %q:\n%s", want, text)
			}
		}
		return nil
	})
	if !slices.ContainsFunc(h.Points, func(p point) bool { return p.Latency != nil && p.Latency.P99 != "" }) {
		t.Errorf("no point has latencies: %+v", h.Points)
	}
	// That it is read is counted, and that no stream is.
	if n := metric(t, theMesh, "weir_control_agentless_scrapes_total"); n == 0 {
		t.Error("no answers are counted")
	}
}

// A switch holds from the next call on: the application's own fallback answers, and
// the pod's own actuator says so; after a restart it holds again.
func TestResilience4jSwitchHoldsAndIsReleased(t *testing.T) {
	springTurns.take(t)
	p, instance := ofGifts(t)
	priced(t, p)
	began := time.Now()
	const confirmed = "confirmed by 1 of 1 gifts instance"
	pullOf(t, "gifts", price, confirmed)
	if ok, _ := gifts(t, p, "book", 25); ok != 0 {
		t.Errorf("pricing answered %d calls", ok)
	}
	if c := circuits(t, p); c[price] != "FORCED_OPEN" || c[wrapping] != "CLOSED" {
		t.Errorf("its circuit breakers are %v", c)
	}
	mesh.Eventually(t, "the history has the refused calls", func() error {
		if _, _, _, switched := counted(t, price, instance, began.Add(-time.Minute)); switched < 25 {
			return fmt.Errorf("%d", switched)
		}
		return nil
	})
	releaseOf(t, "gifts", price, confirmed)
	if ok, other := gifts(t, p, "book", 10); other != 0 || ok != 10 {
		t.Errorf("the catalogue answered %d calls after the release", other)
	}
	if c := circuits(t, p); c[price] != "CLOSED" {
		t.Errorf("its circuit breakers are %v", c)
	}
}

// A process that begins anew knows nothing of switches: what it has circuit breakers
// for is held before its first call, and what it has none for yet soon after that.
func TestResilience4jSwitchHoldsAgainAfterARollingRestart(t *testing.T) {
	springTurns.take(t)
	p, _ := ofGifts(t)
	priced(t, p)
	pullOf(t, "gifts", price, "confirmed by 1 of 1")
	pullOf(t, "gifts", wrapping, "confirmed by 1 of 1")
	restart(t, "gifts")
	giftsHeld(t)
	releaseOf(t, "gifts", price, "confirmed by 1 of 1")
	releaseOf(t, "gifts", wrapping, "confirmed by 1 of 1")
	if c := circuits(t, pods(t, "gifts")[0]); c[price] != "CLOSED" || c[wrapping] != "CLOSED" {
		t.Errorf("at last its circuit breakers are %v", c)
	}
}

// giftsHeld waits until both switches hold in a new process of gifts.
func giftsHeld(t *testing.T) {
	t.Helper()
	mesh.Eventually(t, "wrapping is held", func() error {
		if c := circuits(t, pods(t, "gifts")[0]); c[wrapping] != "FORCED_OPEN" {
			return fmt.Errorf("its circuit breakers are %v", c)
		}
		return nil
	})
	p := pods(t, "gifts")[0]
	if g, err := p.gift(t.Context(), "book"); err != nil || g.Wrapping != "bag" {
		t.Errorf("the first gift is %+v (%v)", g, err)
	}
	mesh.Eventually(t, "both switches are confirmed", func() error {
		out, err := theMesh.TryAsk(t.Context(), "switch", "list")
		if err == nil && strings.Count(out, "1 of 1") != 2 {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	if ok, _ := gifts(t, p, "book", 10); ok != 0 {
		t.Errorf("pricing answered %d calls", ok)
	}
	if c := circuits(t, p); c[price] != "FORCED_OPEN" || c[wrapping] != "FORCED_OPEN" {
		t.Errorf("its circuit breakers are %v", c)
	}
}

// One request is one trace through the gateway, Java and Go, whichever headers its
// sender and gifts write.
func TestResilience4jIsInOneTraceWithGo(t *testing.T) {
	springTurns.take(t)
	p, _ := ofGifts(t)
	priced(t, p)
	file := filepath.Join(t.TempDir(), "route.yaml")
	const toGifts = "namespace: shop\nname: java-gifts\nmatch: {path: \"/java/gifts/{sku}\", method: GET}\nfilters: [{stripPrefix: 1}]\nupstream: {app: shop/gifts}\n"
	if err := os.WriteFile(file, []byte(toGifts), 0o600); err != nil {
		t.Fatal(err)
	}
	theMesh.Ask(t, "route", "apply", "-f", file, "--reason", "Java test", "--wait", "30s")
	for _, produced := range []string{"", "B3", "B3_MULTI"} { // W3C is what Spring Boot writes unless told otherwise
		if produced != "" {
			kubectl(t, "set", "env", "deployment/gifts", "MANAGEMENT_TRACING_PROPAGATION_PRODUCE="+produced)
			rolledOut(t, "gifts")
			priced(t, pods(t, "gifts")[0])
		}
		for name, headers := range map[string]func(trace, parent string) []string{
			"traceparent": func(trace, parent string) []string {
				return []string{"traceparent", "00-" + trace + "-" + parent + "-01"}
			},
			"b3": func(trace, parent string) []string { return []string{"b3", trace + "-" + parent + "-1"} },
			"X-B3": func(trace, parent string) []string {
				return []string{"X-B3-TraceId", trace, "X-B3-SpanId", parent, "X-B3-Sampled", "1"}
			},
		} {
			trace, parent := newID(t, 16), newID(t, 8)
			status, body := throughWith(t, "/java/gifts/book", headers(trace, parent))
			var g gift
			if err := json.Unmarshal([]byte(body), &g); err != nil || status != http.StatusOK || g.PricedBy == byCatalogue {
				t.Fatalf("%d %s (%v)", status, body, err)
			}
			const want = "pricing < gifts < gateway"
			mesh.Eventually(t, "a trace from "+name+", by way of what gifts writes as \""+produced+"\", goes "+want, func() error {
				out, err := theMesh.TryAsk(t.Context(), "trace", "get", trace, "-o", "json")
				if err != nil {
					return err
				}
				var all spans
				if err := json.Unmarshal([]byte(out), &all); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				seen := map[string]bool{}
				for i := range all {
					seen[all.way(&all[i], parent)] = true
				}
				if !seen[want] {
					return fmt.Errorf("only %v", seen)
				}
				return nil
			})
		}
	}
	kubectl(t, "set", "env", "deployment/gifts", "MANAGEMENT_TRACING_PROPAGATION_PRODUCE-")
	rolledOut(t, "gifts")
}

// What Resilience4j reads at its start is in the ConfigMap that gifts reads, and holds
// and is confirmed once a process has begun with it; what else is in there stays.
func TestResilience4jThresholdsHoldFromTheNextStart(t *testing.T) {
	springTurns.take(t)
	p, _ := ofGifts(t)
	priced(t, p)
	readsConfigMap(t, "gifts", "gifts.yaml")
	file := filepath.Join(t.TempDir(), "policy.yaml")
	document := fmt.Sprintf("name: gifts-start\ntarget: {app: shop/gifts, command: %q}\nbreaker: {errorPercent: 30, minCalls: 7}\n", price)
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	theMesh.Ask(t, "policy", "publish", "-f", file, "--reason", "Java test")
	deleted := false
	t.Cleanup(func() {
		if !deleted {
			_, _ = theMesh.TryAsk(context.Background(), "policy", "delete", "shop/gifts-start", "--reason", "Java test")
		}
	})
	says := func(what, want string) {
		t.Helper()
		mesh.Eventually(t, what, func() error {
			out, err := theMesh.TryAsk(t.Context(), "policy", "status", "shop/gifts-start")
			if err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("%s", out)
			}
			return err
		})
	}
	says("it says from when it holds", "minimumNumberOfCalls=7 is in ConfigMap gifts, and holds in a process that begins from now on")
	data := configMap(t, "gifts")
	for _, want := range []string{
		"resilience4j.circuitbreaker.instances[PriceClient\\#price(String)].failureRateThreshold=30\n",
		"resilience4j.circuitbreaker.instances[PriceClient\\#price(String)].minimumNumberOfCalls=7\n",
	} {
		if !strings.Contains(data["gifts.properties"], want) || data["gifts.yaml"] != userDocument {
			t.Errorf("the ConfigMap lacks %s: %q", want, data)
		}
	}
	restart(t, "gifts")
	p, _ = ofGifts(t)
	// Its own document is read as before.
	resp, err := p.management(t.Context(), http.MethodGet, "/env/shop.example.greeting", "")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("what stands in gifts.yaml is %s", resp.Status)
	}
	says("a new process has confirmed it", "1 of 1")
	priced(t, p)
	gifts(t, p, "anvil", 12)
	if state := circuits(t, p)[price]; state != "OPEN" {
		t.Errorf("after 12 failures of at least 7 calls it is %s", state)
	}
	theMesh.Ask(t, "policy", "delete", "shop/gifts-start", "--reason", "Java test")
	deleted = true
	untouched(t, "gifts", "gifts.yaml")
}

// pullOf pulls a switch, and has it released at the test's end.
func pullOf(t *testing.T, app, command, want string) {
	t.Helper()
	out := theMesh.Ask(t, "switch", "pull", "shop/"+app+"/"+command, "--reason", "Java test", "--wait", "30s")
	if !strings.Contains(out, want) {
		t.Errorf("weir switch pull, want %s: %s", want, out)
	}
	t.Cleanup(func() {
		// It may be released already.
		_, _ = theMesh.TryAsk(context.Background(), "switch", "release", "shop/"+app+"/"+command, "--reason", "Java test")
	})
}

func releaseOf(t *testing.T, app, command, want string) {
	t.Helper()
	if out := theMesh.Ask(t, "switch", "release", "shop/"+app+"/"+command, "--reason", "Java test", "--wait", "30s"); !strings.Contains(out, want) {
		t.Errorf("weir switch release, want %s: %s", want, out)
	}
}

// throughWith sends a GET with headers through the gateway.
func throughWith(t *testing.T, path string, headers []string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+theMesh.Gateway+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
