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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// publish writes a policy about a command of an application from its rules, waits until
// every pod has confirmed it, and deletes it when it is told to, or at the test's end.
func publish(t *testing.T, app, command, name, rules string, pods int) (end func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	document := fmt.Sprintf("name: %s\ntarget: {app: shop/%s, command: %q}\n%s", name, app, command, rules)
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	out := theMesh.Ask(t, "policy", "publish", "-f", file, "--reason", "Java test", "--wait", "30s")
	if want := fmt.Sprintf("confirmed by %d of %d", pods, pods); !strings.Contains(out, want) {
		t.Errorf("weir policy publish, want %s: %s", want, out)
	}
	end = sync.OnceFunc(func() {
		if _, err := theMesh.TryAsk(context.Background(), "policy", "delete", "shop/"+name, "--reason", "Java test"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}

// pull pulls the switch of delivery's command and releases it at the test's end.
func pull(t *testing.T, want string) {
	t.Helper()
	out := theMesh.Ask(t, "switch", "pull", "shop/delivery/"+quote, "--reason", "Java test", "--wait", "30s")
	if !strings.Contains(out, want) {
		t.Errorf("weir switch pull, want %s: %s", want, out)
	}
	t.Cleanup(func() {
		if _, err := theMesh.TryAsk(context.Background(), "switch", "release", "shop/delivery/"+quote, "--reason", "Java test", "--wait", "30s"); err != nil {
			t.Error(err)
		}
	})
}

// fault makes the carriers fail or wait, until the test's end.
func fault(t *testing.T, errorPercent, delayMillis int) {
	t.Helper()
	all := pods(t, "carriers")
	put := func(ctx context.Context, errorPercent, delayMillis int) {
		for _, p := range all {
			req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+net.JoinHostPort(p.Status.PodIP, "8080")+"/faults",
				strings.NewReader(fmt.Sprintf(`{"errorPercent": %d, "delayMillis": %d}`, errorPercent, delayMillis)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
		}
	}
	put(t.Context(), errorPercent, delayMillis)
	if errorPercent != 0 || delayMillis != 0 {
		t.Cleanup(func() { put(context.WithoutCancel(t.Context()), 0, 0) })
	}
}

// Thresholds and a timeout are changed while the application runs: its stream says
// so, and its calls go by them.
func TestHystrixThresholdsAndTimeoutAreLive(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	governed(t, "delivery", all)
	before, err := all[0].stream(t.Context(), quote)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("timeout", func(t *testing.T) {
		fault(t, 0, 500)
		publish(t, "delivery", quote, "hystrix-slow", "timeout: 200ms\n", len(all))
		shows(t, all, "200 ms", func(w word) bool { return w.Timeout == 200 })
		answers(t, all, byPost)
		publish(t, "delivery", quote, "hystrix-slower", "timeout: 950ms\n", len(all))
		shows(t, all, "950 ms", func(w word) bool { return w.Timeout == 950 })
		fault(t, 0, 300)
		answers(t, all, byRoad)
	})
	t.Run("thresholds", func(t *testing.T) {
		publish(t, "delivery", quote, "hystrix-threshold", "breaker: {minCalls: 4, errorPercent: 60, openFor: 2s}\n", len(all))
		shows(t, all, "4 calls, 60 %, 2 s", func(w word) bool { return w.MinCalls == 4 && w.ErrorPercent == 60 && w.SleepWindow == 2000 })
		fault(t, 100, 0)
		for _, p := range all {
			// Far fewer calls than the twenty of Hystrix's own default open it.
			for range 6 {
				if o, err := p.deliver(t.Context()); err != nil || o.Carrier != byPost {
					t.Errorf("%+v, %v", o, err)
				}
			}
			mesh.Eventually(t, "the circuit of "+p.Metadata.Name+" is open", func() error {
				if _, err := p.deliver(t.Context()); err != nil {
					return err
				}
				w, err := p.stream(t.Context(), quote)
				if err == nil && !w.Open {
					err = fmt.Errorf("%+v", w)
				}
				return err
			})
		}
		fault(t, 0, 0)
		carriers(t, all) // closed by a probe
	})
	t.Run("disabled", func(t *testing.T) {
		publish(t, "delivery", quote, "hystrix-disabled", "breaker: {mode: disabled}\n", len(all))
		shows(t, all, "that it is disabled", func(w word) bool { return !w.Enabled })
		fault(t, 100, 0)
		for _, p := range all {
			for range 30 {
				if o, err := p.deliver(t.Context()); err != nil || o.Carrier != byPost {
					t.Errorf("%+v, %v", o, err)
				}
			}
		}
		fault(t, 0, 0)
		answers(t, all, byRoad) // no circuit has opened: there is none to wait for
	})
	shows(t, all, "its own settings again", func(w word) bool {
		return w.Enabled && w.MinCalls == before.MinCalls && w.ErrorPercent == before.ErrorPercent && w.SleepWindow == before.SleepWindow && w.Timeout == before.Timeout
	})
}

// Hystrix's settings live as long as its process: whatever way one begins anew, the
// policy is written again, and confirmed by the stream of the new one.
func TestHystrixPolicyHoldsAgainAfterRestarts(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	governed(t, "delivery", all)
	pull(t, fmt.Sprintf("confirmed by %d of %d", len(all), len(all)))
	holds := func(what string, all []pod) {
		t.Helper()
		mesh.Eventually(t, "the switch holds after "+what, func() error {
			out, err := theMesh.TryAsk(t.Context(), "switch", "list")
			if err == nil && !strings.Contains(out, fmt.Sprintf("%d of %d", len(all), len(all))) {
				err = fmt.Errorf("%s", out)
			}
			return err
		})
		governed(t, "delivery", all)
		answers(t, all, byPost)
		shows(t, all, "that it is forced open", func(w word) bool { return w.ForceOpen })
	}
	holds("it was pulled", all)

	kubectl(t, "delete", "pod", all[0].Metadata.Name, "--wait=true")
	rolledOut(t, "delivery")
	anew := pods(t, "delivery")
	if anew[0].Metadata.Name == all[0].Metadata.Name && anew[1].Metadata.Name == all[1].Metadata.Name {
		t.Fatalf("no pod is new: %v", anew)
	}
	holds("a pod was deleted", anew)

	restart(t, "delivery")
	holds("a rolling restart", pods(t, "delivery"))

	// The pod stays, and its process is killed and begun anew.
	victim := pods(t, "delivery")[0]
	kill(t, victim)
	mesh.Eventually(t, "the container has begun anew", func() error {
		for _, p := range pods(t, "delivery") {
			if p.Metadata.Name == victim.Metadata.Name && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount > 0 {
				return nil
			}
		}
		return fmt.Errorf("not yet")
	})
	holds("its process was killed", pods(t, "delivery"))
}

// kill ends the process of a pod's only container, as the kernel does one that
// takes too much memory.
func kill(t *testing.T, p pod) {
	t.Helper()
	if len(p.Status.ContainerStatuses) != 1 {
		t.Fatalf("%+v", p.Status)
	}
	_, id, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, path := range groups {
		text, err := os.ReadFile(path)
		if err != nil || id == "" || !strings.Contains(string(text), id) {
			continue // it ended meanwhile, or is another's
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed++
	}
	if killed == 0 {
		t.Fatalf("no process runs in container %s", id)
	}
}

// What somebody else writes into a pod that a policy speaks of is told, counted
// and written back; what no policy speaks of stays as it was written.
func TestHystrixDriftIsToldAndWrittenBack(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	ids := governed(t, "delivery", all)
	publish(t, "delivery", quote, "hystrix-drift", "breaker: {minCalls: 33}\n", len(all))
	const own, theirs = "hystrix.command." + quote + ".circuitBreaker.requestVolumeThreshold", "hystrix.command." + quote + ".circuitBreaker.sleepWindowInMilliseconds"
	drifts := metric(t, theMesh, "weir_control_agentless_drifts_total")
	write(t, all[0], theirs, "4321")
	told := false
	mesh.Eventually(t, "what somebody changes is told", func() error {
		write(t, all[0], own, "7")
		for _, i := range weir[application](t, "history", "shop/delivery", "--from", "-5m").Instances {
			if strings.Contains(strings.Join(i.Lacks, "\n"), own+" is 7 in it, and should be 33") {
				told = i.Instance == ids[all[0].Metadata.Name]
				return nil
			}
		}
		return fmt.Errorf("nobody tells")
	})
	if !told {
		t.Error("it is told of another pod")
	}
	mesh.Eventually(t, "it is written back", func() error {
		w, err := all[0].stream(t.Context(), quote)
		if err == nil && (w.MinCalls != 33 || w.SleepWindow != 4321) {
			err = fmt.Errorf("%+v", w)
		}
		return err
	})
	governed(t, "delivery", all)
	// And it can be read of afterwards.
	if out := theMesh.Ask(t, "events", "--app", "shop/delivery", "--kind", "instance.drifted", "--from", "-10m"); !strings.Contains(out, own+" is 7 in it, and should be 33") {
		t.Errorf("weir events says\n%s", out)
	}
	if now := metric(t, theMesh, "weir_control_agentless_drifts_total"); now <= drifts {
		t.Errorf("%g drifts are counted, before it were %g", now, drifts)
	}
	write(t, all[0], theirs, "")
}

// write does what anybody may who reaches a pod's management port.
func write(t *testing.T, p pod, name, value string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": name, "value": value})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.management(t.Context(), http.MethodPost, "/env", string(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST env: %s %s", resp.Status, said)
	}
}

// Of pods of one Service, the one that lacks something is named with what it
// lacks, and does not count as one that obeys.
func TestHystrixPodThatLacksAPropertyIsNamed(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	governed(t, "delivery", all)
	variant(t, "delivery", "delivery-readonly", "MANAGEMENT_ENDPOINT_ENV_POST_ENABLED", "false")
	var lame string
	mesh.Eventually(t, "the pod that lacks something is named", func() error {
		lame = ""
		for _, i := range weir[application](t, "history", "shop/delivery", "--from", "-5m").Instances {
			if len(i.Lacks) > 0 {
				lame += i.Name + ": " + strings.Join(i.Lacks, "; ") + "\n"
			}
		}
		if !strings.HasPrefix(lame, "delivery-readonly-") || strings.Count(lame, "\n") != 1 || !strings.Contains(lame, ":8081/actuator/env cannot be written: set management.endpoint.env.post.enabled=true") {
			return fmt.Errorf("%q", lame)
		}
		return nil
	})
	pull(t, "confirmed by 2 of 3")
	list := theMesh.Ask(t, "switch", "list")
	if name, _, _ := strings.Cut(lame, ":"); !strings.Contains(list, "2 of 3") || !strings.Contains(list, name) {
		t.Errorf("weir switch list does not name %s:\n%s", name, list)
	}
	answers(t, all, byPost)
	shows(t, all, "that it is forced open", func(w word) bool { return w.ForceOpen })
}

// variant runs one more pod of an application whose environment differs, until
// the test's end.
func variant(t *testing.T, app, name, variable, value string) {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal([]byte(kubectl(t, "get", "deployment", app, "-o", "json")), &d); err != nil {
		t.Fatal(err)
	}
	at := func(o any, path ...string) map[string]any {
		for _, p := range path {
			o = o.(map[string]any)[p]
		}
		return o.(map[string]any)
	}
	labels := at(d, "spec", "template", "metadata", "labels")
	labels["shop.example/variant"] = name
	d["metadata"] = map[string]any{"name": name, "namespace": namespace, "labels": labels}
	delete(d, "status")
	at(d, "spec")["replicas"] = 1
	at(d, "spec", "selector")["matchLabels"] = labels
	container := at(d, "spec", "template", "spec")["containers"].([]any)[0].(map[string]any)
	env, _ := container["env"].([]any)
	container["env"] = append(env, map[string]any{"name": variable, "value": value})
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "-f", file)
	t.Cleanup(func() {
		kubectlIn(context.WithoutCancel(t.Context()), t, "delete", "deployment", name, "--cascade=foreground", "--wait=true")
	})
	rolledOut(t, name)
}
