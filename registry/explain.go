package registry

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Finding is one thing that was looked at to say why an instance is in or out of
// its consumers' lists.
type Finding struct {
	Check Check `json:"check"`
	OK    bool  `json:"ok"`
	// Effect is what follows where it is not OK.
	Effect Effect `json:"effect,omitempty"`
	// Detail says what was found and, where it is not OK, what to do.
	Detail string `json:"detail"`
}

// Check is what was looked at, in words that hold when all is well.
type Check string

// The checks, in the order in which they are told.
const (
	CheckInTouch   Check = "in touch with the API server"
	CheckService   Check = "its application has a Service"
	CheckListed    Check = "in the Service's endpoints"
	CheckStays     Check = "not terminating"
	CheckReady     Check = "ready"
	CheckUndrained Check = "not draining"
	CheckPreferred Check = "none nearer is called in its place"
	CheckMetadata  Check = "has published metadata"
	CheckReadable  Check = "its metadata can be read"
	CheckEndpoints Check = "names what it speaks"
	CheckOffers    Check = "says what it offers"
	CheckDescribed Check = "what it offers is described"
	CheckDetails   Check = "its details can be read"
)

// Checks are all there are.
var Checks = []Check{
	CheckInTouch, CheckService, CheckListed, CheckStays, CheckReady, CheckUndrained, CheckPreferred,
	CheckMetadata, CheckReadable, CheckEndpoints, CheckOffers, CheckDescribed, CheckDetails,
}

// Effect is what follows from a check that does not hold.
type Effect string

// Effects.
const (
	// EffectHeld: nobody sends it new calls.
	EffectHeld Effect = "held"
	// EffectDubbo: HTTP callers reach it, Dubbo consumers leave it out.
	EffectDubbo Effect = "dubbo"
	// EffectNone: it is called as if all were well.
	EffectNone Effect = "none"
)

// findings gathers what was found.
type findings []Finding

func (f *findings) ok(c Check, format string, args ...any) {
	*f = append(*f, Finding{Check: c, OK: true, Detail: fmt.Sprintf(format, args...)})
}

func (f *findings) no(c Check, e Effect, format string, args ...any) {
	*f = append(*f, Finding{Check: c, Effect: e, Detail: fmt.Sprintf(format, args...)})
}

// Explain says, check by check, why an instance of the snapshot is in or out of
// its consumers' lists. It holds a finding with EffectHeld exactly when the
// instance is not Callable. Checks that others make pointless are left out, and so
// is that of the document where document is nil.
func (s Snapshot) Explain(i *Instance, document *Document) []Finding {
	var f findings
	s.explainView(&f)
	switch {
	case s.Service.Host != "":
		f.ok(CheckService, "%s", s.Service.Host)
	case s.Service.known():
		f.ok(CheckService, "one of another cluster, which has no name that can be called from here")
	default:
		f.no(CheckService, EffectNone, "no Service bears the name %s in namespace %s, so it cannot be called as a whole; make one that selects its pods", s.App.Name, s.App.Namespace)
	}
	switch {
	case i.Displaced():
		f.no(CheckListed, EffectHeld, "%s; if it has ended, delete it: kubectl delete pod %s -n %s", i.Problem, i.Name, s.App.Namespace)
	case i.Host.IsValid():
		f.ok(CheckListed, "at %s", i.Host)
	default:
		f.ok(CheckListed, "without an address")
	}
	switch i.Health {
	case Terminating:
		f.no(CheckStays, EffectHeld, "it is going away: it finishes what runs and gets nothing new")
	case NotReady:
		f.ok(CheckStays, "")
		switch {
		case i.Kept != nil && s.Mode == ModeService:
			f.no(CheckReady, EffectNone, "%s; who calls the Service does not reach it anew, since the cluster leads to ready pods alone", i.Kept)
		case i.Kept != nil:
			f.no(CheckReady, EffectNone, "%s", i.Kept)
		default:
			f.no(CheckReady, EffectHeld, "its readiness probe has not passed, or fails now; kubectl describe pod %s -n %s tells which and why", i.Name, s.App.Namespace)
		}
	default:
		f.ok(CheckStays, "")
		f.ok(CheckReady, "")
	}
	switch {
	case i.Details.State == Draining && s.Mode == ModeService && i.Health == Ready:
		f.no(CheckUndrained, EffectHeld, "it asks for no new calls itself, as it does before it ends; the Service leads to it all the same while it is ready")
	case i.Details.State == Draining:
		f.no(CheckUndrained, EffectHeld, "it asks for no new calls itself, as it does before it ends; if it should be called, its process must register again")
	default:
		f.ok(CheckUndrained, "")
	}
	if i.Standby != "" {
		f.no(CheckPreferred, EffectHeld, "%s", i.Standby)
	}
	i.explainMetadata(&f)
	if document != nil && i.describes() && (i.Problem == "" || i.Displaced()) {
		document.explain(&f, i.Revision)
	}
	if i.Warning != "" {
		f.no(CheckDetails, EffectNone, "%s", i.Warning)
	} else {
		f.ok(CheckDetails, "%s", i.detailText())
	}
	return f
}

