package dubbo

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/weirmesh/weir/sdk/breaker"
)

// refusedByWeir begins what governance says in a provider that refuses a call (see
// sdk/dubbo), before the reason.
const refusedByWeir = "weir refused the call ("

// refusedBy finds, in the words of breaker.Refused, the policy or switch that
// refuses. Names are bounded, since they go into a header.
var refusedBy = regexp.MustCompile(`\bby (policy|switch) ([0-9A-Za-z._/-]{1,300}), version ([0-9]{1,19})\b`)

// governedProblem is the problem of a call that Weir refused at the provider, with
// the switch or policy that does, its version and the reason that its author gave;
// nil where message is not about that.
func governedProblem(message string) *callError {
	_, rest, ok := strings.Cut(message, refusedByWeir)
	if !ok {
		return nil
	}
	reason, said, ok := strings.Cut(rest, "): ")
	if !ok {
		reason, _, _ = strings.Cut(rest, ")")
	}
	p := problem(http.StatusServiceUnavailable, kindOverloaded, "the provider refuses the call by its own governance")
	if breaker.Reason(reason) == breaker.ReasonSwitched {
		p.Kind, p.Code, p.Detail = kindOpen, codeSwitchedOff, "the method is switched off at the provider"
	}
	if said = publicMessage(said); said != "" {
		p.Detail = "the provider refuses the call: " + said
	}
	if by := refusedBy.FindStringSubmatch(said); by != nil {
		p.policy = by[2] + "; version=" + by[3]
	}
	return p
}
