package api

import (
	"encoding/json"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Examples of the description.
var (
	exampleRoute = example(`{
	"namespace": "shop", "name": "cart",
	"match": {"host": "shop.example.com", "path": "/shop/cart/{id}", "method": ["GET", "PUT"]},
	"filters": [
		{"stripPrefix": 1},
		{"timeout": {"total": "2s", "perTry": "800ms"}},
		{"retry": {"attempts": 2, "on": ["connect", "503"], "budgetPercent": 10}},
		{"fallback": {"status": 200, "body": {"items": [], "degraded": true}}}
	],
	"upstream": {"app": "shop/storefront"}
}`)
	exampleApply = example(`{"items": [
	{"route": {
		"namespace": "shop", "name": "reserve",
		"match": {"path": "/shop/stock/{sku}/reserve", "method": "POST"},
		"upstream": {"dubbo": {
			"app": "shop/inventory", "interface": "org.example.shop.InventoryService", "method": "reserve",
			"args": [{"type": "java.lang.String", "from": "path.sku"}, {"type": "int", "from": "body.count"}]
		}}
	}},
	{"route": {"namespace": "shop", "name": "legacy"}, "delete": true, "expect": 12}
]}`)
	exampleRollback = example(`{"revision": 112}`)
	exampleSample   = example(`{"method": "GET", "url": "http://shop.example.com/shop/cart/42", "headers": {"X-User": ["7"]}}`)
)

func example(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic("api: an example is no JSON: " + err.Error()) // it is one of the constants above
	}
	return v
}

