package agentless

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

func TestSpotsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	service := registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}, {Name: "management", Port: 81, Target: 8081}}}
	pod := registry.Pod{
		PrometheusPort: "9404", PrometheusPath: "/manage/prometheus",
		Containers: []registry.Container{{Ports: []registry.ServicePort{{Name: "actuator", Target: 8082}, {Name: "debug", Target: 5005}}}},
	}
	for name, c := range map[string]struct {
		govern registry.Govern
		want   []string
	}{
		"all there is": {registry.Govern{}, []string{
			"9404/manage", "8081/actuator", "8082/actuator", "8080/actuator", "5005/actuator",
		}},
		"an annotation": {registry.Govern{Actuator: "http://:9090/mgmt/"}, []string{
			"9090/mgmt", "9404/manage", "8081/actuator", "8082/actuator", "8080/actuator", "5005/actuator",
		}},
		"a path alone": {registry.Govern{Actuator: "/mgmt"}, []string{
			"8080/mgmt", "8081/mgmt", "9404/manage", "8081/actuator", "8082/actuator", "8080/actuator", "5005/actuator",
		}},
		"another host": {registry.Govern{Actuator: "http://evil.example:9090/mgmt"}, []string{
			"9090/mgmt", "9404/manage", "8081/actuator", "8082/actuator", "8080/actuator", "5005/actuator",
		}},
		"nonsense": {registry.Govern{Actuator: "file:///etc/passwd", PrometheusPort: "port", PrometheusPath: "/../x"}, []string{
			"9404/manage", "8081/actuator", "8082/actuator", "8080/actuator", "5005/actuator",
		}},
		"prometheus": {registry.Govern{PrometheusPort: "8088", PrometheusPath: "/metrics"}, []string{
			"8088/actuator", "9404/manage", "8081/actuator", "8082/actuator", "8080/actuator", "5005/actuator",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range spots(c.govern, service, pod) {
				got = append(got, fmt.Sprintf("%d%s", s.port, s.path))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestPathsStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"//x", "/a/../b", "/a?b", "/a#b", "/a%2fb", "a", "/a b", `/a\b`} {
		if cleanPath(p) {
			t.Errorf("%q passes", p)
		}
	}
}

// A pod belongs to one, whoever looks, and moves only with its owner.
func TestPodsAreSharedOut(t *testing.T) {
	t.Parallel()
	three := []string{"a", "b", "c"}
	count := map[string]int{}
	moved := 0
	const pods = 3000
	for n := range pods {
		pod := fmt.Sprint("pod-", n)
		at := owner(three, pod)
		count[at]++
		if owner([]string{"c", "a", "b"}, pod) != at {
			t.Fatalf("%s depends on the order", pod)
		}
		if next := owner([]string{"a", "c"}, pod); next != at {
			moved++
			if at != "b" {
				t.Fatalf("%s went from %s to %s, though b is gone", pod, at, next)
			}
		}
	}
	for _, id := range three {
		if n := count[id]; n < pods/3*8/10 || n > pods/3*12/10 {
			t.Errorf("%s has %d of %d", id, n, pods)
		}
	}
	if moved != count["b"] {
		t.Errorf("%d moved, %d were b's", moved, count["b"])
	}
	if owner(nil, "pod") != "" {
		t.Error("nobody owns something")
	}
}

func TestWhoIsGoneIsGoneAfterAWhile(t *testing.T) {
	t.Parallel()
	now := someTime
	m := members{self: "a"}
	take := func(after time.Duration, live ...string) bool {
		now = now.Add(after)
		return m.take(live, now)
	}
	if !take(0, "a", "b") || !slices.Equal(m.live, []string{"a", "b"}) {
		t.Fatalf("at first %v", m.live)
	}
	for range 3 {
		if take(time.Second, "a") {
			t.Fatalf("too soon %v", m.live)
		}
	}
	if !take(time.Second, "a") || !slices.Equal(m.live, []string{"a"}) {
		t.Fatalf("b stays: %v", m.live)
	}
	take(time.Second, "a", "b", "c")
	// The store was away. The first one back does not take everything.
	if take(time.Minute, "a") || !slices.Equal(m.live, []string{"a", "b", "c"}) {
		t.Fatalf("after an outage %v", m.live)
	}
	take(time.Second, "a", "b")
	take(time.Second, "a", "b")
	take(time.Second, "a", "b")
	if take(time.Second, "a", "b"); !slices.Equal(m.live, []string{"a", "b"}) {
		t.Fatalf("c stays: %v", m.live)
	}
}
