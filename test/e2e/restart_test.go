package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/test/mesh"
)

// descendants returns the pids of all processes that come from pid, by following
// /proc; pods run in the mesh's process tree too.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	parents := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid …, and the name may hold anything.
		id, rest, _ := strings.Cut(string(text), " ")
		fields := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:])
		child, err1 := strconv.Atoi(id)
		parent, err2 := strconv.Atoi(fields[1])
		if err1 != nil || err2 != nil {
			t.Fatalf("%s: %q", path, text)
		}
		parents[parent] = append(parents[parent], child)
	}
	var all []int
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		all = append(all, parents[next[0]]...)
		next = append(next, parents[next[0]]...)
	}
	return all
}

// allGone waits until none of the processes is left.
func allGone(t *testing.T, pids []int) {
	t.Helper()
	mesh.Eventually(t, "every process has ended", func() error {
		for _, pid := range pids {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				continue
			}
			// What has ended stays as a zombie where the first process of a
			// container reaps nobody.
			end := bytes.LastIndexByte(stat, ')')
			if state := bytes.Fields(stat[end+1:])[0]; state[0] != 'Z' && state[0] != 'X' {
				return fmt.Errorf("%s still runs", stat[:end+1])
			}
		}
		return nil
	})
}

// Ctrl-C ends everything, kill -9 leaves nothing that the next start does not
// sweep, and after either the next start has yesterday's data.
func TestRestartEndsEverythingAndKeepsData(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			s := openShop(t)
			s.scale("inventory", 3) // which no manifest says
			before, err := s.client.AppsV1().Deployments(namespace).Get(t.Context(), "load", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			kept := keep(t, sig.String())
			pids := descendants(t, theMesh.Cmd.Process.Pid)
			if len(pids) < 10 {
				t.Fatalf("only %d processes came from weir up", len(pids))
			}
			if err := theMesh.Stop(sig); err != nil {
				t.Fatal(err)
			}
			allGone(t, pids)
			if err := theMesh.Start(); err != nil {
				t.Fatal(err)
			}
			s = openShop(t)
			after, err := s.client.AppsV1().Deployments(namespace).Get(t.Context(), "load", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if before.UID != after.UID {
				t.Error("the shop was made anew: yesterday's cluster was lost")
			}
			load := s.one("load")
			s.follows()
			s.placed(load, 20)
			kept()
		})
	}
}

// keep writes a route and a policy, makes history and a trace, and returns what
// holds, after a restart, that all of it is still there.
func keep(t *testing.T, name string) (check func()) {
	t.Helper()
	began := time.Now().Add(-time.Minute)
	name = "e2e-" + name
	dir := t.TempDir()
	for _, c := range [][3]string{
		{"route", "apply", "namespace: shop\nname: " + name + "\nmatch: {path: \"/" + name + "/{rest...}\"}\nfilters: [{stripPrefix: 1}]\nupstream: {app: shop/storefront}\n"},
		{"policy", "publish", "name: " + name + "\ntarget: {app: shop/pricing}\ntimeout: 9s\n"},
	} {
		path := filepath.Join(dir, c[0]+".yaml")
		if err := os.WriteFile(path, []byte(c[2]), 0o600); err != nil {
			t.Fatal(err)
		}
		theMesh.Ask(t, c[0], c[1], "-f", path, "--reason", "end-to-end test", "--wait", "30s")
	}
	id := newID(t, 16)
	if a := theMesh.through(t, http.MethodGet, "/"+name+"/cart/7", "", "traceparent", "00-"+id+"-00000000000000aa-01"); a.status != http.StatusOK {
		t.Errorf("the new route: %s", a)
	}
	theMesh.trace(t, id, "gateway", "storefront", "orders", "inventory")
	sum, _ := theMesh.series(t, began)
	audited := func() int {
		return strings.Count(theMesh.Ask(t, "audit", "--action", "put-route", "--object", "route shop/", "--limit", "1000"), "part of the example shop")
	}
	wrote := audited()
	return func() {
		if now := audited(); now != wrote {
			t.Errorf("the shop's routes are as they were, and were written again: %d entries of the audit log, %d before", now, wrote)
		}
		mesh.Eventually(t, "the route serves", func() error {
			a, err := request(t.Context(), http.MethodGet, "http://"+theMesh.Gateway+"/"+name+"/cart/7", "")
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%s", a)
			}
			return err
		})
		if out := theMesh.Ask(t, "policy", "get", "shop/"+name); !strings.Contains(out, "9s") {
			t.Errorf("the policy is not what it was:\n%s", out)
		}
		theMesh.trace(t, id, "gateway", "storefront", "orders", "inventory")
		if now, _ := theMesh.series(t, began); now.Success < sum.Success || sum.Success == 0 {
			t.Errorf("the history lost calls: %+v, it was %+v", now, sum)
		}
		theMesh.Ask(t, "route", "delete", "shop/"+name, "--reason", "end-to-end test")
		theMesh.Ask(t, "policy", "delete", "shop/"+name, "--reason", "end-to-end test")
	}
}
