// Package gateway holds the words of routing: what a route is, how a request
// matches one, what is done to it on the way, and how revisions of the whole
// table travel from a store to every gateway. It imports the standard library
// only and does no I/O of its own; gateway/postgres, gateway/memory,
// gateway/proxy, gateway/dubbo and gateway/api do.
//
// Two rules run through every word here. Revision order is commit order, so a
// reader that has revision n and asks for what came after it misses nothing. And
// what cannot be read changes nothing: a store that is away, or a route that
// does not compile, leaves what was served before.
package gateway

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Key identifies a route.
type Key struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Route sends requests that match it to an upstream.
type Route struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Priority decides between routes that match the same request, the higher
	// first; equal ones by how specific their match is, then by key.
	Priority int      `json:"priority,omitempty"`
	Match    Match    `json:"match"`
	Filters  []Filter `json:"filters,omitempty"`
	Upstream Upstream `json:"upstream"`
	// Disabled keeps the route from being served.
	Disabled bool `json:"disabled,omitempty"`
}

// Key returns the route's key.
func (r Route) Key() Key { return Key{r.Namespace, r.Name} }

// Match says which requests a route takes; all that is given must hold.
type Match struct {
	// Host is a host name, or "*.example.com" for all names below one; several
	// are alternatives, none takes every host. Ports are not looked at.
	Host Strings `json:"host,omitempty"`
	// Path is a pattern of whole segments: "/cart/{id}" takes one segment as the
	// variable id, "/static/{rest...}" at its end takes any number, none included.
	// Empty takes every path.
	Path string `json:"path,omitempty"`
	// Method are alternatives; none takes every method. GET takes HEAD too.
	Method Strings `json:"method,omitempty"`
	// Header are conditions that must all hold.
	Header []HeaderMatch `json:"header,omitempty"`
}

// HeaderMatch is a condition on one header; exactly one of Equals, Regex,
// Present and Absent is given.
type HeaderMatch struct {
	Name    string `json:"name"`
	Equals  string `json:"equals,omitempty"` // one of the header's values is this
	Regex   string `json:"regex,omitempty"`  // one of them matches this RE2 expression, anywhere unless anchored
	Present bool   `json:"present,omitempty"`
	Absent  bool   `json:"absent,omitempty"`
}

// Filter is one step of what happens to a request and its response; exactly one
// field is set. Steps on the request run in the order of the list, those on the
// response in the reverse. Timeout, Retry, Breaker, Fallback and BodyLimit hold
// for the whole route wherever they stand, and may be given once.
type Filter struct {
	StripPrefix *int        `json:"stripPrefix,omitempty"` // segments to take off the path's begin
	AddPrefix   string      `json:"addPrefix,omitempty"`
	SetPath     string      `json:"setPath,omitempty"` // a whole path; {name} stands for the match's variables
	Rewrite     *Rewrite    `json:"rewrite,omitempty"`
	Request     *HeaderEdit `json:"requestHeaders,omitempty"`
	Response    *HeaderEdit `json:"responseHeaders,omitempty"`
	HostHeader  string      `json:"hostHeader,omitempty"` // "preserve" (default), "upstream", or a name
	Timeout     *Timeout    `json:"timeout,omitempty"`
	Retry       *Retry      `json:"retry,omitempty"`
	Breaker     *Breaker    `json:"breaker,omitempty"`
	Fallback    *Fallback   `json:"fallback,omitempty"`
	BodyLimit   *int64      `json:"bodyLimit,omitempty"` // bytes; more is answered 413
}

// Rewrite replaces what an RE2 expression finds in the path.
type Rewrite struct {
	Regex string `json:"regex"`
	With  string `json:"with"` // $1 stands for the first group
}

// HeaderEdit edits headers: Remove, then Set, then Add.
type HeaderEdit struct {
	Remove []string          `json:"remove,omitempty"`
	Set    map[string]string `json:"set,omitempty"`
	Add    map[string]string `json:"add,omitempty"`
}

