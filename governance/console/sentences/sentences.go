// Package sentences collects what the Go code says to people by way of the APIs,
// so that the console can say it in other languages: every format string and text
// of the packages below that reads like a sentence or a part of one. What is
// collected lies in File; the page's catalogue (web/src/said/zh) has to have each
// of them, which its test holds.
package sentences

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:generate go run ./generate ../../..

// File is where the sentences lie, from the root of the repository.
const File = "governance/console/web/src/said/sentences.json"

// speakers are the packages whose texts come to the page: in problems, findings,
// events, confirmations and explanations. A package that begins to say something
// there is added here.
var speakers = []string{
	"cmd/weir/internal/role", "cmd/weir/internal/routecheck",
	"gateway", "gateway/api", "gateway/dubbo", "gateway/postgres", "gateway/proxy",
	"governance", "governance/agentless", "governance/api", "governance/console", "governance/dubboconfig", "governance/postgres",
	"internal/access", "internal/access/api", "internal/access/postgres", "internal/balance", "internal/httpapi",
	"registry", "registry/api", "registry/clusters", "registry/kube",
	"sdk/breaker", "sdk/dubbo", "sdk/hystrix", "sdk/policy",
	"tracing", "tracing/query", "tracing/postgres",
}

// silent are files of theirs whose texts reach logs, metrics, callers of the
// gateway or the developer of a service, but never the page.
var silent = map[string]string{
	"cmd/weir/internal/role/bridge.go":   "flags, and the start of a role",
	"cmd/weir/internal/role/control.go":  "flags",
	"cmd/weir/internal/role/describe.go": "the command line",
	"cmd/weir/internal/role/gateway.go":  "flags",
	"cmd/weir/internal/role/role.go":     "flags",
	"cmd/weir/internal/role/token.go":    "the start of a role",
	"cmd/weir/internal/role/tracing.go":  "flags",
	"cmd/weir/internal/role/upkeep.go":   "the start of a role",
	"gateway/api/describe.go":            "the description of the API",
	"gateway/dubbo/client.go":            "answers to callers of the gateway",
	"gateway/dubbo/codec.go":             "answers to callers of the gateway",
	"gateway/dubbo/governed.go":          "answers to callers of the gateway",
	"gateway/dubbo/handler.go":           "answers to callers of the gateway",
	"gateway/dubbo/hessianjson.go":       "answers to callers of the gateway",
	"gateway/dubbo/hessianread.go":       "answers to callers of the gateway",
	"gateway/dubbo/jsonscan.go":          "answers to callers of the gateway",
	"gateway/dubbo/problem.go":           "answers to callers of the gateway",
	"gateway/dubbo/transcode.go":         "answers to callers of the gateway",
	"gateway/dubbo/triple.go":            "answers to callers of the gateway",
	"gateway/proxy/forward.go":           "answers to callers of the gateway",
	"gateway/proxy/guard.go":             "answers to callers of the gateway",
	"gateway/proxy/handler.go":           "answers to callers of the gateway",
	"gateway/proxy/headers.go":           "answers to callers of the gateway",
	"gateway/proxy/observe.go":           "logs",
	"gateway/proxy/upgrade.go":           "answers to callers of the gateway",
	"governance/api/live.go":             "the description of the stream, which a page follows as it should",
	"governance/api/report.go":           "answers to SDKs that report",
	"governance/api/stream.go":           "answers to SDKs that follow",
	"governance/api/places.go":           "answers to SDKs that report",
	"governance/console/static.go":       "headers of the page",
	"governance/dubboconfig/message.go":  "answers to Dubbo Java applications",
	"governance/dubboconfig/payload.go":  "answers to Dubbo Java applications",
	"governance/dubboconfig/place.go":    "answers to Dubbo Java applications",
	"governance/dubboconfig/serve.go":    "answers to Dubbo Java applications",
	"governance/dubboconfig/client.go":   "answers to Dubbo Java applications",
	"governance/postgres/append.go":      "answers to SDKs that report",
	"governance/postgres/fold.go":        "logs",
	"governance/postgres/partition.go":   "logs",
	"internal/access/password.go":        "logs",
	"registry/kube/status.go":            "the status of objects in the cluster",
	"registry/kube/event.go":             "Kubernetes events",
	"registry/kube/collect.go":           "logs, and the command line",
	"registry/kube/caretaker.go":         "logs",
	"registry/kube/client.go":            "the start of a process",
	"registry/kube/keeper.go":            "the log",
	"registry/kube/locate.go":            "answers to Dubbo Java applications",
	"registry/kube/mapping.go":           "logs of providers",
	"registry/kube/metrics.go":           "metrics",
	"registry/kube/registrar.go":         "logs of providers",
	"registry/kube/saved.go":             "the log",
	"sdk/breaker/do.go":                  "errors of calls in a service",
	"sdk/breaker/refused.go":             "errors of calls in a service",
	"sdk/breaker/rules.go":               "errors of calls in a service",
	"sdk/dubbo/caller.go":                "errors of calls in a service",
	"sdk/dubbo/provider.go":              "errors of calls in a service",
	"sdk/dubbo/refused.go":               "errors of calls in a service",
	"sdk/hystrix/circuit.go":             "errors of calls in a service",
	"sdk/hystrix/engine.go":              "errors of calls in a service",
	"sdk/hystrix/hystrix.go":             "errors of calls in a service",
	"sdk/hystrix/stream.go":              "errors of calls in a service",
	"sdk/hystrix/trace.go":               "tags of spans",
	"sdk/policy/file.go":                 "logs of services",
	"sdk/policy/retry.go":                "logs of services",
	"sdk/policy/sse.go":                  "logs of services",
	"tracing/errors.go":                  "answers to who sends spans",
	"tracing/id.go":                      "answers to who sends spans",
	"tracing/json.go":                    "answers to who sends spans",
	"tracing/jsonscan.go":                "answers to who sends spans",
	"tracing/postgres/batch.go":          "answers to who sends spans",
	"tracing/postgres/dict.go":           "logs",
	"tracing/postgres/fragment.go":       "logs",
	"tracing/postgres/linker.go":         "logs",
	"tracing/postgres/partition.go":      "logs",
	"tracing/proto.go":                   "answers to who sends spans",
	"tracing/query.go":                   "answers to Zipkin's clients, word for word as Zipkin has them",
	"tracing/query/query.go":             "answers to Zipkin's clients, word for word as Zipkin has them",
	"tracing/span.go":                    "answers to who sends spans",
}

