package dubbo

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"

	"github.com/weirmesh/weir/registry"
)

// How many lanes a reference has to a Service. Over Triple each is a connection, and
// there are two for each instance within these bounds: where the cluster chooses at
// random, fewer would leave many instances without one. Over the Dubbo protocol all
// share the connections of one pool; they are as many as those, since an instance
// that ends closes a lane by each answer that it still gives.
const (
	tripleLanes, maxTripleLanes = 8, 32
	dubboLanes                  = 16
)

// renewPause is the shortest time between two renewals of lanes because of new
// instances: dubbo-go (v3.3.2) never closes the connections of Triple that it no
// longer uses, so each renewed lane costs a socket until its instance ends.
const renewPause = 10 * time.Second

// leavePause is how long after an instance began to end lanes are renewed: by then
// the nodes have heard of it, and give new connections to others. dubbo-go's own
// providers serve on for 3 s.
const leavePause = time.Second

// lanes are those of one reference to one application.
type lanes struct {
	ids     []int // the oldest first
	next    int
	pool    int                 // counts the pools of connections there were
	reached map[string]struct{} // instances to which lanes may lead
	leaves  time.Time           // when the first of them that ends was seen to; zero for none
	renewed time.Time
}

// renew makes the lanes that are wanted. Which instance a lane leads to is not
// known: all give way to new ones when an instance that they may lead to ends,
// for which the cluster chooses others. A share of them does when instances
// have come, or all of them where a pool is shared. It returns how many gave way
// for either reason, and when it wants to be asked again; the zero time for never.
func (l *lanes) renew(want int, shared bool, callable, leaving []string, now time.Time) (left, grown int, again time.Time) {
	newcomers := 0
	for _, id := range callable {
		if _, ok := l.reached[id]; !ok {
			newcomers++
		}
	}
	if !slices.ContainsFunc(leaving, func(id string) bool { _, ok := l.reached[id]; return ok }) {
		l.leaves = time.Time{}
	} else if l.leaves.IsZero() {
		l.leaves = now
	}
	switch {
	case len(l.ids) == 0:
		l.reach(callable)
	case !l.leaves.IsZero() && now.Sub(l.leaves) < leavePause:
		again = l.leaves.Add(leavePause)
	case !l.leaves.IsZero():
		left = len(l.ids)
	case newcomers == 0:
	case now.Sub(l.renewed) < renewPause:
		again = l.renewed.Add(renewPause)
	case shared:
		grown = len(l.ids)
	default:
		grown = min((want*newcomers+len(callable)-1)/len(callable), len(l.ids))
	}
	if left+grown > 0 {
		l.ids = l.ids[left+grown:]
		l.pool++
		l.renewed, l.leaves = now, time.Time{}
		l.reach(callable)
	}
	for len(l.ids) < want {
		l.next++
		l.ids = append(l.ids, l.next)
	}
	return left, grown, again
}

func (l *lanes) reach(instances []string) {
	l.reached = make(map[string]struct{}, len(instances))
	for _, id := range instances {
		l.reached[id] = struct{}{}
	}
}

// replace gives up lanes whose instance ends, and returns how many there were.
func (l *lanes) replace(closed []int) int {
	before := len(l.ids)
	l.ids = slices.DeleteFunc(l.ids, func(id int) bool { return slices.Contains(closed, id) })
	return before - len(l.ids)
}

// closing hears from dubbo-go which lanes lead to an instance that has announced
// its end. dubbo-go removes them by itself, and holds their names against them for
// half a minute.
type closing struct {
	wake func()

	mu   sync.Mutex
	keys map[string]struct{}
	shut map[string][]int // by address
}

// follow hears of the services of these URLs, and of no others.
func (c *closing) follow(urls []*common.URL) {
	keys := map[string]struct{}{}
	for _, u := range urls {
		if u.GetParam(constant.MeshClusterIDKey, "") != "" {
			keys[u.ServiceKey()] = struct{}{}
		}
	}
	c.mu.Lock()
	last := c.keys
	c.keys = keys
	c.mu.Unlock()
	everyone := graceful_shutdown.DefaultClosingDirectoryRegistry()
	for key := range keys {
		if _, ok := last[key]; !ok {
			everyone.Register(key, c)
		}
	}
	for key := range last {
		if _, ok := keys[key]; !ok {
			everyone.Unregister(key, c)
		}
	}
}

// RemoveClosingInstance is told the key by which a directory knows an invoker.
func (c *closing) RemoveClosingInstance(key string) bool {
	head, lane, ok := strings.Cut(key, "&meshClusterID=")
	id, err := strconv.Atoi(lane)
	if !ok || err != nil {
		return false
	}
	_, address, _ := strings.Cut(head, "@")
	address, _, _ = strings.Cut(strings.ToLower(address), "/")
	c.mu.Lock()
	if c.shut == nil {
		c.shut = map[string][]int{}
	}
	c.shut[address] = append(c.shut[address], id)
	c.mu.Unlock()
	c.wake()
	return false // it is in nobody's list by us
}

// take returns the lanes to an address that were closed since it was asked last.
func (c *closing) take(addresses []string) (ids []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range addresses {
		ids = append(ids, c.shut[a]...)
		delete(c.shut, a)
	}
	return ids
}

// laid gives the whole its lanes.
func (s *subscription) laid(c *calling, w *whole, snapshot *registry.Snapshot, pods []entry) {
	want, shared := min(max(tripleLanes, 2*len(pods)), maxTripleLanes), false
	if s.ref.protocol == constant.DubboProtocol {
		want, shared = dubboLanes, true
	}
	callable := make([]string, len(pods))
	for n, e := range pods {
		callable[n] = e.instance.ID
	}
	var leaving []string
	for i := range snapshot.Instances {
		if in := &snapshot.Instances[i]; in.Health == registry.Terminating || in.Details.State == registry.Draining {
			leaving = append(leaving, in.ID)
		}
	}
	closed := c.lanes.replace(s.closing.take(w.addresses()))
	left, grown, again := c.lanes.renew(want, shared, callable, leaving, time.Now())
	if !again.IsZero() {
		s.wakeAt(again)
	}
	w.lanes = slices.Clone(c.lanes.ids)
	if shared {
		w.host = spelled(w.host, c.lanes.pool)
	}
	for reason, n := range map[string]int{"closing": closed + left, "growth": grown} {
		s.b.metrics.lanes.WithLabelValues(reason).Add(float64(n))
	}
}

// spelled returns a name in another spelling for each n, which leads to the same:
// names have no case. dubbo-go keeps a pool of the Dubbo protocol for each spelling
// of an address, and closes it once nothing is called there, so that another
// spelling is how a new pool is had.
func spelled(host string, n int) string {
	b := []byte(strings.ToLower(host))
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		if b[i] >= 'a' && b[i] <= 'z' {
			if n&1 == 1 {
				b[i] -= 'a' - 'A'
			}
			n >>= 1
		}
	}
	return string(b)
}

// mode is how the reference calls the application, by what speaks first: itself,
// then whatever the registry knows (a DiscoveryPolicy, the Service's annotation).
func (s *subscription) mode(snapshot *registry.Snapshot) registry.Mode {
	if cmp.Or(s.ref.mode, snapshot.Mode) == registry.ModeService {
		return registry.ModeService
	}
	return registry.ModePod
}
