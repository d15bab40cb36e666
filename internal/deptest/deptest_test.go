package deptest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func TestTheRepositoryKeepsItsRules(t *testing.T) {
	g, err := List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for path := range g {
		if _, ok := cut(path); ok {
			ours++
		}
	}
	if ours < 10 {
		t.Fatalf("only %d packages of ours were found", ours)
	}
	for _, v := range Check(g) {
		t.Error(v)
	}
}

func TestTheFlowsAreTold(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(root, "docs", "flows.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range CheckFlows(root, string(document)) {
		t.Errorf("docs/flows.md: %s", wrong)
	}
}

// graph makes packages of the main module, "from: to to", where to is a package
// of ours if it begins with "./", of the standard library if it has no dot.
func graph(lines ...string) Graph {
	g := make(Graph)
	add := func(p string) string {
		if rest, ours := strings.CutPrefix(p, "./"); ours {
			p = Module + "/" + rest
		}
		if g[p] == nil {
			g[p] = &Package{ImportPath: p, Standard: !strings.Contains(p, ".")}
		}
		return p
	}
	for _, line := range lines {
		from, tos, _ := strings.Cut(line, ":")
		p := add(from)
		for to := range strings.FieldsSeq(tos) {
			g[p].Imports = append(g[p].Imports, add(to))
		}
	}
	return g
}

func TestViolationsAreCaught(t *testing.T) {
	for name, c := range map[string]struct {
		graph Graph
		want  string // in the one violation; "" for none
	}{
		"words and the standard library":    {graph("./registry: context net/netip"), ""},
		"words and a library":               {graph("./registry: sigs.k8s.io/yaml"), "words import the standard library only"},
		"words and other words":             {graph("./gateway: ./registry"), "words import the standard library only"},
		"words and their adapter":           {graph("./registry: ./registry/kube"), "words import the standard library only"},
		"words and internal":                {graph("./tracing: ./internal/run"), "words import the standard library only"},
		"the sketch and a library":          {graph("./governance/sketch: github.com/DataDog/sketches-go"), "words import the standard library only"},
		"an adapter and words":              {graph("./gateway/proxy: ./registry ./gateway ./governance/sketch ./internal/run"), ""},
		"an adapter and another":            {graph("./registry/dubbo: ./registry/kube"), "knows no other adapter"},
		"an adapter of another domain":      {graph("./gateway/proxy: ./registry/kube"), "knows no other adapter"},
		"an adapter and its own parts":      {graph("./governance/console: ./governance/console/view"), ""},
		"one part of another adapter":       {graph("./gateway/api: ./gateway/postgres/internal/row"), "knows no other adapter"},
		"the composition for users":         {graph("./registry/dubbo/kubernetes: ./registry/dubbo ./registry/kube"), ""},
		"an adapter and that composition":   {graph("./registry/dubbo: ./registry/dubbo/kubernetes"), "knows no other adapter"},
		"internal and an adapter":           {graph("./internal/run: ./registry/kube"), "internal packages serve all adapters"},
		"internal and words":                {graph("./internal/feed: ./registry ./internal/run"), ""},
		"cmd and everything":                {graph("./cmd/weir: ./registry/kube ./deploy ./cmd/weir/internal/up k8s.io/client-go/rest github.com/jackc/pgx/v5"), ""},
		"something and cmd":                 {graph("./registry/kube: ./cmd/weir/internal/up"), "nothing imports it"},
		"shipped code and a kit":            {graph("./registry/memory: ./registry/registrytest"), "stay out of what is shipped"},
		"shipped code and the test server":  {graph("./gateway/postgres: ./internal/testdb"), "stay out of what is shipped"},
		"cmd and a kit":                     {graph("./cmd/weir: ./internal/testkube"), "stay out of what is shipped"},
		"a kit and words":                   {graph("./registry/registrytest: ./registry testing"), ""},
		"the tests' cluster and deploy":     {graph("./internal/testkube: ./deploy k8s.io/client-go/rest"), ""},
		"client-go where it belongs":        {graph("./registry/kube: k8s.io/client-go/rest", "./registry/kube/internal/x: k8s.io/api/core/v1"), ""},
		"client-go elsewhere":               {graph("./registry/memory: k8s.io/apimachinery/pkg/types"), "client-go is for"},
		"pgx where it belongs":              {graph("./tracing/postgres: github.com/jackc/pgx/v5"), ""},
		"pgx elsewhere":                     {graph("./tracing/collector: github.com/jackc/pgx/v5"), "pgx is for"},
		"dubbo-go where it belongs":         {graph("./sdk/dubbo: dubbo.apache.org/dubbo-go/v3/filter"), ""},
		"dubbo-go elsewhere":                {graph("./registry/kube: github.com/apache/dubbo-go-hessian2"), "dubbo-go is for"},
		"all of dubbo-go's extensions":      {graph("./registry/dubbo: dubbo.apache.org/dubbo-go/v3/imports"), "nothing imports dubbo-go's imports"},
		"hystrix-go elsewhere":              {graph("./sdk/breaker: github.com/afex/hystrix-go/hystrix"), "hystrix-go"},
		"the gateway and the engine":        {graph("./gateway/proxy: ./sdk/breaker"), ""},
		"another adapter and the engine":    {graph("./gateway/api: ./sdk/breaker"), "knows no other adapter"},
		"the SDK's heavy end and its core":  {graph("./sdk/dubbo: ./sdk ./sdk/breaker ./sdk/trace"), ""},
		"the SDK's core within itself":      {graph("./sdk: ./sdk/report ./sdk/policy"), ""},
		"the SDK's core and its heavy end":  {graph("./sdk: ./sdk/dubbo"), "knows no other adapter"},
		"a light package with a light one":  {graph("./sdk/trace: github.com/openzipkin/zipkin-go/model"), ""},
		"a light package by a roundabout":   {graph("./sdk/report: example.org/client", "example.org/client: example.org/wire", "example.org/wire: google.golang.org/grpc/codes"), "importers of the SDK must not get grpc (by way of example.org/client, example.org/wire, google.golang.org/grpc/codes)"},
		"a light package by our own detour": {graph("./sdk: ./internal/access", "./internal/access: k8s.io/client-go/rest"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Check(c.graph)
			if name == "a light package by our own detour" {
				// Two rules see it: the heavy import itself, and what the SDK gets.
				if len(got) != 2 || !strings.Contains(got[1].Rule, "must not get client-go") {
					t.Errorf("got %v", got)
				}
				return
			}
			if c.want == "" {
				if len(got) != 0 {
					t.Errorf("caught %v", got)
				}
				return
			}
			if !slices.ContainsFunc(got, func(v Violation) bool { return strings.Contains(v.String(), c.want) }) {
				t.Errorf("got %v, want %q in it", got, c.want)
			}
		})
	}
}