// words are the schemas that the words of routing have, and what the API says of
// each of their fields.
var words = map[string]map[string]string{
	"Key": {
		"namespace": "The namespace of the route.",
		"name":      "Its name within the namespace.",
	},
	"Route": {
		"namespace": "At most 63 lower-case letters, digits and '-'. Roles are given by namespace.",
		"name":      "At most 253 lower-case letters, digits, '.', '_' and '-'.",
		"priority":  "Decides between routes that match the same request: the higher goes first. Equal ones go by how specific their match is, then by key. -1000000 to 1000000, 0 when not given.",
		"match":     "Which requests the route takes. All that is given must hold.",
		"filters":   "What is done to a request and its response. Steps on the request run in this order, those on the response in the reverse.",
		"upstream":  "Where requests go: exactly one of app, url and dubbo.",
		"disabled":  "Keeps the route from being served.",
	},
	"Match": {
		"host":   "Host names without port, or *.example.com for all names below one. Several are alternatives; none takes every host.",
		"path":   "A pattern of whole segments: /cart/{id} takes one segment as id, /static/{rest...} any number at its end. Empty takes every path.",
		"method": "Methods in upper case. Several are alternatives; none takes every method. GET takes HEAD too.",
		"header": "Conditions on headers, all of which must hold.",
	},
	"HeaderMatch": {
		"name":    "The header, in any case.",
		"equals":  "One of its values is this.",
		"regex":   "One of its values matches this RE2 expression, anywhere unless anchored.",
		"present": "It is there.",
		"absent":  "It is not there.",
	},
	"Filter": {
		"stripPrefix":     "How many segments to take off the beginning of the path.",
		"addPrefix":       "A path to put in front.",
		"setPath":         "A whole path; {name} stands for a variable of the match.",
		"rewrite":         "Replaces what an expression finds in the path.",
		"requestHeaders":  "Edits the request's headers.",
		"responseHeaders": "Edits the response's headers.",
		"hostHeader":      "The Host that the upstream sees: preserve (as it came, the default), upstream (its own), or a name.",
		"timeout":         "Bounds the request. Once per route.",
		"retry":           "Sends the request again, to an endpoint that was not tried. Once per route.",
		"breaker":         "Guards each upstream of the route by a circuit breaker. Once per route.",
		"fallback":        "Answers when the upstream did not. Once per route.",
		"bodyLimit":       "The most bytes a request's body may have; more is answered 413. Once per route.",
	},
	"Rewrite": {
		"regex": "An RE2 expression, held against the path.",
		"with":  "What stands in its place; $1 is the first group.",
	},
	"HeaderEdit": {
		"remove": "Headers to take away, first.",
		"set":    "Headers to set, after that.",
		"add":    "Values to add, last.",
	},
	"Timeout": {
		"total":  "From the request's headers to the response's, retries included; of Dubbo, to the whole answer. 30s when not given.",
		"perTry": "Of one attempt; what is left of total when not given.",
		"idle":   "Ends a response or an upgraded connection on which nothing moved for so long. 5m when not given.",
	},
	"Retry": {
		"attempts":      "How many in all, 1 to 10.",
		"on":            "What is tried again: connect (nothing was sent; the default), reset, timeout, or a status of 400 to 599.",
		"methods":       "Methods that may be repeated beside GET, HEAD, OPTIONS, TRACE, PUT and DELETE.",
		"budgetPercent": "How many percent of the route's requests may be retried; 20 when not given.",
	},
	"Breaker": {
		"window":       "Over which calls are counted, 1s to 5m.",
		"minCalls":     "Fewer calls in the window open nothing.",
		"errorPercent": "Failed calls in the window at which the circuit opens.",
		"openFor":      "How long it stays open before it lets probes through.",
		"probes":       "How many of them have to succeed.",
		"concurrent":   "How many requests may be under way at once.",
	},
	"Fallback": {
		"status":  "200 to 599.",
		"headers": "Headers of the answer.",
		"body":    "JSON, at most 64 KiB. A string with a content-type that is not JSON is sent as its text.",
		"on5xx":   "Also when the upstream answered a status of 500 or more.",
	},
	"Upstream": {
		"app":      "An application, namespace/name, whose endpoints the registry knows.",
		"port":     "The name or number of one of its ports; when not given its only one, the one that its primary-port-name says, or the one named http or https.",
		"url":      "http:// or https://, a host, and a path to put in front.",
		"dubbo":    "A method of a Dubbo interface.",
		"balance":  "leastRequests (the default), roundRobin or random.",
		"protocol": "To an app or url: http1, h2c or https. When not given http1, or https where the Service of an app says that it is spoken.",
		"tls":      "Who has to be there where https is spoken.",
	},
	"UpstreamTLS": {
		"serverName": "The name that the certificate has to be for, and that the upstream is told (SNI); when not given an app's name.namespace.svc, and a url's host.",
		"ca":         "Certificates in PEM, at most 64 KiB. Only what they, or authorities of theirs, signed is believed; when not given, whom the gateway believes.",
	},
	"Dubbo": {
		"app":                 "The application that provides the interface, namespace/name.",
		"interface":           "The interface's full name.",
		"group":               "The group under which it is offered, where there is one.",
		"version":             "The version under which it is offered, where there is one.",
		"method":              "The method's name.",
		"args":                "One for each parameter, of a Hessian method.",
		"message":             "Where the message comes from, of a method with an IDL.",
		"attachments":         "Headers to take along, by attachment name: {\"tenant\": \"header.X-Tenant\"}.",
		"bigNumbersAsStrings": "Writes integers beyond 2^53 and decimals of the result as JSON strings.",
	},
	"Arg": {
		"type":     "The Java type of the parameter, in full: java.lang.String, int, java.util.List<java.lang.Long>.",
		"from":     "path.NAME, query.NAME, header.NAME, body, or body.FIELD.",
		"default":  "Used where from has nothing; without it that is an error, unless optional.",
		"optional": "Sends null where from has nothing.",
	},
	"Message": {
		"body":   "The request's body is the message's JSON.",
		"fields": "JSON field name to path.NAME, query.NAME, header.NAME or body.FIELD, put over the body's.",
	},
	"Version": {
		"route":      "The document; of a tombstone what it was.",
		"revision":   "That wrote it. Revisions of the whole table rise by one with each committed change.",
		"created":    "When.",
		"actor":      "Who wrote it, such as user:admin.",
		"reason":     "Why.",
		"deleted":    "The route was deleted.",
		"unreadable": "Why the stored document means nothing to this program; route then has its key only.",
	},
	"Warning": {
		"route":   "The route in doubt.",
		"field":   "The field in doubt.",
		"message": "What is doubtful, and what to do.",
		"unknown": "That the route points to an application that does not exist; it is refused unless allowUnknown is given.",
	},
	"Quarantine": {
		"route":    "The route that is not served as written.",
		"revision": "The revision that cannot be served.",
		"serving":  "The last good revision, which is served instead; missing for none.",
		"reason":   "Why.",
	},
	"Sample": {
		"method":  "The request's method; GET when empty.",
		"url":     "Absolute, or a path with host beside it.",
		"host":    "The Host header, where the URL has none.",
		"headers": "The request's headers.",
	},
	"Candidate": {
		"route":     "The route.",
		"revision":  "Its revision.",
		"why":       "Why it won or lost, in a few words.",
		"vars":      "Variables of the path, where the path matches.",
		"upstream":  "Where the request would go.",
		"endpoints": "The addresses it would go to, where the registry knows them.",
	},
	"Explanation": {
		"winner": "The route that takes the request; missing when none does, which is answered 404.",
		"losers": "Routes that come near, in the order in which they are tried.",
		"routes": "How many were looked at.",
	},
	"Node": nodeFields,
}

var nodeFields = map[string]string{
	"name":        "The gateway's name.",
	"revision":    "The revision it serves.",
	"checksum":    "Of the routes it has; equal for gateways that have the same.",
	"seen":        "When it was last heard of.",
	"version":     "Of its weir.",
	"quarantined": "Routes it cannot serve as written.",
}

// describe puts the words' descriptions into the schemas of the API.
func describe(schemas huma.Registry) {
	own := map[string]map[string]string{"GatewayApiGateway": nodeFields}
	fields := map[string]string{"route": "The route's key."}
	own["GatewayApiChange"] = fields
	own["GatewayApiFinding"] = map[string]string{
		"kind":    "shadowed: routes that are tried before take every request that this one would. duplicate: another matches the very same requests, and goes first only because of its name.",
		"message": "One sentence that says it.",
	}
	own["GatewayApiField"] = map[string]string{"field": "Where the documents differ."}
	own["GatewayApiGateways"] = map[string]string{"items": "Sorted by name."}
	for name, s := range schemas.Map() {
		about := own[name]
		if word, ok := strings.CutPrefix(name, "Gateway"); ok && about == nil {
			about = words[word]
		}
		for field, text := range about {
			if p := s.Properties[field]; p != nil && p.Description == "" {
				if p.Ref != "" { // a reference may have a description of its own in 3.1, which huma does not write
					continue
				}
				p.Description = text
			}
		}
	}
}