// Timeout bounds a request.
type Timeout struct {
	// Total is from the request's headers to the response's headers, retries
	// included; for a Dubbo upstream to the whole answer. Zero for 30 s.
	Total Duration `json:"total,omitempty"`
	// PerTry bounds one attempt; zero for what is left of Total.
	PerTry Duration `json:"perTry,omitempty"`
	// Idle ends a response, or an upgraded connection, on which nothing moved
	// for so long. Zero for 5 min.
	Idle Duration `json:"idle,omitempty"`
}

// Retry sends a request again, to an endpoint that was not tried yet.
type Retry struct {
	// Attempts is how many in all, 1 to 10.
	Attempts int `json:"attempts"`
	// On says what is tried again: "connect" (nothing was sent), "reset" (the
	// connection broke before an answer), "timeout" (perTry), or a status such as
	// "503". Default: connect. All but connect need a request that may be
	// repeated: GET, HEAD, OPTIONS, TRACE, PUT, DELETE, or Methods.
	On      Strings `json:"on,omitempty"`
	Methods Strings `json:"methods,omitempty"`
	// Budget is how many percent of the route's requests may be retried, so that
	// an upstream that is down is not hit the harder. Zero for 20.
	Budget int `json:"budgetPercent,omitempty"`
}

// Breaker guards each of the route's upstreams by a circuit breaker, as
// governance.Breaker does; zero fields have the engine's defaults.
type Breaker struct {
	Window       Duration `json:"window,omitempty"`
	MinCalls     int      `json:"minCalls,omitempty"`
	ErrorPercent float64  `json:"errorPercent,omitempty"`
	OpenFor      Duration `json:"openFor,omitempty"`
	Probes       int      `json:"probes,omitempty"`
	Concurrent   int      `json:"concurrent,omitempty"` // bulkhead
}

// Fallback answers when the upstream did not: no endpoint, no connection, a
// timeout, an open circuit, or a status of 500 or more if On5xx is set.
type Fallback struct {
	Status int               `json:"status"`
	Header map[string]string `json:"headers,omitempty"`
	Body   json.RawMessage   `json:"body,omitempty"` // JSON; a JSON string with a content-type that is not JSON is sent as its text
	On5xx  bool              `json:"on5xx,omitempty"`
}

// Balances, the ways to choose among endpoints.
const (
	LeastRequests = "leastRequests" // the one of two random ones with fewer requests under way; the default
	RoundRobin    = "roundRobin"
	Random        = "random"
)

// Upstream is where requests go: exactly one of App, URL and Dubbo is set.
type Upstream struct {
	// App is an application, "namespace/name", whose endpoints the registry
	// knows. Port is the name or number of one of its ports; empty for its only
	// one, the one that the Service names as primary, or the one named "http" or
	// "https".
	App  string `json:"app,omitempty"`
	Port string `json:"port,omitempty"`
	// URL is http:// or https:// host[:port], with a path to put in front.
	URL   string `json:"url,omitempty"`
	Dubbo *Dubbo `json:"dubbo,omitempty"`
	// Balance is one of the constants above; empty for LeastRequests.
	Balance string `json:"balance,omitempty"`
	// Protocol to an App or URL: "http1", "h2c", "https". Empty for http1, or https
	// where the application's Service says that it is spoken.
	Protocol string `json:"protocol,omitempty"`
	// TLS says who has to be there where https is spoken.
	TLS *UpstreamTLS `json:"tls,omitempty"`
}

// UpstreamTLS says whose certificate an App or URL has to show.
type UpstreamTLS struct {
	// ServerName is the name that the certificate has to be for, and that the
	// upstream is told (SNI). Empty for an application's "name.namespace.svc", and for
	// a URL's host.
	ServerName string `json:"serverName,omitempty"`
	// CA holds certificates in PEM. Only what they, or authorities of theirs, signed is
	// believed; empty for whom the gateway believes.
	CA string `json:"ca,omitempty"`
}

