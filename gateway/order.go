package gateway

import (
	"cmp"
	"strings"
)

// NormalHost returns a host as routes are held against it: without port and
// trailing dot, in lower case.
func NormalHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// HostTakes reports whether an entry of Match.Host takes a host as NormalHost
// returns it. The entry "" stands for none given, which takes every host.
func HostTakes(entry, host string) bool {
	if entry == "" {
		return true
	}
	entry = NormalHost(entry)
	if suffix, ok := strings.CutPrefix(entry, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return entry == host
}

// Alternative is a valid route with one of its hosts, "" for none: what has one
// place in the order in which routes are tried.
type Alternative struct {
	Route   Route
	Host    string
	Pattern Pattern // Route.Match.Path, taken apart
}

// Alternatives returns the route once for each of its hosts. Its error is that
// of the path.
func (r Route) Alternatives() ([]Alternative, error) {
	p, err := ParsePattern(r.Match.Path)
	if err != nil {
		return nil, err
	}
	hosts := r.Match.Host
	if len(hosts) == 0 {
		hosts = Strings{""}
	}
	out := make([]Alternative, len(hosts))
	for i, h := range hosts {
		out[i] = Alternative{Route: r, Host: h, Pattern: p}
	}
	return out, nil
}

// Compare orders alternatives that take the same request: negative when a is
// tried before b. It goes by, in this order,
//
//   - the priority, the higher first;
//   - the host: a name, then a wildcard, the longer first, then none;
//   - the path, as Pattern.Compare has it;
//   - the method: given before not given;
//   - the number of conditions on headers, the larger first;
//   - the key.
func (a Alternative) Compare(b Alternative) int {
	return cmp.Or(
		cmp.Compare(b.Route.Priority, a.Route.Priority),
		cmp.Compare(hostRank(a.Host), hostRank(b.Host)),
		a.Pattern.Compare(b.Pattern),
		cmp.Compare(min(1, len(b.Route.Match.Method)), min(1, len(a.Route.Match.Method))),
		cmp.Compare(len(b.Route.Match.Header), len(a.Route.Match.Header)),
		a.Route.Key().Compare(b.Route.Key()),
	)
}

func hostRank(entry string) int {
	const maxLength = 1 << 10
	switch {
	case entry == "":
		return 2 * maxLength
	case strings.HasPrefix(entry, "*"):
		return maxLength - len(strings.TrimSuffix(entry, "."))
	default:
		return 0
	}
}

// Compare orders keys by namespace, then name.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.Namespace, o.Namespace), strings.Compare(k.Name, o.Name))
}
