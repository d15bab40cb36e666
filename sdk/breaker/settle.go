package breaker

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
