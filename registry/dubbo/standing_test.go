package dubbo

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry"
)

// kept is an instance that is not ready, and is called all the same.
func kept(i registry.Instance) registry.Instance {
	i.Health = registry.NotReady
	i.Kept = &registry.Kept{Because: registry.KeptNotReady, Lost: 3, Of: 3}
	return i
}

// listenAt listens until the test ends.
func listenAt(t *testing.T, address string) (host string, port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := l.Addr().(*net.TCPAddr)
	return at.IP.String(), uint16(at.Port)
}

// by is an instance that serves Triple at a port of an address.
func by(id, host string, port uint16) registry.Instance {
	i := callable(id, host, "r1")
	i.Endpoints = []registry.Endpoint{{Protocol: "tri", Port: port}}
	return i
}

// calledByService is a rig with an application behind a Service that takes connections, and
// its instances at addresses that take none.
func calledByService(t *testing.T, ids ...string) (r *rig, service string, instances []registry.Instance) {
	t.Helper()
	r = newRig(t)
	r.offer("inventory", "r1", stock)
	host, port := listenAt(t, "127.0.0.1:0")
	r.world.PutService(app("inventory"), registry.Service{Host: host, Ports: []registry.ServicePort{{Name: "tri", Port: port}}})
	r.world.SetMode(app("inventory"), registry.ModeService)
	nobody := uint16(testprocess.FreePorts(t, 1)[0])
	for n, id := range ids {
		i := by(id, fmt.Sprintf("127.0.0.%d", n+2), nobody)
		instances = append(instances, i)
		r.world.PutInstance(app("inventory"), i)
	}
	return r, fmt.Sprintf("%s:%d", host, port), instances
}

// The cluster refuses new connections to a Service without ready instances. What is
// kept is called by the lanes that there are, and by the instances themselves.
func TestLanesStandWhileNobodyIsReady(t *testing.T) {
	r, service, in := calledByService(t, "a", "b", "c")
	tri := r.subscribe(consumerURL(stock, "tri"))
	before := r.callsService(tri, service, tripleLanes)
	for _, i := range in {
		r.world.PutInstance(app("inventory"), kept(i))
	}
	r.logs("most of its instances are not ready")
	r.world.SetHealth(app("inventory"), "a", registry.Terminating)
	closes(tri.url(0)) // which cannot be replaced
	left := r.callsService(tri, service, tripleLanes-1)
	if n := shared(before, left); n != tripleLanes-1 {
		t.Errorf("of %v %d are left in %v", before, n, left)
	}
	r.logs("cannot be reached from here")

	// An instance takes connections, as whoever refers to it only now has called it from the start.
	_, port := listenAt(t, "127.0.0.3:0")
	in[1].Endpoints[0].Port = port
	r.world.PutInstance(app("inventory"), kept(in[1]))
	late := r.subscribe(consumerURL(stock, "tri", constant.TimeoutKey, "1s"))
	r.sees(late, "127.0.0.3", "127.0.0.4")
	r.sees(tri, "127.0.0.3", "127.0.0.4")
	both := tri.before(1)
	if n := len(slices.DeleteFunc(slices.Clone(both), func(a string) bool { return a != service })); n != tripleLanes-1 || len(both) != n+2 {
		t.Errorf("before the last list came %v", both)
	}

	// The first that is ready again is not given all calls; half of them are.
	r.world.PutInstance(app("inventory"), in[1])
	r.world.PutInstance(app("inventory"), kept(by("d", "127.0.0.5", port)))
	r.sees(tri, "127.0.0.3", "127.0.0.4", "127.0.0.5")
	r.world.PutInstance(app("inventory"), in[2])
	after := r.callsService(tri, service, tripleLanes)
	if n := shared(before, after); n != 0 {
		t.Errorf("of lanes that were left %d are there again: %v", n, after)
	}
}

// closes says that the instance that a lane leads to ends.
func closes(lane *common.URL) {
	graceful_shutdown.DefaultClosingEventHandler().HandleClosingEvent(graceful_shutdown.ClosingEvent{
		Source: "triple-health-watch", InstanceKey: lane.GetCacheInvokerMapKey(), ServiceKey: lane.ServiceKey(), Address: lane.Location,
	})
}

// Where all lanes were closed there is nothing to wait for.
func TestWithoutLanesInstancesAreCalledAtOnce(t *testing.T) {
	r, service, in := calledByService(t, "a")
	tri := r.subscribe(consumerURL(stock, "tri"))
	r.callsService(tri, service, tripleLanes)
	r.world.PutInstance(app("inventory"), kept(in[0]))
	r.logs("cannot be reached from here")
	for _, lane := range tri.all() {
		closes(lane)
	}
	r.sees(tri, "127.0.0.2")
}

// An instance may be ready before its word of itself is here.
func TestAnInstanceThatSaysNothingYetIsWaitedFor(t *testing.T) {
	r, service, _ := calledByService(t, "a")
	tri := r.subscribe(consumerURL(stock, "tri"))
	before := r.callsService(tri, service, tripleLanes)
	mute := by("b", "127.0.0.3", 1)
	mute.Revision, mute.Endpoints, mute.Metadata = "", nil, nil
	r.world.PutInstance(app("inventory"), mute)
	// It is seen by the time that another reference has it on its mind.
	pod := r.subscribe(consumerURL(stock, "tri", CallModeKey, "pod"))
	r.sees(pod, "127.0.0.2")
	r.world.PutInstance(app("inventory"), by("b", "127.0.0.3", 1))
	r.sees(pod, "127.0.0.2", "127.0.0.3")
	after := r.callsService(tri, service, tripleLanes)
	if n := shared(before, after); n < tripleLanes/2 { // as for any newcomer
		t.Errorf("of %v %d are left in %v", before, n, after)
	}
	for n := range tri.count() {
		if list := tri.before(n); slices.ContainsFunc(list, func(a string) bool { return a != service }) {
			t.Errorf("a list was %v", list)
		}
	}
	// It is not waited for where the Service is not called yet.
	r.world.PutInstance(app("inventory"), mute)
	late := r.subscribe(consumerURL(stock, "tri", constant.TimeoutKey, "1s"))
	r.sees(late, "127.0.0.2")
}

// One that says nothing for good is no reason to lose lanes before instances can be
// called.
func TestLeavingTheServiceOverlaps(t *testing.T) {
	r, service, in := calledByService(t, "a")
	r.binding.cfg.Grace = 50 * time.Millisecond
	tri := r.subscribe(consumerURL(stock, "tri"))
	before := r.callsService(tri, service, tripleLanes)
	mute := by("b", "127.0.0.3", 1)
	mute.Revision, mute.Endpoints, mute.Metadata = "", nil, nil
	r.world.PutInstance(app("inventory"), mute)
	r.logs("not all of its instances offer it")
	r.logs("cannot be reached from here")
	if _, lanes := lanesOf(tri); shared(before, lanes) != tripleLanes {
		t.Errorf("lanes are %v", lanes)
	}
	_, port := listenAt(t, "127.0.0.2:0")
	in[0].Endpoints[0].Port = port
	r.world.PutInstance(app("inventory"), in[0])
	r.sees(tri, "127.0.0.2")
	if both := tri.before(1); len(both) != tripleLanes+1 || !strings.HasPrefix(both[0], "127.0.0.") {
		t.Errorf("before the last list came %v", both)
	}
}
