package hystrix

import (
	"context"
	"errors"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

// CircuitBreaker is a command's circuit, for those who ask it themselves.
type CircuitBreaker struct {
	Name string
}

// GetCircuit returns the circuit of a command, and whether this call made it. The
// error is always nil.
func GetCircuit(name string) (*CircuitBreaker, bool, error) {
	c, made := engines.command(name)
	return &CircuitBreaker{Name: c.name}, made, nil
}

// Flush forgets what was counted: every circuit that no policy holds open is
// closed. What commands were configured to stays, unlike hystrix-go's goroutines.
func Flush() { engines.flush() }

// IsOpen reports whether calls are refused. Asking changes nothing.
func (circuit *CircuitBreaker) IsOpen() bool {
	c, _ := engines.command(circuit.Name)
	switch c.circuit.State() {
	case governance.StateOpen, governance.StateForcedOpen:
		return true
	}
	return false
}

// AllowRequest reports whether a call may be made now. A circuit whose time to be
// open is over says yes until ReportEvent tells how the call went.
func (circuit *CircuitBreaker) AllowRequest() bool {
	c, _ := engines.command(circuit.Name)
	call, err := c.circuit.Begin(context.Background())
	if err != nil {
		var refused *breaker.Refused
		return errors.As(err, &refused) && refused.Reason == breaker.ReasonFull // of that it is not asked
	}
	call.Withdraw() // asking is no call
	return true
}

// ReportEvent counts a call that was made without Do or Go: "success", "failure",
// "timeout", "context_canceled" or "context_deadline_exceeded", and after it
// "fallback-success" or "fallback-failure". runDuration is how long it took; when it
// started is not asked for.
func (circuit *CircuitBreaker) ReportEvent(eventTypes []string, start time.Time, runDuration time.Duration) error {
	_ = start
	if len(eventTypes) == 0 {
		return errors.New("no event types sent for metrics")
	}
	c, _ := engines.command(circuit.Name)
	o := breaker.Failure
	switch eventTypes[0] {
	case "success":
		o = breaker.Success
	case "timeout", "context_deadline_exceeded":
		o = breaker.Timeout
	case "context_canceled":
		o = breaker.Canceled
	case "rejected", "short-circuit":
		return nil // counted where they were refused
	}
	if call, err := c.circuit.Begin(context.Background()); err == nil {
		call.EndAfter(o, runDuration)
	}
	if len(eventTypes) > 1 {
		c.circuit.Answered(eventTypes[1] == "fallback-success")
	}
	return nil
}
