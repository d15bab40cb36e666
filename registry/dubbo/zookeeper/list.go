package zookeeper

import (
	"context"
	"sync"

	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/remoting"

	"github.com/weirmesh/weir/internal/pause"
)

// list stands between dubbo-go's subscription and who is told of it. dubbo-go tells
// of each provider that comes and of each that goes, but not of those that went while
// it was out of touch: it would call them for ever. Each subscription begins with all
// that are there, so that who does not come again in a new one is gone.
type list struct {
	listener goregistry.NotifyListener

	mu      sync.Mutex
	term    int
	members map[string]member // by the URL's key
}

type member struct {
	event *goregistry.ServiceEvent
	term  int // the last in which it was there
}

var _ goregistry.NotifyListener = (*list)(nil)

// begin begins a new subscription. What does not come again within a while is taken
// off, but not all of it: that nobody is there is no proof that nobody serves.
func (l *list) begin(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term++
	if l.members == nil {
		l.members = map[string]member{}
		return // nothing to compare with
	}
	term := l.term
	go func() {
		if pause.For(ctx, settleLists) {
			l.prune(term)
		}
	}()
}

func (l *list) prune(term int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term {
		return // another one has begun
	}
	var gone []string
	for key, m := range l.members {
		if m.term < term {
			gone = append(gone, key)
		}
	}
	if len(gone) == len(l.members) {
		return
	}
	for _, key := range gone {
		m := l.members[key]
		delete(l.members, key)
		l.listener.Notify(&goregistry.ServiceEvent{Action: remoting.EventTypeDel, Service: m.event.Service.Clone()})
	}
}

// Notify hands an event on. dubbo-go changes events and their URLs as it uses them.
func (l *list) Notify(event *goregistry.ServiceEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if event != nil && event.Service != nil {
		key := event.Service.String()
		if event.Action == remoting.EventTypeDel {
			delete(l.members, key)
		} else {
			l.members[key] = member{event: &goregistry.ServiceEvent{Action: event.Action, Service: event.Service.Clone()}, term: l.term}
		}
	}
	l.listener.Notify(event)
}

// NotifyAll hands a whole list on.
func (l *list) NotifyAll(events []*goregistry.ServiceEvent, done func()) {
	l.listener.NotifyAll(events, done)
}
