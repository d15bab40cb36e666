package zookeeper

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/internal/pause"
)

// beside is the registry by interface. dubbo-go makes several for one configured
// registry and throws most away without a word, so the one behind it is made when it
// is needed first.
type beside struct {
	url    *common.URL
	link   *link
	behind late[goregistry.Registry]

	life context.Context //nolint:containedctx // the registry's own lifetime
	end  context.CancelFunc

	mu         sync.Mutex
	registered map[string]*insisting // by the URL's key
	subscribed map[subscribed]context.CancelFunc
}

type subscribed struct {
	listener goregistry.NotifyListener
	key      string
}

var _ goregistry.Registry = (*beside)(nil)

func newBeside(u *common.URL, l *link) *beside {
	b := &beside{url: u, link: l, registered: map[string]*insisting{}, subscribed: map[subscribed]context.CancelFunc{}}
	b.life, b.end = context.WithCancel(context.Background())
	b.behind.make = func() (goregistry.Registry, error) {
		behind, err := extension.GetRegistry(inner, innerURL(u))
		l.watch(behind)
		return behind, err
	}
	return b
}

// GetURL returns the configured registry's URL.
func (b *beside) GetURL() *common.URL { return b.url }

// IsAvailable reports whether the registry is in use. One that is out of touch is:
// its lists are what was known last.
func (b *beside) IsAvailable() bool { return b.life.Err() == nil }

// Destroy ends the session, and with it all that was registered.
func (b *beside) Destroy() {
	b.end()
	b.mu.Lock()
	for _, i := range b.registered {
		i.cancel()
	}
	b.mu.Unlock()
	if behind, ok := b.behind.there(); ok {
		b.link.unwatch(behind)
		if err := b.link.bounded(func() error { behind.Destroy(); return nil }); err != nil {
			b.link.log.Warn("the session with ZooKeeper is not ended; it runs out by itself", slog.Any("error", err))
		}
	}
}

// Register registers a provider or a consumer, now or later. A provider waits a
// little, so that it is registered when Serve has returned, if it can be.
func (b *beside) Register(u *common.URL) error {
	key := u.Key()
	if isProvider(u) {
		// As dubbo-go does by application: the first address that it finds need not be
		// the pod's.
		u = u.Clone()
		common.HandleRegisterIPAndPort(u)
	}
	b.mu.Lock()
	i := b.registered[key]
	if i == nil {
		i = b.link.insist(b.life, "register "+u.Service(), func() error {
			behind, err := b.behind.get()
			if err != nil {
				return err
			}
			return behind.Register(u)
		})
		b.registered[key] = i
	}
	b.mu.Unlock()
	if isProvider(u) {
		i.wait()
	}
	return nil
}

func isProvider(u *common.URL) bool { return u.GetParam(constant.SideKey, "") == constant.SideProvider }

// UnRegister takes the registration back.
func (b *beside) UnRegister(u *common.URL) error {
	key := u.Key()
	b.mu.Lock()
	i := b.registered[key]
	delete(b.registered, key)
	b.mu.Unlock()
	if i == nil {
		return nil
	}
	if isProvider(u) {
		u = u.Clone()
		common.HandleRegisterIPAndPort(u)
	}
	return i.stop(func() error {
		behind, err := b.behind.get()
		if err != nil {
			return err
		}
		return behind.UnRegister(u)
	})
}

// again is between the end of a subscription that nobody ended and the next one.
const again = 100 * time.Millisecond

// Subscribe hands on changes until UnSubscribe. dubbo-go's subscription ends without
// a word when ZooKeeper has lost the session, and is then taken up again.
func (b *beside) Subscribe(u *common.URL, listener goregistry.NotifyListener) error {
	ctx, cancel := context.WithCancel(b.life)
	defer cancel()
	b.mu.Lock()
	b.subscribed[subscribed{listener, u.Key()}] = cancel
	b.mu.Unlock()
	list := &list{listener: listener}
	delay := firstRetry
	for {
		wait := again
		behind, err := b.behind.get()
		if err == nil {
			list.begin(ctx)
			err = behind.Subscribe(u, list)
		}
		if err != nil && ctx.Err() == nil {
			b.link.log.Warn("a list of ZooKeeper's cannot be followed; trying again", slog.String("interface", u.Service()), slog.Any("error", err))
			wait, delay = delay, min(2*delay, lastRetry)
		}
		if !pause.For(ctx, wait) {
			return nil
		}
	}
}

// UnSubscribe ends a subscription.
func (b *beside) UnSubscribe(u *common.URL, listener goregistry.NotifyListener) error {
	key := subscribed{listener, u.Key()}
	b.mu.Lock()
	if cancel := b.subscribed[key]; cancel != nil {
		cancel()
		delete(b.subscribed, key)
	}
	b.mu.Unlock()
	if behind, ok := b.behind.there(); ok {
		return b.link.bounded(func() error { return behind.UnSubscribe(u, listener) }) // by the URL alone
	}
	return nil
}

// LoadSubscribeInstances does nothing, as in dubbo-go.
func (b *beside) LoadSubscribeInstances(*common.URL, goregistry.NotifyListener) error { return nil }
