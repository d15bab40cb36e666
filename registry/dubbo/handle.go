package dubbo

import (
	"fmt"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
)

// handle is the Registry that dubbo-go holds. dubbo-go makes several for one
// configured registry, throws most away without a word, and keeps others for
// ever, so it owns nothing.
type handle struct {
	name string
	url  *common.URL
}

var (
	_ goregistry.Registry                 = (*handle)(nil)
	_ goregistry.ServiceDiscoveryRegistry = (*handle)(nil)
)

// GetURL returns the configured registry's URL.
func (h *handle) GetURL() *common.URL { return h.url }

// IsAvailable reports whether the registry is in use. A registry that is out of
// touch still is: its lists are the best there are.
func (h *handle) IsAvailable() bool {
	_, err := lookup(h.name)
	return err == nil
}

// Destroy does nothing: dubbo-go calls it for some handles and not for others.
func (h *handle) Destroy() {}

// Register takes note of an exported service; RegisterService publishes it.
// What consumers register about themselves has no place in this registry.
func (h *handle) Register(u *common.URL) error {
	if !isProvider(u) {
		return nil
	}
	b, err := lookup(h.name)
	if err != nil {
		return err
	}
	return b.export(u)
}

// UnRegister is called when the process begins to shut down: the instance asks
// for no more calls. It is withdrawn once dubbo-go has stopped.
func (h *handle) UnRegister(u *common.URL) error {
	if !isProvider(u) {
		return nil
	}
	if b, err := lookup(h.name); err == nil {
		return b.drain(u)
	}
	return nil
}

// RegisterService publishes what was exported. dubbo-go calls it once per Serve
// and returns its error from there.
func (h *handle) RegisterService() (err error) {
	// dubbo-go would log a panic and go on as if the process were registered.
	defer func() {
		if r := recover(); r != nil {
			err = &registry.Error{Code: registry.Internal, Message: fmt.Sprintf("registration broke off: %v", r)}
		}
	}()
	b, err := lookup(h.name)
	if err != nil {
		return err
	}
	b.publishOthers()
	if err := b.publishInTime(); err != nil {
		if !b.serving() {
			b.withdrawOthers()
		}
		return err
	}
	return nil
}

// UnRegisterService is called when Serve fails after having registered.
func (h *handle) UnRegisterService() error {
	if b, err := lookup(h.name); err == nil {
		return b.retreat()
	}
	return nil
}

// LoadSubscribeInstances starts the subscription and waits for its first list,
// or for Config.SyncTimeout, together with all others while the registry is silent: the
// first call is not to race with it. Whatever goes
// wrong is logged and tried again; an error here would cost the whole reference.
func (h *handle) LoadSubscribeInstances(u *common.URL, listener goregistry.NotifyListener) error {
	if !isConsumer(u) {
		return nil
	}
	b, err := lookup(h.name)
	if err != nil {
		return err
	}
	s, err := b.subscribe(u, listener)
	if err != nil {
		return err
	}
	b.waitFor(s.wait)
	return nil
}

// Subscribe starts the subscription unless LoadSubscribeInstances did. dubbo-go calls
// it in a goroutine of its own, perhaps when the reference is gone again.
func (h *handle) Subscribe(u *common.URL, listener goregistry.NotifyListener) error {
	if !isConsumer(u) {
		return nil
	}
	b, err := lookup(h.name)
	if err != nil {
		return err
	}
	if _, err = b.subscribe(u, listener); err == nil && destroyed(listener) {
		b.unsubscribe(u, listener)
	}
	return err
}

// UnSubscribe ends the subscription. The listener is not called afterwards.
func (h *handle) UnSubscribe(u *common.URL, listener goregistry.NotifyListener) error {
	if b, err := lookup(h.name); err == nil && isConsumer(u) {
		b.unsubscribe(u, listener)
	}
	return nil
}

func isProvider(u *common.URL) bool {
	return u != nil && u.GetParam(constant.SideKey, "") == constant.SideProvider
}

// isConsumer tells references from a provider's wish to hear about overrides,
// which live in no registry of this kind.
func isConsumer(u *common.URL) bool {
	return u != nil && !isProvider(u) &&
		u.GetParam(constant.CategoryKey, "") != constant.ConfiguratorsCategory
}
