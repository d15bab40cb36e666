// Package httpapi is what all HTTP APIs of Weir have in common: a small layer
// over huma on a *http.ServeMux. It authenticates, holds the role and the
// namespace, asks for a reason on writes and records them, bounds bodies, and
// turns errors into RFC 9457 problem documents in one place. Domain packages
// export Register(api *httpapi.API, deps) and write handlers alone:
//
//	type putRoute struct {
//		Namespace string `path:"namespace"`
//		Name      string `path:"name"`
//		httpapi.Precondition        // If-Match, If-None-Match
//		httpapi.Wait                // ?wait=5s
//		Body gateway.Route
//	}
//	type routeOut struct {
//		ETag string `header:"ETag"`
//		Body gateway.Version
//	}
//
//	httpapi.Register(api, httpapi.Op[putRoute]{
//		Operation: huma.Operation{
//			OperationID: "put-route", Method: http.MethodPut,
//			Path: "/api/v1/namespaces/{namespace}/routes/{name}",
//			Summary: "Write a route", Tags: []string{"routes"},
//		},
//		Role:      access.Operator,
//		Write:     true,
//		Namespace: func(in *putRoute) string { return in.Namespace },
//		Object:    func(in *putRoute) string { return "route " + in.Namespace + "/" + in.Name },
//	}, func(ctx context.Context, in *putRoute) (*routeOut, error) {
//		expect, err := in.Expect() // 0: must not exist; AnyVersion: whatever is there
//		...
//		rev, err := store.Apply(ctx, writes, gateway.Change{Actor: httpapi.Actor(ctx), Reason: httpapi.Reason(ctx)})
//		if err != nil {
//			return nil, err // coded errors become problems by themselves
//		}
//		httpapi.Wrote(ctx, int64(rev)) // for the audit
//		return &routeOut{ETag: httpapi.ETag(int64(rev)), ...}, nil
//	})
//
// # Who may
//
// Each operation names the Role it needs, or is explicitly Public. A principal
// bounded to namespaces passes only where Namespace says one of them. Without
// Namespace an operation is for principals without bounds, unless Scoped says
// that the handler looks itself: it then calls access.Require, or narrows what
// it answers with Sees. The principal is access.From(ctx).
//
// Credentials are a bearer token or the session cookie. Requests with the cookie
// that change anything must come from the same origin.
//
// # Writes
//
// Write operations need a reason, in the header Weir-Reason (UTF-8, may be
// percent-encoded) or the query parameter "reason". The audit entry is written
// before the handler runs and its failure forbids the write; the outcome and
// what Wrote said are filled in afterwards. Dry runs are not writes: register
// them as operations of their own.
//
// # Errors
//
// Handlers return errors of the word packages (gateway, governance, registry,
// tracing, access) as they are, or a *Problem for what has no code:
//
//	invalid      422, errors[] names the field
//	not-found    404
//	conflict     412 when the request had a precondition, else 409
//	forbidden    403
//	too-many     429
//	unavailable  503 with Retry-After
//
// The cause of an invalid error is shown, any other is not. What has no code is
// logged with an id, and the client is shown the id alone.
//
// JSON bodies with unknown fields, fields of a wrong type, or none where one is
// needed are refused before the handler runs, naming each; so are unknown query
// parameters and bodies over MaxBody. A field is required unless its tag has
// omitempty, omitzero or required:"false". A type with a JSON form of its own
// (UnmarshalJSON) needs a schema: see API.Alias.
//
// # Compression
//
// JSON answers of a kilobyte and more are compressed for clients that take gzip.
// An answer that holds a secret, such as a new password, is to have the header
// Cache-Control: no-store, which also keeps it from being compressed.
//
// # Other handlers
//
// Handle, HandleInstance and HandlePublic mount any http.Handler, such as a
// stream, under the same authentication; WriteProblem is theirs for errors.
package httpapi