// foreign are packages of others whose texts come along in problems.
var foreign = []string{"github.com/danielgtaylor/huma/v2/validation"}

// Found is what the code says.
type Found struct {
	// Sentences are format strings, with %s for what is joined in by other means.
	Sentences []string `json:"sentences"`
	// Nouns are the things that the helpers count and plural put a number before.
	Nouns []string `json:"nouns"`
}

// Collect reads the packages below root, the repository's.
func Collect(root string) (Found, error) {
	c := collector{sentences: make(map[string]bool), nouns: make(map[string]bool)}
	left := maps.Clone(silent)
	for _, pkg := range speakers {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil || len(files) == 0 {
			return Found{}, fmt.Errorf("package %s has no files: mend the list of speakers", pkg)
		}
		for _, file := range files {
			name := pkg + "/" + filepath.Base(file)
			if delete(left, name); silent[name] != "" || filepath.Base(file) == "metrics.go" {
				continue
			}
			if err := c.read(file); err != nil {
				return Found{}, err
			}
		}
	}
	for name := range left {
		return Found{}, fmt.Errorf("%s is not there: take it off the list of silent files", name)
	}
	for _, path := range foreign {
		list := exec.Command("go", "list", "-f", "{{.Dir}}", path)
		list.Dir = root
		dir, err := list.Output()
		if err != nil {
			return Found{}, fmt.Errorf("%s: %w", list, err)
		}
		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
		if err != nil || len(files) == 0 {
			return Found{}, fmt.Errorf("package %s has no files: %w", path, cmp.Or(err, os.ErrNotExist))
		}
		for _, file := range files {
			if err := c.read(file); err != nil {
				return Found{}, err
			}
		}
	}
	return Found{slices.Sorted(maps.Keys(c.sentences)), slices.Sorted(maps.Keys(c.nouns))}, nil
}

// Text is the content of File.
func Text(root string) ([]byte, error) {
	found, err := Collect(root)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(found)
	return b.Bytes(), err
}

// Write writes File.
func Write(root string) error {
	text, err := Text(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, File), text, 0o644)
}

type collector struct{ sentences, nouns map[string]bool }

