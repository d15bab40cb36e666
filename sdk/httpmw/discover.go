package httpmw

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// Discover sends calls straight to instances of the application, as the registry
// knows them, and so balances each call and not only each connection: to the less
// busy of two, by their weights, new ones little by little. An application that asks
// to be called through its Service is. Both are followed live.
//
// Instances keep their connections apart. One that refuses connections is left alone
// for a while, and what was never sent is sent to another. One that leaves gets
// nothing new, and ends what it has.
//
// Hosts that name no application of the registry are called as they are, and so is
// one of which the registry says nothing: calls wait two seconds for its first word
// of an application, and no more. See Strict. Made-up hosts take no room from those of
// applications: of names that the registry does not know it follows 500 at most, and
// one that is called after that in the place of the one called longest ago. Of
// namespaces that only hosts name, and of which no application is known, it is asked
// for 50 at a time, and for another in the place of the one named first, five seconds
// later at the earliest; see Namespaces.
func Discover(reg registry.Discoverer, opts ...DiscoverOption) ClientOption {
	return func(c *client) {
		f := newFinder(reg)
		for _, o := range opts {
			o(f)
		}
		c.finder = f
	}
}

// DiscoverOption says how Discover goes about it.
type DiscoverOption func(*finder)

// CallMode chooses how applications are called, whatever they or a DiscoveryPolicy
// ask for.
func CallMode(mode registry.Mode) DiscoverOption { return func(f *finder) { f.mode = mode } }

// Strict has calls fail whose host names no application that the registry knows, and
// those to an application of which it has said nothing yet.
func Strict() DiscoverOption { return func(f *finder) { f.strict = true } }

// Namespaces are those whose applications are asked for besides the service's own, by
// hosts that do not end in svc, and however many namespaces hosts made up. Without any, "example.com" is asked for as the
// application example of the namespace com.
func Namespaces(names ...string) DiscoverOption { return func(f *finder) { f.namespaces = names } }

// SameZone has instances of the service's own zone called alone while that has at
// least a percentage of what an even spread over the zones would give it; 50 is a
// good one. The zone is that of this very instance, as the registry knows it, unless
// one is named.
func SameZone(percent int, zone string) DiscoverOption {
	return func(f *finder) { f.nearPercent, f.zone = percent, zone }
}

// WarmUp is over how long instances that say when they started come to their full
// share of calls; a minute without. Zero gives it to them at once.
func WarmUp(d time.Duration) DiscoverOption {
	return func(f *finder) {
		if f.warmUp = d; d == 0 {
			f.warmUp = -1
		}
	}
}

// ConnectTimeout bounds how long an instance may take to accept a connection; two
// seconds without.
func ConnectTimeout(d time.Duration) DiscoverOption {
	return func(f *finder) { f.connectTimeout = d }
}

type tagKey struct{}

// WithTag has calls under the context go to instances with a tag. Where none has it,
// and to calls without one, those without a tag answer, as in Dubbo's tag routing;
// where there are none of these either, all do.
func WithTag(ctx context.Context, tag string) context.Context {
	return context.WithValue(ctx, tagKey{}, tag)
}

const (
	// firstWord is how long calls wait until the registry first tells of an
	// application that nobody has called before.
	firstWord = 2 * time.Second
	// maxPorts bounds how many ports of one application are kept.
	maxPorts              = 32
	defaultConnectTimeout = 2 * time.Second
)

// finder keeps what the registry says of the applications that are called: see
// follow.go.
type finder struct {
	reg            registry.Discoverer
	mode           registry.Mode // empty where the registry chooses
	strict         bool
	namespaces     []string
	zone           string
	nearPercent    int
	warmUp         time.Duration
	connectTimeout time.Duration

	self  governance.App // whose client it is, and which instance
	id    string
	fixed bool // the peer is named, and no host has to be read
	next  http.RoundTripper
	calls func(governance.App)   // tells the control plane who is called
	here  atomic.Pointer[string] // the zone that the registry says this process runs in
	seek  sync.Once

	mu        sync.RWMutex // of what follows; nobody holds a found's own when taking it
	apps      map[registry.App]*found
	strangers map[registry.App]*found // those of apps of which nothing is known
	spaces    map[string]*asked       // namespaces that hosts name
	sweeping  bool                    // a look at who is called no more is on its way
}

// asks reports whether a host may name an application of the registry.
func (f *finder) asks(peer governance.App, host string) bool {
	if peer.Name == "" {
		return false
	}
	if len(f.namespaces) == 0 || peer.Namespace == f.self.Namespace || slices.Contains(f.namespaces, peer.Namespace) {
		return true
	}
	labels := strings.Split(host, ".")
	return len(labels) > 2 && strings.EqualFold(labels[2], "svc")
}

// find returns what is known of an application; nil for nothing, now, and why.
func (f *finder) find(ctx context.Context, app registry.App) (*found, error) {
	f.seek.Do(f.seekZone)
	e, err := f.follow(app, f.fixed)
	if err != nil {
		return nil, err
	}
	if e.snapshot.Load() != nil {
		return e, nil
	}
	if !time.Now().Before(e.until) {
		return nil, fmt.Errorf("the registry has not told of %s yet", app)
	}
	ctx, cancel := context.WithDeadline(ctx, e.until)
	defer cancel()
	s, err := f.reg.Snapshot(ctx, app)
	if err != nil {
		return nil, err
	}
	e.first(&s)
	return e, nil
}

// ownZone returns the zone of this process; empty while it is not known.
func (f *finder) ownZone() string {
	if here := f.here.Load(); f.zone == "" && here != nil {
		return *here
	}
	return f.zone
}

// seekZone has the registry tell where this process runs.
func (f *finder) seekZone() {
	if f.nearPercent > 0 && f.zone == "" {
		// Should the registry refuse, zones do not matter, and calls say what is wrong.
		_, _ = f.follow(registry.App{Namespace: f.self.Namespace, Name: f.self.Name}, true)
	}
}

// ownZoneChanged has all applications weighed again, as soon as it is known where
// this process runs.
func (f *finder) ownZoneChanged() {
	f.mu.Lock()
	all := make([]*found, 0, len(f.apps))
	for _, e := range f.apps {
		all = append(all, e)
	}
	f.mu.Unlock()
	for _, e := range all {
		e.again()
	}
}

// closeIdle closes the connections that carry no call.
func (f *finder) closeIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.apps {
		e.closeIdle()
	}
}
