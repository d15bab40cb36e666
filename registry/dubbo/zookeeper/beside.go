package zookeeper

import (
	"context"
	"errors"
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

	registered registrations // by the URL's key

	mu         sync.Mutex
	subscribed map[subscribed]*following
}

type subscribed struct {
	listener goregistry.NotifyListener
	key      string
}

// following is a subscription that nobody has ended yet.
type following struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
}

var errDestroyed = errors.New("the registry was destroyed")

var _ goregistry.Registry = (*beside)(nil)

func newBeside(u *common.URL, l *link) *beside {
	b := &beside{url: u, link: l, registered: registrations{link: l}, subscribed: map[subscribed]*following{}}
	b.life, b.end = context.WithCancel(context.Background())
	b.behind.make = func() (goregistry.Registry, error) {
		if b.life.Err() != nil {
			return nil, errDestroyed
		}
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
	b.registered.cancel()
	err := b.link.bounded(func() error {
		if behind, ok := b.behind.settled(); ok {
			b.link.unwatch(behind)
			behind.Destroy()
		}
		return nil
	})
	// A session that is being opened is ended once it is.
	if _, ok := b.behind.there(); ok && err != nil {
		b.link.log.Warn("the session with ZooKeeper is not ended; it runs out by itself", slog.Any("error", err))
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
	i := b.registered.add(b.life, key, "register "+u.Service(), false, func() error {
		behind, err := b.behind.get()
		if err != nil {
			return err
		}
		return behind.Register(u)
	})
	if isProvider(u) {
		i.wait()
	}
	return nil
}

func isProvider(u *common.URL) bool { return u.GetParam(constant.SideKey, "") == constant.SideProvider }

// UnRegister takes the registration back.
func (b *beside) UnRegister(u *common.URL) error {
	key := u.Key()
	if isProvider(u) {
		u = u.Clone()
		common.HandleRegisterIPAndPort(u)
	}
	return b.registered.remove(key, func() error {
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
	own := &following{cancel: cancel, done: make(chan struct{})}
	defer close(own.done)
	b.mu.Lock()
	b.subscribed[subscribed{listener, u.Key()}] = own
	b.mu.Unlock()
	list := &list{listener: listener}
	delay := firstRetry
	for {
		wait := again
		behind, err := b.behind.get()
		if ctx.Err() != nil {
			return nil // while ZooKeeper was waited for
		}
		if err == nil {
			list.begin(ctx)
			err = behind.Subscribe(u, list)
		}
		switch {
		case err == nil:
			delay = firstRetry
		case ctx.Err() == nil:
			b.link.log.Warn("a list of ZooKeeper's cannot be followed; trying again", slog.String("interface", u.Service()), slog.Any("error", err))
			wait, delay = delay, min(2*delay, lastRetry)
		}
		if !pause.For(ctx, wait) {
			return nil
		}
	}
}

// UnSubscribe ends a subscription. One that waits for ZooKeeper is not waited for
// beyond a while, and ends by itself then.
func (b *beside) UnSubscribe(u *common.URL, listener goregistry.NotifyListener) error {
	key := subscribed{listener, u.Key()}
	b.mu.Lock()
	own := b.subscribed[key]
	delete(b.subscribed, key)
	b.mu.Unlock()
	if own == nil {
		return nil
	}
	own.cancel()
	// dubbo-go ends what it has by the URL alone, and a subscription may just be
	// beginning there.
	end := func() {
		for {
			if behind, ok := b.behind.there(); ok {
				if err := recovered(func() error { return behind.UnSubscribe(u, listener) }); err != nil {
					b.link.log.Debug("dubbo-go cannot end a subscription; trying again", slog.Any("error", err))
				}
			}
			select {
			case <-own.done:
				return
			case <-time.After(again):
			}
		}
	}
	if _, ok := b.behind.there(); !ok {
		go end() // there is nothing to wait for
		return nil
	}
	return b.link.bounded(func() error { end(); return nil })
}

// LoadSubscribeInstances does nothing, as in dubbo-go.
func (b *beside) LoadSubscribeInstances(*common.URL, goregistry.NotifyListener) error { return nil }