func TestEveryExceptionHasAReason(t *testing.T) {
	for _, e := range mayImport {
		if e.reason == "" {
			t.Errorf("%s may import %s without a reason", e.from, e.to)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, pkg string
		want         bool
	}{
		{"registry", "registry", true},
		{"registry", "registry/kube", false},
		{"registry/...", "registry", true},
		{"registry/...", "registry/kube/x", true},
		{"registry/...", "registrytest", false},
		{"*/postgres/...", "gateway/postgres", true},
		{"*/postgres/...", "gateway/postgres/row", true},
		{"*/postgres/...", "internal/pg", false},
		{"*/*test", "registry/registrytest", true},
		{"*/*test", "sdk/trace", false},
	} {
		if got := match(c.pattern, c.pkg); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.pkg, got)
		}
	}
}

func TestFlowsThatLieAreCaught(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	source := "package a\n\nimport (\n\t\"context\"\n\t\"" + Module + "/registry\"\n)\n\ntype T[K any] struct{}\n\nfunc (t *T[K]) M() {}\n\nfunc F(context.Context, registry.App) {}\n"
	for _, name := range []string{"a/a.go", "a/b.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	two := "\n2. [`a/b.go`](../a/b.go) has `F`.\n"
	for name, c := range map[string]struct{ document, want string }{
		"the truth":         {"# Flows\n\n## 1. One\n\n1. [`a/a.go`](../a/a.go) has `T`, `T.M` and `F`, which do things. It imports `registry`, `context`." + two, ""},
		"no such file":      {"## One\n1. [`a/c.go`](../a/c.go) has `F`." + two, "line 2: there is no a/c.go"},
		"no such import":    {"## One\n1. [`a/a.go`](../a/a.go) imports `registry`, `net/http`." + two, "line 2: a/a.go does not import net/http"},
		"no such function":  {"## One\n1. [`a/a.go`](../a/a.go) has `F` and `G`." + two, "line 2: a/a.go has no G"},
		"nothing said":      {"## One\n1. [`a/a.go`](../a/a.go) does it." + two, "nothing that could be checked"},
		"wrong link":        {"## One\n1. [`a/a.go`](../b.go) has `F`." + two, "leads to ../b.go"},
		"wrong number":      {"## One\n1. [`a/a.go`](../a/a.go) has `F`.\n3. [`a/b.go`](../a/b.go) has `F`.\n", "step 3 of \"One\" should be 2"},
		"no link":           {"## One\n1. `a/a.go` has `F`." + two, "begins with a link"},
		"leads nowhere":     {"## One\n1. [`a/a.go`](../a/a.go) has `F`.\n", "has 1 steps"},
		"nothing in it":     {"# Flows\n", "there is no flow"},
		"outside of a flow": {"1. [`a/a.go`](../a/a.go) has `F`." + two, "before the first heading"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(CheckFlows(dir, c.document), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
}