func (c *collector) read(file string) error {
	if strings.HasSuffix(file, "_test.go") {
		return nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(f, c.visit)
	return nil
}

// described are fields that describe metrics and operations.
var described = map[string]bool{"Help": true, "Summary": true, "Description": true}

// visit takes what is said below a node; false where nothing below is of people's
// concern.
func (c *collector) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.Field: // its tag describes the API
		ast.Inspect(n.Type, c.visit)
		return false
	case *ast.KeyValueExpr: // descriptions of metrics and operations
		if key, ok := n.Key.(*ast.Ident); ok && described[key.Name] {
			return false
		}
	case *ast.AssignStmt:
		if to, ok := n.Lhs[0].(*ast.SelectorExpr); ok && described[to.Sel.Name] {
			return false
		}
	case *ast.CaseClause: // what is compared is not said
		for _, s := range n.Body {
			ast.Inspect(s, c.visit)
		}
		return false
	case *ast.BinaryExpr:
		return c.binary(n)
	case *ast.CallExpr:
		return c.call(n)
	case *ast.BasicLit:
		if text, ok := literal(n); ok {
			c.add(text)
		}
	}
	return true
}

func (c *collector) binary(n *ast.BinaryExpr) bool {
	switch n.Op {
	case token.ADD:
		if text, ok := joined(n); ok {
			c.add(text)
			c.parts(n)
			return false
		}
	case token.EQL, token.NEQ:
		c.others(n.X, n.Y)
		return false
	}
	return true
}

// parts visits what is joined, apart from its literals.
func (c *collector) parts(e ast.Expr) {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.ADD {
		c.parts(b.X)
		c.parts(b.Y)
		return
	}
	c.others(e)
}

// others visits expressions that are no literal themselves.
func (c *collector) others(exprs ...ast.Expr) {
	for _, e := range exprs {
		if _, ok := literal(e); !ok {
			ast.Inspect(e, c.visit)
		}
	}
}

// logged are methods of loggers.
var logged = regexp.MustCompile(`(?i)^(log|logAttrs|(debug|info|warn|error)(context)?)$`)

func (c *collector) call(n *ast.CallExpr) bool {
	switch fun := n.Fun.(type) {
	case *ast.Ident:
		switch fun.Name {
		case "panic", "op", "operation", "counter", "gauge": // descriptions, as above
			return false
		case "count", "plural":
			if len(n.Args) == 2 {
				if noun, ok := literal(n.Args[1]); ok {
					c.nouns[noun] = true
				}
				ast.Inspect(n.Args[0], c.visit)
				return false
			}
		}
	case *ast.SelectorExpr:
		of, name := "", fun.Sel.Name
		if id, ok := fun.X.(*ast.Ident); ok {
			of = id.Name
		}
		switch {
		case of != "http" && logged.MatchString(name) && len(n.Args) > 0, of == "slog", name == "NewDesc", name == "MustCompile":
			return false
		case of == "strings" && name != "Join", name == "Format" || name == "Parse", name == "Exec" || name == "Query" || name == "QueryRow" || name == "Queue":
			ast.Inspect(fun.X, c.visit)
			c.others(n.Args...)
			return false
		}
	}
	return true
}

// literal is the text of a string.
func literal(e ast.Expr) (string, bool) {
	b, ok := e.(*ast.BasicLit)
	if !ok || b.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(b.Value)
	return text, err == nil
}

// joined is the text that "a" + x + "b" makes, with %s for what is no literal.
func joined(e ast.Expr) (string, bool) {
	if text, ok := literal(e); ok {
		return text, true
	}
	b, ok := e.(*ast.BinaryExpr)
	if !ok || b.Op != token.ADD {
		return "%s", false
	}
	x, xok := joined(b.X)
	y, yok := joined(b.Y)
	return x + y, xok || yok
}

var (
	verb = regexp.MustCompile(`%(\[\d+\])?[-+# 0]*\d*(\.\d+)?[a-zA-Z%]`)
	// Statements of SQL, patterns of addresses, headers, layouts of times.
	technical = regexp.MustCompile(`^(\(?(SELECT|INSERT|UPDATE|DELETE|WITH|COPY|SET|WHERE|ORDER|AND|LOCK) |(GET|POST|PUT|DELETE) [/%]|[a-z]+/[a-z.+-]+; |[-0-9: Z]+$|[a-z_.]+(, [a-z_.]+)+$|.*(LEFT JOIN |coalesce\()|v\.version|Bearer |attachment; |event: |id: |retry: |weir [a-z]+ listen$|\{)`)
	word      = regexp.MustCompile(`[a-zA-Z]{2,}`)
)

// add takes a text if it reads like something that is said.
func (c *collector) add(text string) {
	text = Trim(text)
	plain := verb.ReplaceAllString(text, "")
	if !strings.Contains(text, " ") || !word.MatchString(plain) || strings.Contains(text, "\n") || technical.MatchString(text) {
		return
	}
	c.sentences[text] = true
}

// Trim cuts off a text what joins it to its neighbours, as the page does.
func Trim(text string) string {
	return strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(text), ":;, "))
}
