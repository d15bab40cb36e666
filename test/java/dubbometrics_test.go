package java

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

// withdraw is a method of the catalogue's that answers nothing but an exception, and
// that nobody calls but these tests.
const withdraw = "CatalogueService.withdraw"

// only returns the one pod of an application, whose UID is its instance.
func only(t *testing.T, app string) (p pod) {
	t.Helper()
	mesh.Eventually(t, app+" has one pod", func() error {
		all := pods(t, app)
		if len(all) != 1 {
			return fmt.Errorf("there are %d", len(all))
		}
		p = all[0]
		return nil
	})
	return p
}

// isRead waits until Weir reads what a pod of an application counts, of which Dubbo 3.3
// tells nothing before its first call: call makes one.
func isRead(t *testing.T, app string, p pod, call func()) {
	t.Helper()
	mesh.Eventually(t, p.Metadata.Name+" tells what it counts", func() error {
		a := weir[application](t, "history", "shop/"+app, "--from", "-5m")
		for _, i := range a.Instances {
			if i.Instance == p.Metadata.UID && i.Name == p.Metadata.Name && i.SDK == "dubbo-java" && len(i.Lacks) == 0 && i.Current {
				return nil
			}
		}
		call()
		return fmt.Errorf("%+v", a.Instances)
	})
}

// serviceOf makes a Service for an application that only calls, by which Weir knows whose
// metrics to read, until the test has ended.
func serviceOf(t *testing.T, app string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "service.yaml")
	text := fmt.Sprintf(`apiVersion: v1
kind: Service
metadata:
  name: %[1]s
  annotations: {weirmesh.io/govern: "true"}
spec:
  selector: {app.kubernetes.io/name: %[1]s}
  ports: [{name: admin, port: %[2]s, targetPort: admin}]
`, app, adminPort)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "-f", file)
	t.Cleanup(func() { kubectlIn(context.WithoutCancel(t.Context()), t, "delete", "service", app) })
}

// withdrawals lets restock try to withdraw so many books from a catalogue, each time
// among other things that it asks.
func (l line) withdrawals(t *testing.T, times int64) {
	t.Helper()
	address := net.JoinHostPort(pods(t, l.restock())[0].Status.PodIP, adminPort)
	for range times {
		var report map[string]string
		if err := mesh.GetJSON(t.Context(), "http://"+address+"/inspect?of="+l.catalogue(dubbo2)+"&over=dubbo", &report); err != nil || report["withdraw"] != "ok" {
			t.Fatalf("%v, %v", report, err)
		}
	}
}

// failed is how many calls the history has that failed.
func failed(t *testing.T, app, command string, more ...string) (n int64, timed bool) {
	t.Helper()
	for _, p := range history(t, app, command, time.Now().Add(-time.Hour), more...).Points {
		n += p.Counts.Failure
		timed = timed || p.Latency != nil && p.Latency.P99 != ""
	}
	return n, timed
}

