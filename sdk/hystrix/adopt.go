package hystrix

import (
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	afex "github.com/afex/hystrix-go/hystrix"
	metric "github.com/afex/hystrix-go/hystrix/metric_collector"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
)

const (
	// lookEvery is how often an adoption looks for what nothing tells it of:
	// policies that expire, settings that the service changes.
	lookEvery = 250 * time.Millisecond
	// holdEvery is how soon it looks again while a circuit does not yet do what a
	// policy says.
	holdEvery = time.Millisecond
	// maxCommands bounds how many commands are adopted.
	maxCommands = 1000

	// Thresholds of hystrix-go that no circuit can meet, and that every one meets
	// with its first call.
	neverTrips  = 101
	alwaysTrips = -1
	// forEver is a sleep window that does not end; longer ones overflow its sums.
	forEver = 100 * 365 * 24 * time.Hour

	// A call that hystrix-go counts, so that it looks at its thresholds, and as
	// nothing else.
	eventNudge = "weir"
)

// adoption governs the commands of hystrix-go's own package.
type adoption struct {
	kit  *sdk.Kit
	log  *slog.Logger
	wake chan struct{} // holds one token when run should look
	end  chan struct{}
	done chan struct{}

	// governing is held while it is decided what hystrix-go is told.
	governing sync.Mutex

	mu       sync.RWMutex
	commands map[string]*adopted
	warned   map[string]int64 // policy version by command and field
}

var (
	current  atomic.Pointer[adoption]
	register sync.Once
	adopting sync.Mutex
)

// Adopt governs every command that this process has or will have: those of
// github.com/afex/hystrix-go, whose calls need no change, and those of this
// package. It is called once, at the start, after the commands were configured and
// before the first call: circuits of hystrix-go that exist already are made anew
// and begin closed, and leak two goroutines each, since hystrix-go cannot end
// them. The package's documentation tells what a policy can do to a command.
//
// Governing ends with the kit's Close, which leaves what holds, or with stop, which
// puts back what the service itself has configured. A second Adopt stops the first.
func Adopt(kit *sdk.Kit) (stop func()) {
	adopting.Lock()
	defer adopting.Unlock()
	if old := current.Load(); old != nil {
		old.stop()
	}
	a := &adoption{
		kit: kit, log: kit.Logger(), wake: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{}),
		commands: make(map[string]*adopted), warned: make(map[string]int64),
	}
	current.Store(a)
	// hystrix-go asks for a collector when it makes a circuit, and has no way to
	// take the request back.
	register.Do(func() { metric.Registry.Register(newCollector) })
	afex.Flush()
	engines.use(kit.Breakers(), kit.Tracer())
	kit.AddSource(a.collect)
	deaf := kit.OnPolicies(a.poke)
	go func() {
		defer close(a.done)
		defer deaf()
		a.run()
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			adopting.Lock()
			defer adopting.Unlock()
			if current.Load() == a {
				a.stop()
				engines.use(nil, nil)
			}
		})
	}
}

// stop ends the adoption and puts back what the service has configured.
func (a *adoption) stop() {
	current.CompareAndSwap(a, nil)
	close(a.end)
	<-a.done
	for _, c := range a.all() {
		c.release()
	}
}

func (a *adoption) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *adoption) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-a.end:
			return
		case <-a.kit.Done():
			return
		case <-timer.C:
		case <-a.wake:
		}
		next := lookEvery
		if !a.look() {
			next = holdEvery
		}
		timer.Reset(next)
	}
}

// look makes hystrix-go do what policies say, and tells what it did by itself. It
// returns false when some circuit needs another look soon.
func (a *adoption) look() bool {
	a.governing.Lock()
	settings := afex.GetCircuitSettings()
	for name := range settings {
		a.command(name)
	}
	all := a.all()
	type modes struct{ before, after governance.Mode }
	decided := make([]modes, len(all))
	for i, c := range all {
		decided[i].before, decided[i].after = c.settle(settings[c.name])
	}
	a.governing.Unlock()
	settled := true
	for i, c := range all {
		if !c.govern(decided[i].before, decided[i].after) {
			settled = false
		}
	}
	return settled
}

// command returns that of a name; nil when there are too many.
func (a *adoption) command(name string) *adopted {
	a.mu.RLock()
	c, n := a.commands[name], len(a.commands)
	a.mu.RUnlock()
	if c != nil || n >= maxCommands {
		return c
	}
	series := seriesOf(name)
	shadow := a.kit.Breakers().Circuit(series)
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.commands[name]; c != nil {
		return c
	}
	c = &adopted{a: a, name: name, series: series}
	c.shadow.Store(shadow)
	a.commands[name] = c
	a.kit.Observe(series, c.present)
	return c
}

