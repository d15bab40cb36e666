package zookeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Rule is what Dubbo's administrators laid down in ZooKeeper for calls: an override of
// parameters, or which consumers call which providers. It holds for those who look
// there, and for nobody who calls by Kubernetes.
type Rule struct {
	// Kind is Dubbo's own word: "configurators" (overrides), "routers", and of its
	// configuration centre "condition-router", "tag-router", "script-router" and others.
	Kind string `json:"kind"`
	// App or Interface is what the rule is for.
	App       string `json:"app,omitempty"`
	Interface string `json:"interface,omitempty"`
	// Says is what it says, shortened.
	Says string `json:"says"`
	Node string `json:"node"`
}

// Categories of an interface below which Dubbo 2 keeps rules as URLs.
var ruleCategories = []string{"configurators", "routers"}

// What the keys of rules end with in Dubbo's configuration centre, which knows no
// list of them.
var ruleSuffixes = []string{".configurators", ".condition-router", ".tag-router", ".script-router", ".affinity-router", ".MESHAPPRULE"}

// centre is the node of Dubbo's configuration centre, unless it is told otherwise;
// centreGroup is the group of rules below it.
const (
	centre      = "config"
	centreGroup = "dubbo"
)

// maxSaid bounds how much of a rule is told, in bytes.
const maxSaid = 160

var errNoRule = errors.New("it lays nothing down")

// decodeURLRule reads the name of a node below an interface's configurators or
// routers, as Dubbo's administration writes them. errNoRule for one that is not in
// force.
func decodeURLRule(kind, node string) (Rule, error) {
	scheme, host, at, params, err := decodeURL(node)
	if err != nil {
		return Rule{}, err
	}
	// disabled=true is what an override may say of a provider, and no state of its own.
	if scheme == "empty" || params[paramEnabled] == "false" {
		return Rule{}, errNoRule
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(params)) {
		switch k {
		case "category", "dynamic", paramEnabled, paramInterface, "name", "runtime", "force", "priority", "router", "check", "side", paramVersion, paramGroup, "compatible_config":
		default:
			value := params[k]
			if plain, err := url.QueryUnescape(value); err == nil {
				value = plain // rules are encoded by themselves
			}
			parts = append(parts, k+"="+value)
		}
	}
	if len(parts) == 0 {
		return Rule{}, errNoRule
	}
	says := strings.Join(parts, " ")
	if host != "" && host != "0.0.0.0" {
		says = "for " + host + ": " + says
	}
	return Rule{Kind: kind, Interface: cmp.Or(params[paramInterface], at), Says: shorten(scheme + " " + says)}, nil
}

// decodeCentreRule reads a rule of Dubbo's configuration centre: its key and what it
// holds, YAML or a script. errNoRule for a key of something else, and for a rule that
// is not in force.
func decodeCentreRule(key string, content []byte) (Rule, error) {
	for _, suffix := range ruleSuffixes {
		of, is := strings.CutSuffix(key, suffix)
		if !is || of == "" {
			continue
		}
		text := strings.TrimSpace(string(content))
		var state struct {
			Enabled *bool  `yaml:"enabled"`
			Scope   string `yaml:"scope"`
		}
		if err := yaml.Unmarshal(content, &state); err == nil && state.Enabled != nil && !*state.Enabled || text == "" {
			return Rule{}, errNoRule
		}
		r := Rule{Kind: strings.TrimPrefix(suffix, "."), Says: shorten(text)}
		// interface:version:group, either of them left empty; of an older one,
		// group*interface:version.
		name, _, several := strings.Cut(of, ":")
		if _, after, grouped := strings.Cut(name, "*"); grouped {
			name, several = after, true
		}
		if name == "" {
			return Rule{}, errNoRule
		}
		if several || state.Scope == "service" {
			r.Interface = name
		} else {
			r.App = name
		}
		return r, nil
	}
	return Rule{}, errNoRule
}

// shorten makes one line of text, and not too long a one.
func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxSaid {
		return text
	}
	end := maxSaid
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// readRules reads the rules of an interface that stand beside its providers.
func (r *reading) readRules(ctx context.Context, name, at string) error {
	for _, kind := range ruleCategories {
		nodes, err := r.children(ctx, path.Join(at, kind), Unread{Interface: plainName(name), Aside: true})
		if err != nil {
			return err
		}
		for _, node := range nodes {
			rule, err := decodeURLRule(kind, node)
			if errors.Is(err, errNoRule) {
				continue
			}
			if err != nil { // whatever it says, somebody laid it down
				rule = Rule{Kind: kind, Says: shorten(fmt.Sprintf("%s, which is not understood: %v", node, err))}
			}
			rule.Interface, rule.Node = cmp.Or(rule.Interface, plainName(name)), path.Join(at, kind, node)
			r.rule(rule)
		}
	}
	return nil
}

// readCentre reads the rules of Dubbo's configuration centre.
func (r *reading) readCentre(ctx context.Context) error {
	roots := []string{path.Join(r.c.cfg.Interfaces, centre, centreGroup)}
	if r.c.cfg.Interfaces != DefaultInterfaces {
		roots = append(roots, path.Join(DefaultInterfaces, centre, centreGroup))
	}
	for _, at := range roots {
		keys, err := r.children(ctx, at, Unread{Aside: true})
		if err != nil {
			return err
		}
		for _, key := range keys {
			content, ok, err := r.content(ctx, path.Join(at, key), Unread{Aside: true})
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if rule, err := decodeCentreRule(key, content); err == nil {
				rule.Node = path.Join(at, key)
				r.rule(rule)
			}
		}
	}
	return nil
}

func (r *reading) rule(rule Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Rules = append(r.state.Rules, rule)
}