// What Dubbo Java counts by its own metrics is in the history call by call, of what it
// serves and of what it calls, and so it is of a process that begins anew.
func TestDubboCountsAreInHistory(t *testing.T) {
	dubboTurns.take(t)
	eachLine(t, func(t *testing.T, l line) {
		app := l.catalogue(dubbo2)
		serviceOf(t, l.restock())
		p, caller := only(t, app), only(t, l.restock())
		instance := p.Metadata.UID
		made, _ := failed(t, app, withdraw, "--instance", instance) // by tests before
		var counted int64
		call := func() {
			t.Helper()
			l.withdrawals(t, 1)
			made++
		}
		warm := func(what string) {
			t.Helper()
			before, _ := failed(t, app, withdraw, "--instance", instance)
			mesh.Eventually(t, what, func() error {
				call()
				if counted, _ = failed(t, app, withdraw, "--instance", instance); counted == before {
					return errors.New("nothing is counted yet")
				}
				return nil
			})
		}
		// count makes some calls: what is counted is never less than what was made since
		// anything was, and never more than what was made.
		count := func(what string) {
			t.Helper()
			const calls = 30
			l.withdrawals(t, calls)
			most := counted
			mesh.Eventually(t, what, func() error {
				n, timed := failed(t, app, withdraw, "--instance", instance)
				most = max(most, n)
				if n < counted+calls || !timed {
					return fmt.Errorf("%d of %d, with latencies: %v", n-counted, calls, timed)
				}
				return nil
			})
			if made += calls; most > made {
				t.Errorf("%d calls are counted of %d", most, made)
			}
		}
		isRead(t, app, p, call)
		isRead(t, l.restock(), caller, call)
		warm("calls are counted")
		count("every call is counted where it is served")
		mesh.Eventually(t, "calls are counted where they are made", func() error {
			n, _ := failed(t, l.restock(), withdraw, "--instance", caller.Metadata.UID, "--at", "caller")
			reserved := int64(0)
			for _, p := range history(t, l.restock(), "InventoryService.reserve", time.Now().Add(-time.Hour), "--instance", caller.Metadata.UID, "--at", "caller").Points {
				reserved += p.Counts.Success
			}
			if n < 30 || reserved < 30 {
				return fmt.Errorf("%d withdrawals, %d reservations", n, reserved)
			}
			return nil
		})
		if a := weir[application](t, "history", "shop/"+app, "--from", "-1h"); !slices.ContainsFunc(a.Commands, func(c struct{ Command, At string }) bool { return c.Command == withdraw && c.At == "provider" }) {
			t.Errorf("its commands are %+v", a.Commands)
		}

		kill(t, p)
		mesh.Eventually(t, "the container has begun anew", func() error {
			for _, now := range pods(t, app) {
				if len(now.Status.ContainerStatuses) == 1 && now.Status.ContainerStatuses[0].RestartCount > 0 {
					return nil
				}
			}
			return errors.New("not yet")
		})
		registered(t, app)
		if again := only(t, app); again.Metadata.UID != instance { // it had to be replaced
			p, instance, made = again, again.Metadata.UID, 0
		}
		mesh.Eventually(t, "restock has found it again", func() error {
			return mesh.GetJSON(t.Context(), "http://"+net.JoinHostPort(pods(t, l.restock())[0].Status.PodIP, adminPort)+"/article/book?of="+app+"&over=dubbo", new(map[string]any))
		})
		isRead(t, app, p, call)
		warm("calls of the new process are counted")
		count("every call of the new process is counted")
	})
}

// A pod whose metrics cannot be read is named with what it lacks, in words that say
// what to do; and so it is of a switch that Dubbo Java cannot obey.
func TestDubboSaysWhatItsMetricsLack(t *testing.T) {
	dubboTurns.take(t)
	eachLine(t, func(t *testing.T, l line) {
		app := l.catalogue(dubbo2)
		isRead(t, app, only(t, app), func() { l.withdrawals(t, 1) })
		out, err := theMesh.TryAsk(t.Context(), "switch", "pull", "shop/"+app+"/"+withdraw, "--reason", "Java test", "--wait", "10s")
		t.Cleanup(func() {
			_, _ = theMesh.TryAsk(context.Background(), "switch", "release", "shop/"+app+"/"+withdraw, "--reason", "Java test")
		})
		if said := fmt.Sprint(out, err); strings.Contains(said, "confirmed by 1 of 1") {
			t.Errorf("it is confirmed:\n%s", said)
		}
		mesh.Eventually(t, "it says why it does not obey a switch", func() error {
			out, err := theMesh.TryAsk(t.Context(), "policy", "status", "shop/"+app+"."+withdraw+".switch")
			if err == nil && !strings.Contains(out, "publish the policy with at: caller") {
				err = errors.New(out)
			}
			return err
		})

		const options = "JAVA_TOOL_OPTIONS"
		kubectl(t, "set", "env", "deployment/"+app, options+"=-Duser.home=/tmp -Ddubbo.application.qos-anonymous-allow-commands=none")
		t.Cleanup(func() {
			ctx := context.WithoutCancel(t.Context())
			kubectlIn(ctx, t, "set", "env", "deployment/"+app, options+"=-Duser.home=/tmp")
			kubectlIn(ctx, t, "rollout", "status", "deployment", app, "--timeout", mesh.Patience.String())
		})
		rolledOut(t, app)
		mesh.Eventually(t, "the pod that lacks something is named", func() error {
			all := pods(t, app)
			a := weir[application](t, "history", "shop/"+app, "--from", "-5m")
			for _, i := range a.Instances {
				if i.Name == all[0].Metadata.Name && strings.Contains(strings.Join(i.Lacks, "\n"), ":22222/metrics is not for others than the pod itself: set dubbo.application.qos-anonymous-allow-commands=metrics") {
					return nil
				}
			}
			return fmt.Errorf("%+v", a.Instances)
		})
	})
}
