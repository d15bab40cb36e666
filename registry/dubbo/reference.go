package dubbo

import (
	"fmt"
	"slices"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/registry"
)

// reference is what a consumer asks for.
type reference struct {
	iface    string
	protocol string
	groups   []string // nil means the empty group; one "*" means any
	version  string   // "*" means any
	// mode is that of the parameter call-mode; empty where it is left to the registry.
	mode registry.Mode
	// apps are those of client.WithProvidedBy; empty to ask the mapping.
	apps []registry.App
}

const anything = "*"

// newReference reads a consumer's URL. Names in provided-by are completed with
// namespace; bad ones are an error.
func newReference(u *common.URL, namespace string) (reference, error) {
	r := reference{
		iface:    u.Service(),
		protocol: u.Protocol,
		version:  normalVersion(u.GetParam(paramVersion, "")),
	}
	if r.protocol == "" {
		r.protocol = constant.TriProtocol
	}
	switch r.mode = registry.Mode(u.GetParam(CallModeKey, "")); r.mode {
	case "", registry.ModePod, registry.ModeService:
	default:
		return reference{}, &registry.Error{
			Code: registry.Invalid, Message: fmt.Sprintf("the parameter %s of the reference to %s says %q", CallModeKey, r.iface, r.mode),
			Fix: `say "pod" or "service", or leave it out`,
		}
	}
	for group := range strings.SplitSeq(u.GetParam(paramGroup, ""), ",") {
		if group = strings.TrimSpace(group); group != "" {
			r.groups = append(r.groups, group)
		}
	}
	if slices.Contains(r.groups, anything) {
		r.groups = []string{anything}
	}
	for name := range strings.SplitSeq(u.GetParam(paramProvidedBy, ""), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		app, err := registry.ParseApp(name, namespace)
		if err != nil {
			return reference{}, err
		}
		if !slices.Contains(r.apps, app) {
			r.apps = append(r.apps, app)
		}
	}
	return r, r.word().Validate()
}

// word is the key of the reference in the mapping. Group and version are left
// out, as Dubbo does: one entry serves them all, and what an instance really
// offers is in its metadata.
func (r reference) word() registry.Interface { return registry.Interface{Name: r.iface} }

// String returns the reference for people.
func (r reference) String() string {
	return registry.Interface{Name: r.iface, Group: strings.Join(r.groups, ","), Version: r.version}.String()
}

// matches reports whether the service is what the reference asks for.
func (r reference) matches(s *service) bool { return s.protocol == r.protocol && r.speaksOf(s) }

// speaksOf is matches without regard to the protocol.
func (r reference) speaksOf(s *service) bool {
	if s.name != r.iface {
		return false
	}
	switch {
	case len(r.groups) == 0:
		if s.group != "" {
			return false
		}
	case r.groups[0] != anything && !slices.Contains(r.groups, s.group):
		return false
	}
	return r.version == anything || r.version == normalVersion(s.version)
}

// normalVersion makes Dubbo's two ways to say "no version" one.
func normalVersion(v string) string {
	if v == "0.0.0" {
		return ""
	}
	return v
}