// explainMetadata looks at what the instance published.
func (i *Instance) explainMetadata(f *findings) {
	switch {
	case i.Problem != "" && !i.Displaced():
		f.ok(CheckMetadata, "")
		f.no(CheckReadable, EffectHeld, "%s; mend it, or restart its pod, whose provider then writes it again", i.Problem)
		return
	case !i.Registered():
		f.no(CheckMetadata, EffectDubbo, "it has registered nothing: that is enough for HTTP; a Dubbo provider has to register itself, and its log says what stands in the way (docs/registry.md). Dubbo Java gives up at the first conflict: restart the pod (docs/java/dubbo.md)")
		return
	}
	f.ok(CheckMetadata, "%s", plural(len(i.Metadata), "key"))
	f.ok(CheckReadable, "")
	if len(i.Endpoints) > 0 {
		speaks := make([]string, len(i.Endpoints))
		for n, e := range i.Endpoints {
			speaks[n] = e.String()
		}
		f.ok(CheckEndpoints, "%s", strings.Join(speaks, ", "))
	} else {
		f.no(CheckEndpoints, EffectNone, "its metadata has no %s, so callers use the ports of the document of its revision, if that names any", KeyEndpoints)
	}
	switch i.Revision {
	case "":
		f.no(CheckOffers, EffectDubbo, "its metadata has no %s, so no consumer knows what interfaces it offers", KeyRevision)
	case offersNothing:
		f.no(CheckOffers, EffectDubbo, "its revision is %q, by which Dubbo says that it offers no interface", offersNothing)
	default:
		f.ok(CheckOffers, "revision %s", i.Revision)
	}
}

// detailText is what an instance says of itself beyond the usual.
func (i *Instance) detailText() string {
	var parts []string
	if w := i.Details.Weight; w != 0 && w != DefaultWeight {
		parts = append(parts, fmt.Sprintf("weight %d, where %d is usual", w, DefaultWeight))
	}
	if i.Details.Tag != "" {
		parts = append(parts, "tag "+i.Details.Tag)
	}
	return strings.Join(parts, ", ")
}

// explainView looks at how the snapshot came to be.
func (s Snapshot) explainView(f *findings) {
	if s.StaleSince.IsZero() {
		f.ok(CheckInTouch, "")
		return
	}
	f.no(CheckInTouch, EffectNone, "it has not answered since %s; what follows is the last state known, by which callers go on", s.StaleSince.UTC().Format(time.RFC3339))
}

// ExplainMissing says why the snapshot holds no instance of a name.
func (s Snapshot) ExplainMissing(name string) []Finding {
	var f findings
	s.explainView(&f)
	if !s.Service.known() {
		f.no(CheckService, EffectHeld, "no Service bears the name %s in namespace %s, so nothing says which pods are its instances; make one that selects them", s.App.Name, s.App.Namespace)
		return f
	}
	f.ok(CheckService, "%s", s.Service.Host)
	f.no(CheckListed, EffectHeld, "none of them is %s: it is gone, has no address yet, or the selector of Service %s does not match its labels; "+
		"compare kubectl get service %s -n %s -o wide with kubectl get pod %s -n %s --show-labels",
		name, s.App, s.App.Name, s.App.Namespace, name, s.App.Namespace)
	return f
}

// explain looks at what the document of a revision offers.
func (d *Document) explain(f *findings, revision string) {
	switch {
	case CodeOf(d.Err) == NotFound:
		f.no(CheckDescribed, EffectNone, "no document of revision %s is stored, so consumers ask the instance itself", revision)
	case d.Err != nil:
		f.no(CheckDescribed, EffectNone, "the document of revision %s could not be read here: %s", revision, Text(d.Err))
	case len(d.Offers) == 0:
		f.no(CheckDescribed, EffectDubbo, "the document of revision %s offers no interface", revision)
	default:
		var names []string
		for _, o := range d.Offers { // one for each protocol
			if !slices.Contains(names, o.Name) {
				names = append(names, o.Name)
			}
		}
		const most = 3
		if more := len(names) - most; more > 0 {
			f.ok(CheckDescribed, "%s and %d more", strings.Join(names[:most], ", "), more)
		} else {
			f.ok(CheckDescribed, "%s", strings.Join(names, ", "))
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
