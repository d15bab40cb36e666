package hystrix

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// engines is what the functions of this package work on: hystrix-go's are global,
// so these are too. Until Adopt it is a set of the package's own.
var engines = newRegistry()

// registry finds commands by name.
type registry struct {
	engine    atomic.Pointer[engine]
	streaming atomic.Int32 // handlers that want rolling counts
	logger    atomic.Pointer[logger]

	mu      sync.Mutex // guards changes of what engine points to, and configs
	configs map[string]CommandConfig
}

// engine is one set of circuits and the commands made on it.
type engine struct {
	set      *breaker.Set
	tracer   *trace.Tracer // nil with an own set
	own      bool          // the set is this package's
	deaf     func()        // stops logging transitions
	commands sync.Map      // of name to *command
}

// command is a circuit under its name.
type command struct {
	name    string
	circuit *breaker.Circuit
	tracer  *trace.Tracer // nil for none
	rolling rolling
}

func newRegistry() *registry {
	r := &registry{configs: make(map[string]CommandConfig)}
	l := logger(DefaultLogger)
	r.logger.Store(&l)
	r.use(nil, nil)
	return r
}

// use makes the commands work on a set, with what they were configured to, and
// traces them; nil stands for a new set of the package's own. Calls under way end
// where they began.
func (r *registry) use(set *breaker.Set, tracer *trace.Tracer) {
	r.mu.Lock()
	e := &engine{set: set, tracer: tracer}
	if set == nil {
		e.set, e.own = breaker.NewSet(breaker.Config{}), true
	}
	e.deaf = e.set.Listen(func(t governance.Transition) {
		(*r.logger.Load()).Printf("hystrix: circuit %v is %v: %v", t.Command, t.To, t.Cause)
	})
	old := r.engine.Swap(e)
	for name := range r.configs {
		r.make(e, name)
	}
	r.mu.Unlock()
	if old != nil {
		old.deaf()
		if old.own {
			old.set.Close()
		}
	}
}

func (r *registry) setLogger(l logger) { r.logger.Store(&l) }

// command returns that of a name, and whether it was made for this call.
func (r *registry) command(name string) (*command, bool) {
	e := r.engine.Load()
	if c, ok := e.commands.Load(name); ok {
		if c, ok := c.(*command); ok {
			return c, false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.make(r.engine.Load(), name)
}

// make makes a command if need be. Names beyond those that the set counts apart
// share one, and are not kept. The registry is locked.
func (r *registry) make(e *engine, name string) (*command, bool) {
	if c, ok := e.commands.Load(name); ok {
		if c, ok := c.(*command); ok {
			return c, false
		}
	}
	c := &command{name: name, circuit: e.set.Circuit(seriesOf(name)), tracer: e.tracer}
	if name != breaker.Others && c.circuit.Series().Command == breaker.Others {
		return r.make(e, breaker.Others)
	}
	c.circuit.Configure(r.configs[name].rules())
	e.commands.Store(name, c)
	return c, true
}

func (r *registry) configure(name string, config CommandConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.configs[name] = config
	if c, made := r.make(r.engine.Load(), name); !made {
		c.circuit.Configure(config.rules())
	}
}

// all returns the commands, by name.
func (r *registry) all() []*command {
	found := make(map[string]*command)
	r.engine.Load().commands.Range(func(_, c any) bool {
		if c, ok := c.(*command); ok {
			found[c.name] = c
		}
		return true
	})
	return slices.SortedFunc(maps.Values(found), func(a, b *command) int { return strings.Compare(a.name, b.name) })
}

// flush forgets what was counted.
func (r *registry) flush() {
	r.mu.Lock()
	own := r.engine.Load().own
	r.mu.Unlock()
	if own {
		r.use(nil, nil)
		return
	}
	for _, c := range r.all() {
		c.rolling.reset()
		r.mu.Lock()
		rules := r.configs[c.name].rules()
		// A breaker that was switched off begins anew, unless a policy holds its mode.
		off := rules
		b := *rules.Breaker
		b.Mode = governance.ModeDisabled
		off.Breaker = &b
		c.circuit.Configure(off)
		c.circuit.Configure(rules)
		r.mu.Unlock()
	}
}

func seriesOf(name string) governance.Series {
	return governance.Series{Command: name, At: governance.Provider}
}
