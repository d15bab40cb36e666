// Package hystrix brings services on github.com/afex/hystrix-go under Weir, in two
// steps.
//
// The first leaves their calls alone. Adopt gives every command that the process
// has or will have live settings, force open and closed, and metrics:
//
//	import "github.com/afex/hystrix-go/hystrix"
//	import weirhystrix "github.com/weirmesh/weir/sdk/hystrix"
//
//	weirhystrix.Adopt(kit)
//	…
//	err := hystrix.Do("price", run, fallback) // as ever
//
// The second is another import path. This package has hystrix-go's functions, with
// their signatures, on Weir's own breaker: bulkheads resize live, counts are exact,
// timeouts cancel the context, every policy holds. The line with Adopt stays as it
// is; it governs commands of both kinds, so that files can be changed one by one.
//
// What a policy can do to a command:
//
//	                          by Adopt alone             with the path changed
//	timeout                   yes, next call             yes, and cancels
//	minCalls, errorPercent    yes, next call             yes
//	openFor                   yes, next call             yes
//	forced open (switch)      yes ¹                      yes
//	forced closed, disabled   yes, next call             yes
//	bulkhead                  commands not called yet ²  yes, live
//	window, slowCall, probes  no ³                       yes
//	fallback                  no ³                       error and empty ⁴
//	counts                    marked lossy ⁵             exact
//	spans                     no                         yes, within a trace
//
// ¹ hystrix-go has no function for it; Adopt sets thresholds that no call can
// meet. A circuit is held open within a millisecond or so; the first call of a
// command that the process has neither configured nor called before may pass, and
// so may a few in the moment in which a call succeeds that was under way before.
// ² hystrix-go makes a command's pool once, at its first call.
// ³ A policy that asks for it is applied as far as it can be, and the log says
// what cannot.
// ⁴ A run function returns no value, so a policy's value has nowhere to go: the
// fallback in the code answers. "empty" answers success.
// ⁵ hystrix-go drops events when its channel of 2,000 is full.
//
// Commands are counted and governed where they run, at: provider. One that is called
// with the context of a trace (DoC, GoC) has a span of its own in it.
package hystrix