func (a *adoption) all() []*adopted {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]*adopted, 0, len(a.commands))
	for _, c := range a.commands {
		out = append(out, c)
	}
	return out
}

// collect is the source of the commands' samples.
func (a *adoption) collect(now time.Time) []governance.Sample {
	if current.Load() != a {
		return nil
	}
	all := a.all()
	slices.SortFunc(all, func(x, y *adopted) int { return strings.Compare(x.name, y.name) })
	var out []governance.Sample
	for _, c := range all {
		out = c.collect(out, now.Unix())
	}
	return out
}

// cannot logs once for each version of a policy what it asks for in vain.
func (a *adoption) cannot(command, field string, source governance.Source, why string) {
	key := command + "\x00" + field
	a.mu.Lock()
	known := a.warned[key] == source.Version
	a.warned[key] = source.Version
	a.mu.Unlock()
	if !known {
		a.log.Warn("hystrix-go cannot do what a policy asks for; change the import path to github.com/weirmesh/weir/sdk/hystrix and it holds",
			"command", command, "field", field, "policy", source.Policy, "version", source.Version, "reason", why)
	}
}

// wanted is what hystrix-go is to be told about a command: what the service has
// configured, under what policies say.
func wanted(base afex.Settings, e governance.Effective) (s afex.Settings, mode governance.Mode) {
	s, mode = base, governance.ModeAuto
	from := func(field string) bool { _, ok := e.Sources[field]; return ok }
	if from("timeout") {
		s.Timeout = time.Duration(e.Timeout)
	}
	if from("bulkhead") {
		s.MaxConcurrentRequests = e.Bulkhead.Concurrent
	}
	b := e.Breaker
	if b == nil {
		return canonical(s), mode
	}
	if from("breaker.minCalls") {
		s.RequestVolumeThreshold = uint64(b.MinCalls)
	}
	if from("breaker.errorPercent") {
		s.ErrorPercentThreshold = int(math.Round(b.ErrorPercent))
	}
	if from("breaker.openFor") {
		s.SleepWindow = time.Duration(b.OpenFor)
	}
	if from("breaker.mode") {
		mode = b.Mode
	}
	switch mode {
	case governance.ModeForcedOpen:
		s.RequestVolumeThreshold, s.ErrorPercentThreshold, s.SleepWindow = 1, alwaysTrips, forEver
	case governance.ModeForcedClosed, governance.ModeDisabled:
		s.ErrorPercentThreshold = neverTrips
	}
	return canonical(s), mode
}

// canonical is what hystrix-go makes of settings: whole milliseconds, and none of
// them zero, which would stand for a default.
func canonical(s afex.Settings) afex.Settings {
	s.Timeout = max(s.Timeout.Truncate(time.Millisecond), time.Millisecond)
	s.SleepWindow = max(s.SleepWindow.Truncate(time.Millisecond), time.Millisecond)
	s.MaxConcurrentRequests = max(s.MaxConcurrentRequests, 1)
	s.RequestVolumeThreshold = max(s.RequestVolumeThreshold, 1)
	if s.ErrorPercentThreshold == 0 {
		s.ErrorPercentThreshold = 1
	}
	return s
}

// configure tells hystrix-go all five fields, since those left out would become
// defaults.
func configure(name string, s afex.Settings) {
	afex.ConfigureCommand(name, afex.CommandConfig{
		Timeout:                int(s.Timeout.Milliseconds()),
		MaxConcurrentRequests:  s.MaxConcurrentRequests,
		RequestVolumeThreshold: int(s.RequestVolumeThreshold),
		SleepWindow:            int(s.SleepWindow.Milliseconds()),
		ErrorPercentThreshold:  s.ErrorPercentThreshold,
	})
}

// defaults are hystrix-go's settings of a command that nobody configured.
func defaults() afex.Settings {
	return afex.Settings{
		Timeout:                time.Duration(afex.DefaultTimeout) * time.Millisecond,
		MaxConcurrentRequests:  afex.DefaultMaxConcurrent,
		RequestVolumeThreshold: uint64(afex.DefaultVolumeThreshold),
		SleepWindow:            time.Duration(afex.DefaultSleepWindow) * time.Millisecond,
		ErrorPercentThreshold:  afex.DefaultErrorPercentThreshold,
	}
}
