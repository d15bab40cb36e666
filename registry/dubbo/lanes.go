package dubbo

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
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
// instances, which may come one by one: a renewal makes connections anew that work.
const renewPause = 10 * time.Second

// nodesPause is how long after an instance came or began to end the nodes have all
// heard of it, and give new connections accordingly. It is also the shortest time
// between two renewals of any kind: however fast instances end, no more connections are
// on their way out than were renewed in the time that this takes. The last lane that
// may lead to an instance so gives way 2 s after its end began at the latest;
// dubbo-go's own providers serve on for 3 s.
const nodesPause = time.Second

// awayPause is how long an instance has not been ready when lanes are renewed for it,
// where others are: the cluster breaks none of the connections to it.
const awayPause = 5 * time.Second

// refillPause is the shortest time between two replacements of Triple's lanes whose
// instance has announced its end: a new one may lead there again.
const refillPause = 200 * time.Millisecond

// lanes are those of one reference to one application. Which instance one of them
// leads to is not known, only which ones it may.
type lanes struct {
	ids     []int // the oldest first
	next    int
	closed  map[int]bool         // those whose instance has announced its end
	pool    int                  // counts the pools of connections there were
	known   map[string]bool      // instances that are no newcomers
	maybe   map[string]bool      // instances to which a lane may lead
	ending  map[string]time.Time // instances that end, and since when
	away    map[string]time.Time // instances that are not ready, and since when
	came    time.Time            // when the first newcomer did; zero for none
	renewed time.Time
	filled  time.Time
}

// around are the instances of an application, by id.
type around struct {
	ready  []string // to be called, and the cluster leads there
	kept   []string // to be called, though the cluster gives them no new connection
	away   []string // not ready, and not to be called
	ending []string // which the cluster gives no new connection any more, soon
	others []string // not to be called, though the cluster may lead there
}

// few reports whether most of those to be called get no new connection. All lanes
// at once would then fall to the few that do.
func (a around) few() bool { return len(a.ready) < len(a.kept) }

// renewed is how many lanes gave way to new ones, and why.
type renewed struct{ closing, growth, unready int }

// renew makes the lanes that are wanted. All give way to new ones when an instance
// that they may lead to ends, or has not been ready for a while, for which the
// cluster chooses others; so do those that were closed, and a share of them when
// instances have come, or all of them where a pool is shared. While few get new
// connections, only those that were closed do. It returns how many gave way, and
// when it wants to be asked again; the zero time for never.
func (l *lanes) renew(want int, shared bool, a around, now time.Time) (n renewed, again time.Time) {
	l.look(a, now)
	due := func(at time.Time) bool {
		if now.Before(at) && (again.IsZero() || at.Before(again)) {
			again = at
		}
		return !now.Before(at)
	}
	if len(l.ids) == 0 {
		l.know(a)
	} else if !a.few() {
		for id, since := range l.ending {
			if l.maybe[id] && due(later(since, l.renewed).Add(nodesPause)) {
				n.closing = len(l.ids)
			}
		}
		for id, since := range l.away {
			if l.maybe[id] && due(later(since.Add(awayPause), l.renewed.Add(renewPause))) && n.closing == 0 {
				n.unready = len(l.ids)
			}
		}
		n.growth = l.grow(want, shared, n != renewed{}, a, now, due)
	}
	if gone := n.closing + n.unready + n.growth; gone > 0 {
		if l.ids = l.ids[gone:]; len(l.ids) == 0 {
			clear(l.maybe)
		}
		l.pool++
		l.renewed = now
		l.know(a)
	}
	if slices.ContainsFunc(l.ids, l.isClosed) && (shared || due(l.filled.Add(refillPause))) {
		n.closing += l.shed()
	}
	l.fill(want, a, now)
	return n, again
}

// grow returns how many lanes give way to the newcomers there are; none where all do
// so anyway, which newcomers get their share of.
func (l *lanes) grow(want int, shared, all bool, a around, now time.Time, due func(time.Time) bool) int {
	newcomers := 0
	for _, id := range a.ready {
		if !l.known[id] {
			newcomers++
		}
	}
	if newcomers == 0 {
		l.came = time.Time{}
		return 0
	}
	if l.came.IsZero() {
		l.came = now
	}
	if all || !due(later(l.came.Add(nodesPause), l.renewed.Add(renewPause))) {
		return 0
	}
	if shared {
		return len(l.ids)
	}
	return min((want*newcomers+len(a.ready)-1)/len(a.ready), len(l.ids))
}

func (l *lanes) isClosed(id int) bool { return l.closed[id] }

// shed drops the lanes that were closed, and returns how many those were. Nothing
// comes in their place until the next renewal.
func (l *lanes) shed() int {
	before := len(l.ids)
	l.ids = slices.DeleteFunc(l.ids, l.isClosed)
	l.closed = nil
	return before - len(l.ids)
}

