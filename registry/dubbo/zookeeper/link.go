package zookeeper

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dubbogo/go-zookeeper/zk"
	gxzookeeper "github.com/dubbogo/gost/database/kv/zk"

	"github.com/weirmesh/weir/internal/pause"
)

// How long ZooKeeper may be out of touch before its lists count for less than those of
// Kubernetes, and how long it has to be back before they count again: by then,
// providers have registered again, and lists are made new (see list). Tests have them
// shorter.
var (
	patienceWithLists = 3 * time.Second
	settleLists       = 10 * time.Second
)

// look is how often the sessions are looked at, of whose ends not everybody is told.
const look = 200 * time.Millisecond

// link is what all that a process has to do with ZooKeeper share: whoever found it
// away need not be followed in waiting for it.
type link struct {
	log  *slog.Logger
	life context.Context //nolint:containedctx // the process's use of ZooKeeper
	end  context.CancelFunc
	// away is set after somebody waited in vain, until something succeeds.
	away atomic.Bool
	// doubtful is set while ZooKeeper's lists count for less.
	doubtful atomic.Bool

	mu        sync.Mutex
	sessions  map[*gxzookeeper.ZookeeperClient]int // to how many registries use it
	observing bool
}

func newLink(log *slog.Logger) *link {
	l := &link{log: log, sessions: map[*gxzookeeper.ZookeeperClient]int{}}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// close ends it with the process.
func (l *link) close() { l.end() }

// watch has an eye on the session of one of dubbo-go's registries, which share it.
func (l *link) watch(behind any) {
	client := sessionOf(behind)
	if client == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[client]++
	if !l.observing {
		l.observing = true
		go l.observe()
	}
}

// unwatch is for a registry that is given up: with the last of them dubbo-go ends the
// session, which is then not lost.
func (l *link) unwatch(behind any) {
	client := sessionOf(behind)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[client]--; l.sessions[client] <= 0 {
		delete(l.sessions, client)
	}
}

func sessionOf(behind any) *gxzookeeper.ZookeeperClient {
	if of, ok := behind.(interface {
		ZkClient() *gxzookeeper.ZookeeperClient
	}); ok {
		return of.ZkClient()
	}
	return nil
}

// lost reports whether a session is out of touch.
func (l *link) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for client := range l.sessions {
		client.RLock()
		conn := client.Conn
		client.RUnlock()
		if conn == nil || conn.State() != zk.StateHasSession {
			return true
		}
	}
	return false
}

// observe decides what ZooKeeper's lists count for.
func (l *link) observe() {
	changed, was := time.Now(), false // a session that is being opened is not lost yet
	for pause.For(l.life, look) {
		lost, now := l.lost(), time.Now()
		if lost != was {
			changed, was = now, lost
		}
		switch doubtful := l.doubtful.Load(); {
		case lost && !doubtful && now.Sub(changed) >= patienceWithLists:
			l.doubtful.Store(true)
			l.log.Warn("out of touch with ZooKeeper: what the other registry has is called first")
		case !lost && doubtful && now.Sub(changed) >= settleLists:
			l.doubtful.Store(false)
			l.log.Info("back in touch with ZooKeeper, whose lists count again")
		}
	}
}
