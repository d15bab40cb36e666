package java

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// The pod stays, and its process is killed and begins anew.
func TestResilience4jSwitchHoldsAgainAfterAKill(t *testing.T) {
	springTurns.take(t)
	p, _ := ofGifts(t)
	priced(t, p)
	pullOf(t, "gifts", price, "confirmed by 1 of 1")
	pullOf(t, "gifts", wrapping, "confirmed by 1 of 1")
	kill(t, p)
	mesh.Eventually(t, "the container has begun anew", func() error {
		for _, now := range pods(t, "gifts") {
			if now.Metadata.Name == p.Metadata.Name && len(now.Status.ContainerStatuses) == 1 && now.Status.ContainerStatuses[0].RestartCount > 0 {
				return nil
			}
		}
		return fmt.Errorf("not yet")
	})
	giftsHeld(t)
	releaseOf(t, "gifts", price, "confirmed by 1 of 1")
	releaseOf(t, "gifts", wrapping, "confirmed by 1 of 1")
}

// A pod that lacks something is named with what it lacks, and what a policy asks for
// that Resilience4j takes only at its start is said with the property that sets it.
func TestResilience4jSaysWhatItLacks(t *testing.T) {
	springTurns.take(t)
	p, _ := ofGifts(t)
	priced(t, p)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	// No process that a test before may have left has this threshold, which would then
	// be met.
	document := fmt.Sprintf("name: gifts-thresholds\ntarget: {app: shop/gifts, command: %q}\nbreaker: {errorPercent: 35}\n", price)
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	theMesh.Ask(t, "policy", "publish", "-f", file, "--reason", "Java test")
	const property = "resilience4j.circuitbreaker.instances[PriceClient#price(String)].failureRateThreshold=35"
	mesh.Eventually(t, "it says what it does not enforce", func() error {
		out, err := theMesh.TryAsk(t.Context(), "policy", "status", "shop/gifts-thresholds")
		if err == nil && !strings.Contains(out, property) {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	theMesh.Ask(t, "policy", "delete", "shop/gifts-thresholds", "--reason", "Java test")

	variant(t, "gifts", "gifts-blind", "MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE", "health,circuitbreakers")
	mesh.Eventually(t, "the pod that lacks something is named", func() error {
		var named strings.Builder
		for _, i := range weir[application](t, "history", "shop/gifts", "--from", "-5m").Instances {
			if len(i.Lacks) > 0 {
				fmt.Fprintf(&named, "%s: %s\n", i.Name, strings.Join(i.Lacks, "; "))
			}
		}
		lame := named.String()
		if !strings.HasPrefix(lame, "gifts-blind-") || strings.Count(lame, "\n") != 1 || !strings.Contains(lame, ":8081/actuator has no prometheus: add prometheus to management.endpoints.web.exposure.include") {
			return fmt.Errorf("%q", lame)
		}
		return nil
	})
}

// While a policy disables a circuit breaker every call goes through it, whatever
// fails; what somebody else makes of it is told, counted and brought back; and it is
// closed when the policy ends.
func TestResilience4jIsDisabledAndDriftIsBroughtBack(t *testing.T) {
	springTurns.take(t)
	p, _ := ofGifts(t)
	priced(t, p)
	is := func(want string) {
		t.Helper()
		mesh.Eventually(t, "the circuit breaker is "+want, func() error {
			if c := circuits(t, p); c[price] != want {
				return fmt.Errorf("they are %v", c)
			}
			return nil
		})
	}
	end := publish(t, "gifts", price, "gifts-disabled", "breaker: {mode: disabled}\n", 1)
	if c := circuits(t, p); c[price] != "DISABLED" || c[wrapping] == "DISABLED" {
		t.Errorf("its circuit breakers are %v", c)
	}
	// Nobody has a price for an anvil, and a third of these failures would open it.
	if ok, other := gifts(t, p, "anvil", 60); ok != 0 || other != 60 {
		t.Errorf("pricing answered %d calls", ok)
	}
	if c := circuits(t, p); c[price] != "DISABLED" {
		t.Errorf("after failures its circuit breakers are %v", c)
	}

	drifts := metric(t, theMesh, "weir_control_agentless_drifts_total")
	resp, err := p.management(t.Context(), http.MethodPost, "/circuitbreakers/"+url.PathEscape(price), `{"updateState":"CLOSE"}`)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	mesh.Eventually(t, "what somebody changed is told", func() error {
		out, err := theMesh.TryAsk(t.Context(), "events", "--app", "shop/gifts", "--kind", "instance.drifted", "--from", "-10m")
		if err == nil && !strings.Contains(out, "circuit breaker "+price+" is CLOSED in it") {
			err = fmt.Errorf("weir events says\n%s", out)
		}
		return err
	})
	if now := metric(t, theMesh, "weir_control_agentless_drifts_total"); now <= drifts {
		t.Errorf("%g drifts are counted, before it were %g", now, drifts)
	}
	is("DISABLED")
	end()
	is("CLOSED")
}