// Dubbo calls a method of a Dubbo interface. Hessian methods have Args, one for
// each parameter; methods with an IDL have Message.
type Dubbo struct {
	App       string `json:"app"` // namespace/name
	Interface string `json:"interface"`
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Method    string `json:"method"`
	Args      []Arg  `json:"args,omitempty"`
	// Message says where the one message of an IDL method comes from: "body", or
	// an object of fields from elsewhere, such as {sku: path.sku}.
	Message *Message `json:"message,omitempty"`
	// Attachments takes headers along, by attachment name: {tenant: header.X-Tenant}.
	Attachments map[string]string `json:"attachments,omitempty"`
	// BigNumbersAsStrings writes integers beyond 2^53 and decimals as JSON strings.
	BigNumbersAsStrings bool `json:"bigNumbersAsStrings,omitempty"`
}

// Arg is one argument.
type Arg struct {
	// Type is the Java type of the parameter: "java.lang.String", "int",
	// "java.util.List<java.lang.Long>", "org.example.shop.Buyer".
	Type string `json:"type"`
	// From is "path.NAME", "query.NAME", "header.NAME", "body" or "body.a.b".
	From string `json:"from"`
	// Default is used where From has nothing; without one that is an error,
	// unless Optional, which sends null.
	Default  json.RawMessage `json:"default,omitempty"`
	Optional bool            `json:"optional,omitempty"`
}

// Message says where a protobuf message comes from.
type Message struct {
	Body   bool              `json:"body,omitempty"`   // the request's body is its JSON
	Fields map[string]string `json:"fields,omitempty"` // JSON field name to "path.NAME", …; put over the body's
}

// Revision numbers states of the whole table; it rises by one with each
// committed write.
type Revision int64

// Version is one version of a route.
type Version struct {
	Route    Route     `json:"route"`
	Revision Revision  `json:"revision"` // that wrote it
	Created  time.Time `json:"created"`
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason"`
	Deleted  bool      `json:"deleted,omitempty"` // a tombstone; Route is what it was
	// Unreadable says why the stored document means nothing to this program, as
	// after a newer one wrote what it does not know. Route then has its key only:
	// whoever serves routes keeps the last good form and says so.
	Unreadable string `json:"unreadable,omitempty"`
}

// Duration is a time.Duration that JSON writes as Go does, such as "800ms".
type Duration time.Duration //nolint:recvcheck // a value to write, a place to read into

// String returns Go's spelling.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string such as "10s". Bare numbers are refused: nobody
// knows their unit.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err == nil {
		if v, err := time.ParseDuration(s); err == nil {
			*d = Duration(v)
			return nil
		}
	}
	return &Error{Code: Invalid, Message: fmt.Sprintf("%s is no duration: write a number with its unit, such as \"800ms\" or \"10s\"", data)}
}

// Strings is a list that JSON may also write as a single string. A whole number
// stands for its digits, so that a status needs no quotes.
type Strings []string

// UnmarshalJSON reads a string or a list of strings.
func (s *Strings) UnmarshalJSON(data []byte) error {
	var many []json.RawMessage
	if json.Unmarshal(data, &many) != nil {
		many = []json.RawMessage{data}
	}
	if many == nil { // null
		*s = nil
		return nil
	}
	out := make(Strings, len(many))
	for i, raw := range many {
		var number int64
		switch {
		case string(raw) != "null" && json.Unmarshal(raw, &out[i]) == nil:
		case string(raw) != "null" && json.Unmarshal(raw, &number) == nil:
			out[i] = strconv.FormatInt(number, 10)
		default:
			return &Error{Code: Invalid, Message: fmt.Sprintf("%.40s is neither a string nor a list of strings", data)}
		}
	}
	*s = out
	return nil
}