// leave drops all lanes: the Service is called no more.
func (l *lanes) leave() {
	if len(l.ids) > 0 {
		l.ids, l.closed = nil, nil
		clear(l.maybe)
		l.pool++ // what is made later has connections of its own
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// look takes in which instances there are.
func (l *lanes) look(a around, now time.Time) {
	if l.maybe == nil {
		l.maybe, l.ending, l.away = map[string]bool{}, map[string]time.Time{}, map[string]time.Time{}
	}
	here := map[string]bool{}
	for _, ids := range [][]string{a.ready, a.kept, a.away, a.ending, a.others} {
		for _, id := range ids {
			here[id] = true
		}
	}
	maps.DeleteFunc(l.maybe, func(id string, _ bool) bool { return !here[id] }) // its connections are gone with it
	note(l.ending, a.ending, now)
	note(l.away, a.away, now)
}

// note has since say of these ids, and of no others, since when they have been among
// them.
func note(since map[string]time.Time, ids []string, now time.Time) {
	maps.DeleteFunc(since, func(id string, _ time.Time) bool { return !slices.Contains(ids, id) })
	for _, id := range ids {
		if _, ok := since[id]; !ok {
			since[id] = now
		}
	}
}

// know has nobody be a newcomer.
func (l *lanes) know(a around) {
	l.known, l.came = make(map[string]bool, len(a.ready)), time.Time{}
	for _, id := range a.ready {
		l.known[id] = true
	}
}

// close notes that the instances of lanes have announced their end.
func (l *lanes) close(ids []int) {
	for _, id := range ids {
		if l.closed == nil {
			l.closed = map[int]bool{}
		}
		l.closed[id] = true
	}
}

// fill makes the lanes that are missing.
func (l *lanes) fill(want int, a around, now time.Time) {
	if len(l.ids) >= want {
		return
	}
	for len(l.ids) < want {
		l.next++
		l.ids = append(l.ids, l.next)
	}
	l.filled = now
	for _, ids := range [][]string{a.ready, a.others} {
		for _, id := range ids {
			l.maybe[id] = true
		}
	}
	for id, since := range l.ending {
		if now.Sub(since) < nodesPause {
			l.maybe[id] = true
		}
	}
}

// closing hears from dubbo-go which lanes lead to an instance that has announced
// its end. Over Triple it does so in place of the reference's directory: that would
// take lanes off at once, perhaps all there are, and hold their names against them
// for half a minute. Over the Dubbo protocol dubbo-go itself refuses calls by a lane
// that an answer has closed, and the directory is right to take it off.
type closing struct {
	wake      func()
	directory remover // whose place it takes; nil for none

	mu   sync.Mutex
	keys map[string]struct{}
	shut map[string]map[int]bool // by address; those alone that are followed
}

// remover is what dubbo-go tells of instances that announce their end.
type remover interface {
	RemoveClosingInstance(instanceKey string) bool
	GetURL() *common.URL
}

// follow hears of the services and addresses of these URLs, and of no others.
func (c *closing) follow(urls []*common.URL) {
	keys, shut := map[string]struct{}{}, map[string]map[int]bool{}
	for _, u := range urls {
		if u.GetParam(constant.MeshClusterIDKey, "") != "" {
			keys[u.ServiceKey()] = struct{}{}
			shut[strings.ToLower(u.Location)] = map[int]bool{}
		}
	}
	c.mu.Lock()
	for address := range shut {
		if have := c.shut[address]; have != nil {
			shut[address] = have
		}
	}
	last := c.keys
	c.keys, c.shut = keys, shut
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
	if c.directory == nil || (len(keys) > 0) == (len(last) > 0) {
		return
	}
	// As the directory has it, which registered itself when it was made.
	u := c.directory.GetURL()
	key := u.ServiceKey()
	if key == "" && u.SubURL != nil {
		key = u.SubURL.ServiceKey()
	}
	if len(keys) > 0 {
		everyone.Unregister(key, c.directory)
	} else {
		everyone.Register(key, c.directory)
	}
}

// end hears of nothing any more.
func (c *closing) end() {
	c.directory = nil // it takes itself out
	c.follow(nil)
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
	ours := c.shut[address]
	if ours != nil {
		ours[id] = true
	}
	c.mu.Unlock()
	if ours != nil {
		c.wake()
	}
	return ours != nil
}

// take returns the lanes to an address that were closed since it was asked last.
func (c *closing) take(addresses []string) (ids []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range addresses {
		ids = slices.AppendSeq(ids, maps.Keys(c.shut[a]))
		clear(c.shut[a])
	}
	return ids
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
