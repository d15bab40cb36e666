package java

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// Nothing is read or written at a Service that has not asked for it, as its own
// log of requests tells; and as soon as it asks, it is, so that the log can tell.
func TestHystrixServiceThatDoesNotAskIsLeftAlone(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	governed(t, "delivery", all)
	// Spring says of every request which it is, at the management port too.
	const variable = "LOGGING_LEVEL_ORG_SPRINGFRAMEWORK_WEB"
	kubectl(t, "set", "env", "deployment/carriers", variable+"=DEBUG")
	t.Cleanup(func() {
		kubectlIn(context.WithoutCancel(t.Context()), t, "annotate", "service", "carriers", "weirmesh.io/govern-")
		kubectlIn(context.WithoutCancel(t.Context()), t, "set", "env", "deployment/carriers", variable+"-")
	})
	rolledOut(t, "carriers")
	one := pods(t, "carriers")[0]
	// It asks for what Weir would write, were it governed.
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte("name: carriers-untouched\ntarget: {app: shop/carriers}\nbreaker: {mode: forcedOpen}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := theMesh.Ask(t, "policy", "publish", "-f", file, "--reason", "Java test")
	t.Cleanup(func() {
		if _, err := theMesh.TryAsk(context.Background(), "policy", "delete", "shop/carriers-untouched", "--reason", "Java test"); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(out, "confirmed by nobody") {
		t.Errorf("weir policy publish says\n%s", out)
	}
	// A policy about its neighbour reaches the neighbour meanwhile.
	publish(t, "delivery", quote, "hystrix-untouched", "breaker: {minCalls: 21}\n", len(all))
	asked := requests(t, one)
	if !slices.ContainsFunc(asked, func(r string) bool { return strings.HasPrefix(r, `GET "/actuator/health/`) }) {
		t.Fatalf("the log does not tell of the kubelet's own probes: %q", asked)
	}
	if weirs := ofWeir(asked); len(weirs) != 0 {
		t.Errorf("it was asked %q", weirs)
	}
	kubectl(t, "annotate", "service", "carriers", "weirmesh.io/govern=true")
	mesh.Eventually(t, "it is looked at", func() error {
		if len(ofWeir(requests(t, one))) == 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	mesh.Eventually(t, "what it lacks is said", func() error {
		for _, i := range weir[application](t, "history", "shop/carriers", "--from", "-5m").Instances {
			lacks := strings.Join(i.Lacks, "\n")
			if i.Name == one.Metadata.Name && strings.Contains(lacks, ":8081/actuator has no hystrix.stream") && strings.Contains(lacks, ":8081/actuator has no env") {
				return nil
			}
		}
		return fmt.Errorf("not yet")
	})

	// And no more once it does not ask any more.
	kubectl(t, "annotate", "service", "carriers", "weirmesh.io/govern-")
	mesh.Eventually(t, "it is no instance any more", func() error {
		if a := weir[application](t, "history", "shop/carriers", "--from", "-5m"); len(a.Instances) != 0 {
			return fmt.Errorf("%+v", a.Instances)
		}
		return nil
	})
	before := len(ofWeir(requests(t, one)))
	publish(t, "delivery", quote, "hystrix-untouched-again", "breaker: {minCalls: 22}\n", len(all))
	if after := ofWeir(requests(t, one)); len(after) != before {
		t.Errorf("it was asked %q", after[before:])
	}
}

// requests are those that a pod's log tells of.
func requests(t *testing.T, p pod) (out []string) {
	t.Helper()
	for line := range strings.SplitSeq(kubectl(t, "logs", p.Metadata.Name), "\n") {
		if _, said, ok := strings.Cut(line, "DispatcherServlet"); ok {
			for _, method := range []string{"GET", "POST", "OPTIONS", "PUT", "DELETE", "HEAD"} {
				if at := strings.Index(said, method+` "`); at >= 0 {
					out = append(out, said[at:])
				}
			}
		}
	}
	return out
}

// ofWeir leaves those that neither the kubelet nor delivery makes.
func ofWeir(requests []string) []string {
	return slices.DeleteFunc(requests, func(r string) bool {
		return strings.HasPrefix(r, `GET "/actuator/health/`) || strings.HasPrefix(r, `GET "/quotes/`)
	})
}
