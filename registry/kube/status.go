package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

// objectStatus is what a control plane found of an InterfaceMapping.
type objectStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// policyStatus is what a control plane found of a DiscoveryPolicy.
type policyStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Apps               int32              `json:"apps"`
	Overridden         map[string]string  `json:"overridden,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// metadataStatus is what a control plane found of an AppMetadata.
type metadataStatus struct {
	Instances   int32        `json:"instances"`
	UnusedSince *metav1.Time `json:"unusedSince,omitempty"`
	Held        string       `json:"held,omitempty"`
}

// Conditions of Weir's objects.
const (
	// conditionAccepted says whether a DiscoveryPolicy has an effect.
	conditionAccepted = "Accepted"
	// conditionResolved says whether what the object names is there.
	conditionResolved = "Resolved"
)

// landscape is what a Caretaker sees around Weir's objects.
type landscape struct {
	// covered reports whether a namespace is looked after.
	covered func(namespace string) bool
	// served reports whether an application has a Service.
	served func(app registry.App) bool
	// services are how many Services a namespace has.
	services map[string]int
}

// policyStatusOf judges a policy among all policies of its namespace.
func policyStatusOf(p *discoveryPolicy, siblings []*discoveryPolicy, l *landscape, now time.Time) policyStatus {
	s := policyStatus{ObservedGeneration: p.Generation}
	judge := judgement{old: p.Status.Conditions, generation: p.Generation, now: now}
	given := p.given()
	switch {
	case len(given) == 0:
		judge.add(conditionAccepted, metav1.ConditionFalse, "Empty", "it gives neither mode nor registry nor protection nor prefer, so it changes nothing")
	case strings.Contains(p.Spec.Consumer, "/"):
		judge.add(conditionAccepted, metav1.ConditionFalse, "ConsumerElsewhere", fmt.Sprintf(
			"no application of namespace %s is called %s: make the policy in the consumer's namespace", p.Namespace, p.Spec.Consumer))
	default:
		s.Overridden = overridden(p, siblings)
		switch len(s.Overridden) {
		case 0:
			judge.add(conditionAccepted, metav1.ConditionTrue, "Accepted", audience(p))
		case len(given):
			judge.add(conditionAccepted, metav1.ConditionFalse, "Overridden", fmt.Sprintf(
				"nothing of it counts, since another for the same consumer and provider comes first by its name: %s; delete this one, or what the other says", givers(given, s.Overridden)))
		default:
			force := slices.DeleteFunc(slices.Clone(given), func(field string) bool { return s.Overridden[field] != "" })
			judge.add(conditionAccepted, metav1.ConditionTrue, "PartlyOverridden", fmt.Sprintf(
				"%s, and gives %s; the rest does not count, since another for the same consumer and provider comes first by its name: %s", audience(p), enumerate(force), givers(given, s.Overridden)))
		}
	}
	provider := p.provider()
	switch {
	case provider.Name == "":
		s.Apps = int32(l.services[p.Namespace])
		judge.add(conditionResolved, metav1.ConditionTrue, "AnyProvider", "it names no provider, and is for all")
	case !l.covered(provider.Namespace):
		s.Apps = p.Status.Apps // as another control plane counts, which looks after it
		judge.add(conditionResolved, metav1.ConditionUnknown, "NotLookedAfter", fmt.Sprintf(
			"the control plane does not look after namespace %s, and cannot say whether %s is there", provider.Namespace, provider))
	case l.served(provider):
		s.Apps = 1
		judge.add(conditionResolved, metav1.ConditionTrue, "ProviderFound", "Service "+provider.String()+" is there")
	default:
		judge.add(conditionResolved, metav1.ConditionFalse, "ProviderMissing", fmt.Sprintf(
			"no Service bears the name %s in namespace %s: until one does, the policy is for nobody", provider.Name, provider.Namespace))
	}
	s.Conditions = judge.made
	return s
}

// audience says whose calls a policy is about.
func audience(p *discoveryPolicy) string {
	provider := p.provider()
	switch {
	case p.Spec.Consumer != "" && provider.Name != "":
		return fmt.Sprintf("it is for calls from %s to %s", p.Spec.Consumer, provider)
	case p.Spec.Consumer != "":
		return fmt.Sprintf("it is for all calls from %s", p.Spec.Consumer)
	case provider.Name != "" && provider.Namespace == p.Namespace:
		return fmt.Sprintf("it is for all calls to %s", provider)
	case provider.Name != "":
		return fmt.Sprintf("it is for calls from namespace %s to %s", p.Namespace, provider)
	}
	return fmt.Sprintf("it is for all calls from and to namespace %s", p.Namespace)
}

// provider is the application that a policy names; without a name where it names
// none.
func (o *discoveryPolicy) provider() registry.App {
	if o.Spec.Provider == nil {
		return registry.App{}
	}
	namespace := o.Spec.Provider.Namespace
	if namespace == "" {
		namespace = o.Namespace
	}
	return registry.App{Namespace: namespace, Name: o.Spec.Provider.Name}
}

// policyFields are what a policy can give. Each counts by itself: of several policies
// for the same calls, one may decide the mode and another the registry.
var policyFields = []struct {
	name  string
	given func(*policySpec) bool
	// counts reports whether what is given is heard; it is not where it holds a value
	// that consumers do not know.
	counts func(*policySpec) bool
}{
	{"mode", func(s *policySpec) bool { return s.Mode != "" }, func(s *policySpec) bool {
		return s.Mode == string(registry.ModePod) || s.Mode == string(registry.ModeService)
	}},
	{"registry", func(s *policySpec) bool { return s.Registry != "" }, func(s *policySpec) bool { return registry.Choice(s.Registry).Known() }},
	{"protection", func(s *policySpec) bool { return s.Protection != nil }, func(s *policySpec) bool { return s.Protection != nil }},
	{"prefer", func(s *policySpec) bool { return s.Prefer != nil }, func(s *policySpec) bool { return s.Prefer != nil }},
}

// given are the fields that a policy gives, in the order of policyFields.
func (o *discoveryPolicy) given() []string {
	var all []string
	for _, f := range policyFields {
		if f.given(&o.Spec) {
			all = append(all, f.name)
		}
	}
	return all
}

// overridden returns the fields of a policy that another goes over wherever it has a
// say itself, by that one's name: the first of several, in whatever order they come.
func overridden(p *discoveryPolicy, siblings []*discoveryPolicy) map[string]string {
	var by map[string]string
	for _, o := range siblings {
		if o.Name >= p.Name || o.Spec.Consumer != p.Spec.Consumer || o.provider() != p.provider() {
			continue
		}
		for _, f := range policyFields {
			if !f.given(&p.Spec) || !f.counts(&o.Spec) || by[f.name] != "" && by[f.name] < o.Name {
				continue
			}
			if by == nil {
				by = map[string]string{}
			}
			by[f.name] = o.Name
		}
	}
	return by
}

// givers says which policies give what another gives in vain: "DiscoveryPolicy a
// gives mode and prefer, DiscoveryPolicy b gives registry".
func givers(given []string, by map[string]string) string {
	fields := map[string][]string{}
	for _, field := range given {
		if name := by[field]; name != "" {
			fields[name] = append(fields[name], field)
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		all = append(all, "DiscoveryPolicy "+name+" gives "+enumerate(fields[name]))
	}
	return strings.Join(all, ", ")
}

// enumerate joins words as a sentence does.
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// mappingStatusOf judges an InterfaceMapping.
func mappingStatusOf(m *interfaceMapping, l *landscape, now time.Time) objectStatus {
	judge := judgement{old: m.Status.Conditions, generation: m.Generation, now: now}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(m.Spec.Apps)) {
		if !l.served(registry.App{Namespace: m.Namespace, Name: name}) {
			missing = append(missing, name)
		}
	}
	switch {
	case len(m.Spec.Apps) == 0:
		judge.add(conditionResolved, metav1.ConditionFalse, "NoApps", "no application offers the interface any more")
	case len(missing) > 0:
		const most = 5
		names := strings.Join(missing[:min(most, len(missing))], ", ")
		if more := len(missing) - most; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		judge.add(conditionResolved, metav1.ConditionFalse, "ServiceMissing", fmt.Sprintf(
			"no Service in namespace %s bears the name %s: nobody is called there", m.Namespace, names))
	default:
		judge.add(conditionResolved, metav1.ConditionTrue, "ServicesFound", "every application that offers it has a Service")
	}
	return objectStatus{ObservedGeneration: m.Generation, Conditions: judge.made}
}

// judgement makes conditions that keep the time of their last change.
type judgement struct {
	old, made  []metav1.Condition
	generation int64
	now        time.Time
}

func (j *judgement) add(kind string, status metav1.ConditionStatus, reason, message string) {
	c := metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: j.generation, LastTransitionTime: metav1.NewTime(j.now.Truncate(time.Second)),
	}
	if i := slices.IndexFunc(j.old, func(o metav1.Condition) bool { return o.Type == kind }); i >= 0 {
		old := j.old[i]
		// Another control plane may look after more, and know.
		if status == metav1.ConditionUnknown && old.Status != metav1.ConditionUnknown && old.ObservedGeneration == j.generation {
			c = old
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	j.made = append(j.made, c)
}

// sameConditions reports whether two lists say the same.
func sameConditions(a, b []metav1.Condition) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.Condition) bool {
		return x.Type == y.Type && x.Status == y.Status && x.Reason == y.Reason && x.Message == y.Message &&
			x.ObservedGeneration == y.ObservedGeneration && x.LastTransitionTime.Equal(&y.LastTransitionTime)
	})
}

func (s *objectStatus) same(o *objectStatus) bool {
	return s.ObservedGeneration == o.ObservedGeneration && sameConditions(s.Conditions, o.Conditions)
}

func (s *policyStatus) same(o *policyStatus) bool {
	return s.ObservedGeneration == o.ObservedGeneration && s.Apps == o.Apps && maps.Equal(s.Overridden, o.Overridden) && sameConditions(s.Conditions, o.Conditions)
}

func (s *metadataStatus) same(o *metadataStatus) bool {
	return s.Instances == o.Instances && s.Held == o.Held && s.UnusedSince.Equal(o.UnusedSince)
}
