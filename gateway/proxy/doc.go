// Package proxy is the gateway's hot path: it reads routes from a gateway.Source,
// compiles them into a table, and serves HTTP requests by it.
//
//	p, err := proxy.New(proxy.Config{Node: pod, Source: store, Registry: hub, Breakers: set, Metrics: reg, Log: log})
//	go p.Run(ctx)                       // follows the source until ctx ends
//	server := &http.Server{Handler: p}  // p.Ready() says when to send requests
//	…
//	p.Drain()                           // when the server begins to stop: streams end after DrainTimeout
//	server.Shutdown(ctx)
//	p.Shutdown(ctx)                     // upgraded connections end, upstreams are let go
//
// Under run.Server, whose requests know when it begins to stop, Drain is not
// needed.
//
// # Which route
//
// The table is immutable and stands behind one atomic pointer; each change makes
// a new one that shares what did not change. Of all routes that take a request the
// one of the highest priority wins, then the most specific, then the one whose key
// comes first, as gateway.Alternative.Compare has it. When none takes it the answer
// is 405, with Allow, if only the method is wrong, else 404.
//
// A route that does not compile is quarantined: its last good form is served on,
// or none, and the source is told. What cannot be read changes nothing.
//
// # Which path
//
// What is matched is what is sent on. Segments are told apart in the escaped path,
// so "%2F" separates nothing; a slash at the end is significant; slashes in a row
// are one, for the match and for the upstream. A path with dot segments is
// answered 400, also where they are disguised as servers are known to see through
// ("%2e%2e", "..;x", "..%2f", "..\"), because an upstream would resolve them past
// the route that matched; clients resolve them before they send. The same is held
// against the path that a route's filters make. Filters work on the escaped path.
//
// # What is sent
//
// The request as it came, without the headers of the connection, with
// X-Forwarded-For, -Host and -Proto (a client's own words on that are dropped,
// unless it is one of Config.TrustedPeers), and Via, by which a request that goes
// in circles is noticed (508). Of upgrades only WebSockets pass. Redirects are the
// client's to follow. A request of which nothing was sent, since the connection
// was refused, goes to one other endpoint even where a route has no retry filter;
// `retry: {attempts: 1}` forbids that. All retries come out of one budget per route.
// A body of known length up to 64 KiB can be sent again. A URL may stand for many
// servers, so it is tried again itself.
//
// Breakers, budgets, pools of connections and numbers belong to a route's key or
// its upstream, not to one version of it: an edit resets none of them. A route's
// circuit counts until the answer's headers; the policies of the breaker.Set hold
// under the route's key as command. A route without a breaker filter has a circuit
// in mode disabled, which a policy with a mode switches on.
//
// # What is answered
//
// What the upstream answers, or a problem document (RFC 9457) with the member code,
// which is also in the header Weir-Error; so a client can tell the gateway's 503
// from the upstream's. An answer of a fallback bears Weir-Error too. Addresses of
// upstreams are only in the log.
package proxy
