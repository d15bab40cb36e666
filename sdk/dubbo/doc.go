// Package dubbo governs and traces the calls of a service on dubbo-go, those it
// serves and those it makes, over the Dubbo protocol and Triple:
//
//	ins, err := dubbo.NewInstance(dubbo.WithName("inventory"), weirdubbo.WithGovernance(kit), …)
//
// A served call is counted as the command Interface.method (the interface by its
// short name) at the provider; a call that is made, as the same command at the
// caller, with the application that provides it as its peer. What the policies of
// the control plane say holds from the next call on.
//
// # Served calls
//
// The guard stands next to the method, behind dubbo-go's own filters and whichever
// a program adds, however its list of filters reads. A refused call does not reach
// the method. Callers get the policy's fallback, else an error that names the
// switch, its version and its reason; Refused recognises it in a Go caller. The
// circuit of served calls opens by its counts only where a policy speaks of its
// breaker: see breaker.CountOnly. A static value is JSON of the method's reply type: fields of Hessian classes by
// their Go or Java spelling, messages of protobuf as proto JSON. A timeout is a
// deadline of the method's context.
//
// # Calls that are made
//
// The guard stands around the whole call with its retries, so that a timeout
// bounds all of them, a fallback answers after the last, and a breaker counts what
// the program sees. A caller that has given up makes no further retries, and an
// error that is an answer (see below), or says that the provider is switched off,
// is not retried either.
//
// dubbo-go's client of the Dubbo protocol does not heed contexts. It is told how
// much time is left, so that deadlines hold: a shorter time that the program
// configured holds beside its own deadline, and gives way to a policy's timeout. A
// call whose context is canceled still waits for its answer.
//
// The peer is known by the registry. A reference with a direct URL names it by
// client.WithProvidedBy("inventory") or by the option WithPeer; without, its calls
// are counted without a peer, and no policy is about them.
//
// # What counts as what
//
// Exceptions of the service's own classes, and Triple errors whose code blames the
// request (invalid argument, not found, already exists, permission denied, failed
// precondition, out of range, unauthenticated, aborted), are ignored: they are
// answers. So is dubbo-go's word that it knows no provider: nothing was called. Other errors are failures; among them a Go error that has no class and
// no code. WithClassify says otherwise. At the caller, a provider's word that it is
// switched off is ignored too, though the caller's fallback answers: otherwise
// circuits of callers would open above the switch and stay so after its release.
//
// # Streams
//
// Streams of Triple are refused as other calls are; they get no fallback value and
// no timeout. A provider counts one when its handler returns; a caller, when it is
// opened. Calls of the Dubbo protocol that are asynchronous or one-way are counted
// when they are sent.
//
// # Traces
//
// Each served call is a server span and each call made is a client span, which
// retries share. Contexts travel as attachments in every spelling of B3 and as
// traceparent, so that Java reads them, and are read whatever their case.
package dubbo
