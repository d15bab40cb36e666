package console

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Attention is one thing that somebody should look at.
type Attention struct {
	Kind     string            `json:"kind" doc:"What it is, such as circuit.open; pages may have words of their own for it."`
	Severity string            `json:"severity" enum:"critical,warning,info"`
	Params   map[string]string `json:"params" nullable:"false" doc:"What the words of the kind speak of, such as app and command."`
	Text     string            `json:"text" doc:"One sentence in English."`
	Link     string            `json:"link" doc:"Where in the console to look at it."`
	Since    time.Time         `json:"since,omitzero" doc:"Missing where that is not known."`

	// namespace is whose it is; empty for everybody's.
	namespace string
	// of is a second namespace that it tells of, whose readers alone may know.
	of string
}

// Severities, the worst first.
const (
	Critical = "critical"
	Warning  = "warning"
	Info     = "info"
)

var severities = []string{Critical, Warning, Info}

// Kinds of attention.
const (
	// KindCircuitOpen: a circuit is open or half open: critical in every instance, else a warning.
	KindCircuitOpen = "circuit.open"
	// KindCircuitForced: a policy or a switch holds a circuit open or closed.
	KindCircuitForced = "circuit.forced"
	// KindAppErrors: of at least 20 calls in the last minute 5 % failed, or 25 %, which is critical.
	KindAppErrors = "app.errors"
	// KindAppSlow: of at least 20 calls in the last minute 20 % were slow, where a policy says what is.
	KindAppSlow = "app.slow"
	// KindInstanceHeld: the registry holds instances back: critical if none is called.
	KindInstanceHeld = "instance.held"
	// KindInstanceKept: instances are called though they are not ready: too many were lost at once to believe it.
	KindInstanceKept = "instance.kept"
	// KindInstanceBehind: an instance does not enforce what was written 15 s ago or earlier.
	KindInstanceBehind = "instance.behind"
	// KindRefusing: an instance cannot take a policy.
	KindRefusing = "instance.refusing"
	// KindSwitchExpiring: a switch releases by itself within 10 minutes.
	KindSwitchExpiring = "switch.expiring"
	// KindQuarantined: a gateway cannot serve a route as written: critical if nothing is served in its place.
	KindQuarantined = "route.quarantined"
	// KindUpstreamUnknown: a route leads to an application that does not exist.
	KindUpstreamUnknown = "route.upstream-unknown"
	// KindUpstreamEmpty: a route leads to an application of which no instance can be called.
	KindUpstreamEmpty = "route.upstream-empty"
	// KindGatewayBehind: a gateway does not serve what was written 15 s ago or earlier.
	KindGatewayBehind = "gateway.behind"
	// KindGatewayNone: there are routes, and no gateway was heard of in 30 s.
	KindGatewayNone = "gateway.none"
	// KindDatabase: the database does not answer.
	KindDatabase = "system.database"
	// KindRegistry: the applications of the cluster are not known, or as they were.
	KindRegistry = "system.registry"
	// KindUnknown: something else could not be found out.
	KindUnknown = "system.unknown"
	// KindQueue: a queue has little room or none, or something has waited for 10 minutes.
	KindQueue = "system.queue"
	// KindPartition: a table has no part for what comes within the hour, or rows of none.
	KindPartition = "system.partition"
	// KindVersions: processes of Weir run different versions.
	KindVersions = "system.versions"
	// KindNode: a process of Weir has something to say of itself.
	KindNode = "system.node"
)

// Thresholds of the rules.
const (
	// leastCalls is how many calls of the window speak of an application at all.
	leastCalls = 20
	// An application's errors among its calls, and its slow ones, in percent.
	errorsWarn, errorsCritical, slowWarn = 5.0, 25.0, 20.0
	// settleFor is how long instances and gateways have to take on a change.
	settleFor = 15 * time.Second
	// expiringWithin is how long before its end a switch is told of.
	expiringWithin = 10 * time.Minute
	// A queue's depth in percent of its limit, and how long something may wait.
	queueWarn, queueCritical = 80.0, 100.0
	waitsFor                 = 10 * time.Minute
	// partitionAhead is how far ahead partitions have to be made.
	partitionAhead = time.Hour
)

// attention is everything that somebody should look at, the worst first; what is
// wrong with Weir itself comes before what it might be the cause of.
func (f *facts) attention() []Attention {
	out := slices.Concat(
		f.circuitsOpen(), f.appsFailing(), f.instancesHeld(), f.instancesKept(), f.instancesBehind(), f.instancesRefusing(), f.switchesExpiring(),
		f.routesQuarantined(), f.upstreamsGone(), f.gatewaysBehind(), f.systemAilments(),
	)
	slices.SortStableFunc(out, func(a, b Attention) int {
		return cmp.Or(
			cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
			cmp.Compare(ofSystem(a), ofSystem(b)),
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Text, b.Text),
		)
	})
	return out
}

// ofSystem is 0 for what is wrong with Weir itself, 1 for the rest.
func ofSystem(a Attention) int {
	if strings.HasPrefix(a.Kind, "system.") {
		return 0
	}
	return 1
}

// appLink is the page of an application.
func appLink(app governance.App, query ...string) string {
	return link([]string{"apps", app.Namespace, app.Name}, query...)
}

// link is a path of the console; query is name, value, … of which empty values are
// left out.
func link(path []string, query ...string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteString("/" + url.PathEscape(part))
	}
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		if query[i+1] != "" {
			q.Set(query[i], query[i+1])
		}
	}
	if len(q) > 0 {
		b.WriteString("?" + q.Encode())
	}
	return b.String()
}

// count writes "1 instance" and "2 instances".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// names joins names, of which it leaves out those beyond the first few.
func names(all []string) string {
	const most = 3
	if more := len(all) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), more)
	}
	return strings.Join(all, ", ")
}
