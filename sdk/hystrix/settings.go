package hystrix

import (
	"time"

	"github.com/weirmesh/weir/governance"
)

var (
	// DefaultTimeout is how long to wait for a command, in milliseconds.
	DefaultTimeout = 1000
	// DefaultMaxConcurrent is how many calls of a command can run at once.
	DefaultMaxConcurrent = 10
	// DefaultVolumeThreshold is how many calls a window needs before it can trip.
	DefaultVolumeThreshold = 20
	// DefaultSleepWindow is how long a circuit is open before it is tried again, in
	// milliseconds.
	DefaultSleepWindow = 5000
	// DefaultErrorPercentThreshold is the share of errors that opens a circuit.
	DefaultErrorPercentThreshold = 50
	// DefaultLogger logs nothing.
	DefaultLogger = NoopLogger{}
)

// Settings are what holds for a command.
type Settings struct {
	Timeout                time.Duration
	MaxConcurrentRequests  int
	RequestVolumeThreshold uint64
	SleepWindow            time.Duration
	ErrorPercentThreshold  int
}

// CommandConfig is what a service sets for a command; times are in milliseconds,
// and zero stands for the default. Policies beat it.
type CommandConfig struct {
	Timeout                int `json:"timeout"`
	MaxConcurrentRequests  int `json:"max_concurrent_requests"`
	RequestVolumeThreshold int `json:"request_volume_threshold"`
	SleepWindow            int `json:"sleep_window"`
	ErrorPercentThreshold  int `json:"error_percent_threshold"`
}

// Configure sets several commands.
func Configure(cmds map[string]CommandConfig) {
	for name, config := range cmds {
		ConfigureCommand(name, config)
	}
}

// ConfigureCommand sets a command, from its next call on; unlike hystrix-go's it
// resizes the bulkhead as well.
func ConfigureCommand(name string, config CommandConfig) {
	engines.configure(name, config)
}

// GetCircuitSettings returns what holds now for each command that was configured
// or called, policies included. The map and what it holds are the caller's.
func GetCircuitSettings() map[string]*Settings {
	out := make(map[string]*Settings)
	for _, c := range engines.all() {
		e := c.circuit.Effective()
		s := &Settings{Timeout: time.Duration(e.Timeout)}
		if e.Bulkhead != nil {
			s.MaxConcurrentRequests = e.Bulkhead.Concurrent
		}
		if b := e.Breaker; b != nil {
			s.RequestVolumeThreshold = uint64(b.MinCalls)
			s.SleepWindow = time.Duration(b.OpenFor)
			s.ErrorPercentThreshold = int(b.ErrorPercent + 0.5)
		}
		out[c.name] = s
	}
	return out
}

// rules turns a config into the engine's words.
func (c CommandConfig) rules() governance.Rules {
	or := func(n, d int) int {
		if n == 0 {
			return d
		}
		return n
	}
	ms := func(n int) governance.Duration {
		return governance.Duration(time.Duration(max(n, 1)) * time.Millisecond)
	}
	return governance.Rules{
		Timeout:  ms(or(c.Timeout, DefaultTimeout)),
		Bulkhead: &governance.Bulkhead{Concurrent: or(c.MaxConcurrentRequests, DefaultMaxConcurrent)},
		Breaker: &governance.Breaker{
			MinCalls:     or(c.RequestVolumeThreshold, DefaultVolumeThreshold),
			OpenFor:      ms(or(c.SleepWindow, DefaultSleepWindow)),
			ErrorPercent: float64(or(c.ErrorPercentThreshold, DefaultErrorPercentThreshold)),
		},
	}
}

type logger interface {
	Printf(format string, items ...any)
}

// NoopLogger logs nothing.
type NoopLogger struct{}

// Printf does nothing.
func (NoopLogger) Printf(string, ...any) {}

// SetLogger says where transitions of circuits are told, in words. It may be
// called at any time.
func SetLogger(l logger) {
	if l == nil {
		l = DefaultLogger
	}
	engines.setLogger(l)
}
