package servicemode

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weirmesh/weir/test/mesh"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "servicemode: a Kubernetes node needs root: run sudo make e2e, or run the other tests with make race")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// How many there are: providers at first, after they were scaled out, and in; and
// consumers.
const (
	few, many, fewer = 4, 10, 3
	consumers        = 3
)

// Connections to a Service, as registry/dubbo has them over the two protocols.
func lanes(pods int) int { return min(max(8, 2*pods), 32) }

const pool = 16

// Connections that give way are closed at last so long after, over Triple and over the
// Dubbo protocol, as registry/dubbo has it, which renews them once in a pause at most.
const (
	closedWithin, lingers = 5 * time.Second, 15 * time.Second
	renewed               = time.Second
)

// peak is how many connections a consumer may have at most where it should have n, and
// those that give way go within a time: one more renewal than there are pauses in that,
// as the last of them has not gone when the next begins.
func peak(n int, within time.Duration) int { return n * (2 + int(within/renewed)) }

// strays is how many connections of the Dubbo protocol a consumer may have besides: each
// renewal may leave one, by which nobody calls, as dubbo-getty (v1.4.10) does not close a
// connection that it makes while its client is being closed. It is fewer than a pool, so
// that one which is not given up shows.
const strays = pool / 2

// calls is how many each consumer makes by each way for a figure.
const calls = 200

// One connection leads to one pod; lanes and the pool to most, on a real kube-proxy
// in each of its modes. They go on to pods that come, leave those that end, lose no
// call, and never are more than they should be for longer than it takes to change.
func TestConnectionsSpreadOverPods(t *testing.T) {
	for _, mode := range []string{"iptables", "nftables"} {
		t.Run(mode, func(t *testing.T) {
			c := start(t, mode)
			first := names(c.scale(echo, few))
			callers := c.scale("caller", consumers)

			c.holds(callers, few)
			c.spreads(callers, few, func(string) bool { return true })

			c.scale(echo, many)
			come := func(pod string) bool { return !slices.Contains(first, pod) }
			c.holds(callers, many)
			c.spreads(callers, many, come)

			left := c.scale(echo, fewer)
			c.holds(callers, fewer)
			c.spreads(callers, fewer, func(pod string) bool { return slices.Contains(names(left), pod) })
			c.served(left, callers)

			for _, caller := range callers {
				var failed []any
				if err := c.ask(caller, "/failed", &failed); err != nil {
					t.Fatal(err)
				}
				if failed[0] != 0.0 {
					t.Errorf("%v of %v calls failed from %s, the last: %v", failed[0], failed[2], caller.Name, failed[1])
				}
			}
		})
	}
}

func names(pods []corev1.Pod) (names []string) {
	for _, p := range pods {
		names = append(names, p.Name)
	}
	return names
}

func (c *cluster) ask(pod corev1.Pod, path string, into any) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute) // calls are many
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(adminPort))+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %s", path, pod.Name, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// holds waits until every consumer has as many connections as it should have to so
// many pods, and has at no time more than may be on their way out beside them.
func (c *cluster) holds(callers []corev1.Pod, pods int) {
	c.t.Helper()
	// The plain connection ends with its pod, and is made again by the next call.
	triple, dubbo, plain := fmt.Sprintf("%s:%d", c.service(echo), triplePort), fmt.Sprintf("%s:%d", c.service(echo), dubboPort), fmt.Sprintf("%s:%d", c.service(direct), triplePort)
	want := map[string]int{triple: lanes(pods), dubbo: pool}
	bound := map[string]int{triple: peak(lanes(many), closedWithin), dubbo: peak(pool, lingers)}
	most := map[string]int{}
	mesh.Eventually(c.t, fmt.Sprintf("connections are those to %d pods", pods), func() error {
		var wrong []string
		for _, caller := range callers {
			var open sockets
			if err := c.ask(caller, "/sockets", &open); err != nil {
				return err
			}
			for to, n := range want {
				most[to] = max(most[to], open[to])
				stray := 0
				if to == dubbo {
					stray = strays
				}
				if open[to] < n || open[to] > n+stray {
					wrong = append(wrong, fmt.Sprintf("%s has %d to %s, not %d", caller.Name, open[to], to, n))
				}
			}
			if open[plain] > 1 {
				wrong = append(wrong, fmt.Sprintf("%s has %d plain ones", caller.Name, open[plain]))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%s", strings.Join(wrong, "; "))
		}
		return nil
	})
	for to, n := range most {
		if n > bound[to] {
			c.t.Errorf("a consumer had %d connections to %s, more than the %d that renewals allow for", n, to, bound[to])
		}
	}
	c.t.Logf("%d pods: each consumer has %d lanes and a pool of %d; on the way it had at most %d and %d", pods, lanes(pods), pool, most[triple], most[dubbo])
}

// spreads waits until every consumer's calls by lanes and by the pool reach at least
// two pods, one of which is among some, and tells how calls spread.
func (c *cluster) spreads(callers []corev1.Pod, pods int, among func(pod string) bool) {
	c.t.Helper()
	var each []said
	mesh.Eventually(c.t, "calls reach the pods that they should", func() error {
		each = nil
		for _, caller := range callers {
			var s said
			if err := c.ask(caller, "/calls?n="+strconv.Itoa(calls), &s); err != nil {
				return err
			}
			for _, way := range []string{byLanes, byPool} {
				called := slices.Collect(maps.Keys(s[way]))
				if len(called) < 2 || !slices.ContainsFunc(called, among) {
					return fmt.Errorf("by %s %s reaches %v", way, caller.Name, s[way])
				}
			}
			if len(s[byOne]) != 1 {
				return fmt.Errorf("by one connection %s reaches %v", caller.Name, s[byOne])
			}
			each = append(each, s)
		}
		return nil
	})
	for _, way := range []string{byOne, byLanes, byPool} {
		together := map[string]int{}
		var hottest float64
		idle := 0
		for _, s := range each {
			for pod, n := range s[way] {
				together[pod] += n
			}
			hottest += float64(slices.Max(slices.Collect(maps.Values(s[way]))))
			idle += pods - len(s[way])
		}
		mean := float64(calls) / float64(pods)
		c.t.Logf("%d pods by %s: one consumer's hottest pod has %.1f times the mean, and %.1f pods have none; of all %d consumers' it has %.1f times, and %d have none",
			pods, way, hottest/mean/consumers, float64(idle)/consumers, consumers,
			float64(slices.Max(slices.Collect(maps.Values(together))))/mean/consumers, pods-len(together))
	}
}

// served waits until the pods that are left have the consumers' connections between
// them, and no more: what a consumer closed is closed at its other end, too.
func (c *cluster) served(pods, callers []corev1.Pod) {
	c.t.Helper()
	mesh.Eventually(c.t, "the pods have the consumers' connections and no others", func() error {
		got := map[int]int{}
		for _, p := range pods {
			var open sockets
			if err := c.ask(p, "/sockets", &open); err != nil {
				return err
			}
			for _, port := range []int{dubboPort, triplePort} {
				got[port] += open[fmt.Sprintf(":%d", port)]
			}
		}
		want := map[int]int{dubboPort: len(callers) * pool, triplePort: len(callers) * (lanes(fewer) + 1)}
		if stray := got[dubboPort] - want[dubboPort]; stray < 0 || stray > len(callers)*strays || got[triplePort] != want[triplePort] {
			return fmt.Errorf("they have %v, not %v", got, want)
		}
		return nil
	})
}
