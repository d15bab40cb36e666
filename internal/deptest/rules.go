package deptest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Words are the packages that hold what a domain is, without work of their own.
// They import the standard library only, never each other, and anyone may import
// them.
var words = []string{
	"registry", "gateway", "governance", "tracing",
	"governance/sketch", // an algorithm that both ends of a report need
}

// light are the packages of the SDK whose importers must not get anything heavy
// into their binaries.
var light = []string{"sdk", "sdk/sdktest", "sdk/breaker", "sdk/policy", "sdk/report", "sdk/trace", "sdk/httpmw"}

// kits are only for tests; a trailing * stands for anything.
var kits = []string{"internal/testdb", "internal/testkube", "internal/testzk", "internal/testprocess", "internal/deptest", "registry/dubbo/dubbotest", "*/*test"}

// heavy are modules that only some packages may import, since each makes a
// binary, or what it drags in, a good deal larger.
var heavy = []struct {
	name    string
	modules []string // import path prefixes
	allowed []string // packages of the main module, with a trailing /... for all below
}{
	{
		"client-go",
		[]string{"k8s.io/"},
		[]string{"registry/kube/...", "cmd/...", "internal/testkube"},
	},
	{
		"pgx",
		[]string{"github.com/jackc/"},
		[]string{"*/postgres/...", "internal/access/postgres", "internal/pg", "internal/testdb", "cmd/..."},
	},
	{
		"ZooKeeper's client",
		[]string{"github.com/go-zookeeper/"},
		[]string{"registry/zookeeper/..."},
	},
	{
		"dubbo-go",
		[]string{"dubbo.apache.org/", "github.com/apache/dubbo-go-hessian2", "github.com/dubbogo/"},
		[]string{"registry/dubbo/...", "gateway/dubbo/...", "sdk/dubbo/..."},
	},
	{
		"hystrix-go",
		[]string{"github.com/afex/"},
		[]string{"sdk/hystrix/..."},
	},
	{
		"dubbo-go's imports, which link every extension there is",
		[]string{"dubbo.apache.org/dubbo-go/v3/imports"},
		nil,
	},
}

// mayImport lists imports between packages of the module that no rule above
// would allow. Composition happens in cmd, which is bound by none of them, and
// here.
var mayImport = []struct{ from, to, reason string }{
	{"registry/dubbo/kubernetes", "registry/dubbo", "puts the two together, so that a user of Dubbo on Kubernetes needs one option"},
	{"registry/dubbo/kubernetes", "registry/kube", "the same"},
	{"registry/dubbo/kubernetes", "registry/clusters", "the same, on Kubernetes in several clusters"},
	{"gateway/proxy/...", "sdk/...", "routes and applications break circuits with one engine"},
	{"gateway/dubbo/...", "sdk/...", "the same"},
	{"internal/testkube", "deploy", "installs into the tests' cluster what is installed into real ones"},
}

// Violation is one import that breaks a rule.
type Violation struct {
	From, To, Rule string
}

// String says what is wrong.
func (v Violation) String() string { return fmt.Sprintf("%s imports %s: %s", v.From, v.To, v.Rule) }

// Check returns every import in the graph that breaks a rule, sorted.
func Check(g Graph) []Violation {
	var out []Violation
	for _, path := range slices.Sorted(maps.Keys(g)) {
		from, ours := cut(path)
		if !ours {
			continue
		}
		for _, to := range g[path].Imports {
			if rule := checkImport(g, from, to); rule != "" {
				out = append(out, Violation{path, to, rule})
			}
		}
		if matchAny(light, from) {
			out = append(out, checkLight(g, path)...)
		}
	}
	return out
}

// checkImport returns the rule that an import breaks, or "".
func checkImport(g Graph, from, to string) string {
	target, ours := cut(to)
	if matchAny(words, from) && (g[to] == nil || !g[to].Standard) {
		return "packages of words import the standard library only"
	}
	if !ours {
		return checkHeavy(from, to)
	}
	switch {
	case excepted(from, target):
		return ""
	case matchAny(kits, target) && !matchAny(kits, from):
		return "kits for tests stay out of what is shipped"
	case under(target, "cmd"):
		if under(from, "cmd") {
			return ""
		}
		return "cmd puts everything together, so nothing imports it"
	case under(from, "cmd"):
		return ""
	case matchAny(words, target), under(target, "internal"):
		return ""
	case under(from, "internal"):
		return "internal packages serve all adapters, so they know none"
	case adapter(from) == adapter(target):
		return ""
	case under(from, "sdk") && matchAny(light, target):
		return "" // the SDK's heavy ends stand on its light core
	}
	return "an adapter imports words and internal packages, and knows no other adapter; composition happens in cmd"
}

// checkHeavy says whether a package may import something of a heavy module.
func checkHeavy(from, to string) string {
	for _, h := range heavy {
		if !slices.ContainsFunc(h.modules, func(m string) bool { return strings.HasPrefix(to, m) }) {
			continue
		}
		if !matchAny(h.allowed, from) {
			if len(h.allowed) == 0 {
				return "nothing imports " + h.name
			}
			return fmt.Sprintf("%s is for %s only", h.name, strings.Join(h.allowed, ", "))
		}
	}
	return ""
}

// checkLight looks at all that an importer of a light package gets.
func checkLight(g Graph, path string) []Violation {
	var out []Violation
	for _, bad := range []struct{ name, prefix string }{
		{"client-go", "k8s.io/"},
		{"pgx", "github.com/jackc/"},
		{"dubbo-go", "dubbo.apache.org/"},
		{"hystrix-go", "github.com/afex/"},
		{"grpc", "google.golang.org/grpc"},
	} {
		way := g.path(path, func(p string) bool { return strings.HasPrefix(p, bad.prefix) })
		if way != nil {
			out = append(out, Violation{path, way[len(way)-1], "importers of the SDK must not get " + bad.name + " (by way of " + strings.Join(way[1:], ", ") + ")"})
		}
	}
	return out
}

// adapter returns the adapter that a package belongs to: the two first elements
// of its path, which are the domain and the technology. The domain's own
// conformance kit and other packages without a domain are their own.
func adapter(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	if len(parts) < 2 {
		return pkg
	}
	if pkg == "registry/dubbo/kubernetes" {
		return pkg // stands beside the two that it puts together
	}
	return parts[0] + "/" + parts[1]
}

func excepted(from, to string) bool {
	for _, e := range mayImport {
		if match(e.from, from) && match(e.to, to) {
			return true
		}
	}
	return false
}

// cut takes the module's path off an import path.
func cut(path string) (rest string, ours bool) {
	if path == Module {
		return "", true
	}
	return strings.CutPrefix(path, Module+"/")
}

func under(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

func matchAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

// match reports whether a package is what a pattern names: * in an element
// stands for any text, /... at the end for the package and all below it.
func match(pattern, pkg string) bool {
	pattern, below := strings.CutSuffix(pattern, "/...")
	want, have := strings.Split(pattern, "/"), strings.Split(pkg, "/")
	if len(have) < len(want) || len(have) > len(want) && !below {
		return false
	}
	for i, w := range want {
		before, after, star := strings.Cut(w, "*")
		if !star && w != have[i] {
			return false
		}
		if star && (len(have[i]) < len(before)+len(after) || !strings.HasPrefix(have[i], before) || !strings.HasSuffix(have[i], after)) {
			return false
		}
	}
	return true
}
