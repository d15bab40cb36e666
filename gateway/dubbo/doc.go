// Package dubbo serves HTTP requests by calls of Dubbo methods. A route's
// gateway.Dubbo says where each argument comes from and what Java type it has;
// Compile checks that once and returns a handler that transcodes JSON to Hessian
// and back without building values in between.
//
// Three ways lead to a provider, chosen per instance by what its endpoints say:
//
//   - "dubbo" endpoints get a generic call ($invoke) in Hessian over the Dubbo
//     protocol, by this package's own multiplexed client;
//   - "tri" endpoints get the same generic call in Hessian, wrapped as Triple does
//     for methods without an IDL, in a gRPC frame over HTTP/2;
//   - "tri" endpoints get JSON for methods with an IDL (gateway.Dubbo.Message),
//     as Triple servers of dubbo-go take it, and those of Dubbo Java 3.3 should.
//
// A call is tried again, on an endpoint that was not tried yet, when it provably
// did not run; anything beyond that is for the route's retry filter to say.
package dubbo
