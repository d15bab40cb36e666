package java

import (
	"fmt"
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
