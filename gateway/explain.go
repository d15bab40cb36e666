package gateway

import "context"

// Explainer says which route would take a request, and why the others would
// not. gateway/proxy implements it with the table that serves requests.
type Explainer interface {
	// Explain holds a request against routes as a gateway that serves them would.
	// Routes that cannot be served are among the losers, with the reason. Its
	// errors are Invalid, for a request that is none.
	Explain(ctx context.Context, routes []Version, r Sample) (Explanation, error)
}

// Sample is a request to explain.
type Sample struct {
	Method string `json:"method"`
	// URL is absolute, "http://shop.example.com/cart/42?full=1", or a path with
	// Host given beside it.
	URL    string              `json:"url"`
	Host   string              `json:"host,omitempty"`
	Header map[string][]string `json:"headers,omitempty"`
}

// Explanation is what becomes of a request.
type Explanation struct {
	// Winner is the route that takes the request; nil for none, which is
	// answered 404.
	Winner *Candidate `json:"winner,omitempty"`
	// Losers are routes that come near, in the order in which they are tried:
	// those that match too, then those that fail in the least.
	Losers []Candidate `json:"losers"`
	// Routes is how many were looked at.
	Routes int `json:"routes"`
}

// Candidate is one route held against a request.
type Candidate struct {
	Key      Key      `json:"route"`
	Revision Revision `json:"revision"`
	// Why says in a few words why the route won or lost: "its path is more
	// specific", "lower priority", "method is not POST".
	Why string `json:"why"`
	// Vars are the variables of the path, for a route whose path matches.
	Vars map[string]string `json:"vars,omitempty"`
	// Upstream says in words where the request would go: "shop/storefront",
	// "dubbo shop/inventory InventoryService.reserve", or a URL.
	Upstream string `json:"upstream,omitempty"`
	// Endpoints are the addresses it would go to, where the registry knows them.
	Endpoints []string `json:"endpoints,omitempty"`
}

// Checker looks at what routes point to. It knows what gateway.Route.Validate
// cannot: applications, their ports and their Dubbo methods.
type Checker interface {
	// Check returns what is doubtful about valid routes. What it cannot find out
	// is no warning.
	Check(ctx context.Context, routes []Route) []Warning
}

// Warning is a doubt about a route that may well be right: the application may
// come later.
type Warning struct {
	Key   Key    `json:"route"`
	Field string `json:"field,omitempty"` // of the route, such as "upstream.app"
	// Message says what is doubtful and what to do: "no application
	// shop/storfront is known; did you mean shop/storefront?".
	Message string `json:"message"`
	// Unknown says that the route points to an application that does not exist,
	// which is taken only when that is allowed.
	Unknown bool `json:"unknown,omitempty"`
}
