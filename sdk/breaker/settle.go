package breaker

import "time"

// Settle ends the account of a call whose work goes on without anybody waiting
// for it, such as that of a function which does not heed its context: the outcome
// counts now, and the call keeps its place in the bulkhead until leave is called,
// which may be done once, from any goroutine. For a call that has ended already
// it counts nothing.
func (call *Call) Settle(o Outcome) (leave func()) {
	if !call.ended.CompareAndSwap(false, true) {
		return func() {}
	}
	if call.cancel != nil {
		call.cancel()
	}
	c := call.circuit
	c.inFlight.Add(1) // end gives one place back
	c.end(call, o, c.set.mono())
	return func() { c.inFlight.Add(-1) }
}

// Withdraw ends a call that was not made after all: it is counted nowhere, and what
// it held is given back.
func (call *Call) Withdraw() {
	if !call.ended.CompareAndSwap(false, true) {
		return
	}
	if call.cancel != nil {
		call.cancel()
	}
	call.circuit.inFlight.Add(-1)
	if call.probe {
		call.circuit.giveBack(call.gen)
	}
}

// EndAfter is End for a call that was made elsewhere, or before, and took as long as
// it is said to.
func (call *Call) EndAfter(o Outcome, took time.Duration) {
	if !call.ended.CompareAndSwap(false, true) {
		return
	}
	if call.cancel != nil {
		call.cancel()
	}
	now := call.circuit.set.mono()
	call.began = now - int64(max(took, 0))
	call.circuit.end(call, o, now)
}
