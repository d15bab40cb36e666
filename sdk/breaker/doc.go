// Package breaker guards calls: a circuit breaker, a bulkhead and a timeout for
// each command, with what Hystrix means by them, governed live by policies, and
// counted exactly where they happen. It needs the standard library only.
//
// A Set holds the circuits of a process. Do runs a function under one; Begin and
// Call.End are the same in two steps, for filters, proxies and streams.
//
//	reserve := set.Circuit(governance.Series{Command: "InventoryService.reserve", At: governance.Caller, Peer: inventory})
//	left, err := breaker.Do(ctx, reserve, func(ctx context.Context) (int, error) {
//		return client.Reserve(ctx, sku)
//	}, breaker.WithFallback(func(ctx context.Context, err error) (int, error) { return 0, nil }))
//
// What counts as what:
//
//   - An error is a failure, unless it is wrapped by Ignore or the circuit's
//     WithClassify says otherwise. Ignored errors are answers: they are no reason to
//     open a circuit, call for no fallback, and as probes they close one.
//   - A call that ends after its deadline is a timeout, whether the deadline was
//     the policy's or one that the caller brought along, and also if it ends with an
//     answer, which the caller then gets.
//   - A call whose caller goes away is canceled, and says nothing about the callee.
//   - Refused calls (open, switched off, bulkhead full) are counted by themselves;
//     a breaker that refuses does not feed itself.
//   - A panic is a failure. It goes on to the caller, and the bulkhead has its
//     place back.
//
// Calls run on the goroutine of their caller. A function that does not heed its
// context is not left behind: its call ends when it returns, holds its place in
// the bulkhead until then, and counts as a timeout.
//
// Results of calls that began before a circuit last changed its state count in
// samples, but never change the state again.
package breaker
