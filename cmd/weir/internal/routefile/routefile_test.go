package routefile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmesh/weir/cmd/weir/internal/routefile"
	"github.com/weirmesh/weir/gateway"
)

const cart = `# the cart
namespace: shop
name: cart
match: {host: shop.example.com, path: "/shop/cart/{id}", method: [GET, PUT]}
filters:
  - stripPrefix: 1
  - retry: {attempts: 2, on: [connect, 503], budgetPercent: 10}
  - timeout: {total: 2s, perTry: 800ms}
  - fallback: {status: 200, body: {items: [], degraded: true, big: 9007199254740993, price: 1.10}}
upstream: {app: shop/storefront, balance: leastRequests}
`

func TestParse(t *testing.T) {
	const reserve = "namespace: shop\nname: reserve\nmatch: {}\nupstream: {url: 'http://x'}\n"
	for name, data := range map[string]string{
		"documents":  "---\n" + cart + "---\n# nothing here\n---\n" + reserve + "---\n",
		"a list":     "- {namespace: shop, name: cart, match: {}, upstream: {url: 'http://x'}}\n- {namespace: shop, name: reserve, match: {}, upstream: {url: 'http://x'}}\n",
		"JSON":       `[{"namespace":"shop","name":"cart","match":{},"upstream":{"url":"http://x"}},{"namespace":"shop","name":"reserve","match":{},"upstream":{"url":"http://x"}}]`,
		"JSON, tabs": "[\n\t{\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"cart\",\n\t\t\"match\": {},\n\t\t\"upstream\": {\"url\": \"http://x\"}\n\t},\n\t{\"namespace\":\t\"shop\",\"name\":\"reserve\",\"match\":{},\"upstream\":{\"url\":\"http://x\"}}\n]\n",
		"an answer":  `{"revision":7,"items":[{"revision":3,"actor":"a","route":{"namespace":"shop","name":"cart","match":{},"upstream":{"url":"http://x"}}},{"revision":7,"route":{"namespace":"shop","name":"reserve","match":{},"upstream":{"url":"http://x"}}}]}`,
		"an anchor":  "namespace: shop\nname: cart\nmatch: &m {path: /x}\nupstream: {url: 'http://x'}\n---\nnamespace: shop\nname: reserve\nmatch: {}\nupstream: {url: 'http://x'}",
		"an alias":   "- {namespace: &n shop, name: cart, match: {}, upstream: &u {url: 'http://x'}}\n- {namespace: *n, name: reserve, match: {}, upstream: *u}\n",
		"CRLF lines": strings.ReplaceAll(cart+"---\n"+reserve, "\n", "\r\n"),
	} {
		routes, err := routefile.Parse("f", []byte(data))
		if err != nil || len(routes) != 2 || routes[0].Name != "cart" || routes[1].Name != "reserve" || routes[0].Namespace != "shop" {
			t.Errorf("%s: %+v, %v", name, routes, err)
		}
	}
	routes, err := routefile.Parse("f", []byte(cart))
	if err != nil {
		t.Fatal(err)
	}
	r := routes[0]
	if body := string(r.Filters[3].Fallback.Body); !strings.Contains(body, "9007199254740993") || !strings.Contains(body, "1.10") {
		t.Errorf("numbers of the body changed: %s", body)
	}
	if on := r.Filters[1].Retry.On; len(on) != 2 || on[1] != "503" {
		t.Errorf("got %v", on)
	}
	if r.Line != 2 {
		t.Errorf("line %d", r.Line)
	}
}

func TestWhatIsWrongIsToldByFileAndLine(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"unknown field":       {strings.Replace(cart, "attempts", "atempts", 1), "f:7: filters[1].retry.atempts: is no field: did you mean attempts?"},
		"wrong value":         {strings.Replace(cart, "attempts: 2", "attempts: 99", 1), "f:7: filters[1].retry.attempts: 99 is not between 1 and 10"},
		"wrong type":          {strings.Replace(cart, "total: 2s", "total: 2", 1), "f:8: filters[2].timeout.total: 2 is no duration: write a number with its unit, such as \"800ms\" or \"10s\""},
		"missing":             {strings.Replace(cart, "upstream:", "#", 1), "f:2: upstream: is missing: give app, url or dubbo"},
		"second document":     {cart + "---\nnamespace: shop\nname: x\nmatch: {path: x}\nupstream: {app: shop/x}", "f:14: match.path: \"x\" does not begin with a slash"},
		"no YAML":             {cart + "---\nname: [", "f:12: it is no YAML: did not find expected node content"},
		"path without quotes": {"namespace: shop\nname: x\nmatch: {host: a, path: /cart/{id}/x, method: GET}\n", "f:3: it is no YAML: within {…}, put a path with variables in quotes, such as {path: \"/cart/{id}\"}"},
		"twice":               {"name: a\n" + cart, "f:4: name: is given twice"},
		"no route":            {"hello", "f:1: \"hello\" is no object of named fields"},
		"merge":               {"a: &a {x: 1}\n<<: *a\n", "f:2: a merge (<<) is not understood here: write the fields out"},
		"infinity":            {"priority: .inf\n", "f:1: .inf is no number that JSON has"},
		"several":             {"namespace: shop\nname: X\nmatch:\n  path: x\nupstream: {}\n", "f:2: name: \"X\" is no name: use at most 253 lower-case letters, digits, '.', '_' and '-', a letter or digit first and last\nf:4: match.path: \"x\" does not begin with a slash\nf:5: upstream: is missing: give app, url or dubbo"},
		"growing without end": {"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]", "f:1: the document is too large or too deep"},
	} {
		_, err := routefile.Parse("f", []byte(c.data))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := routefile.Load([]string{dir}, nil); err == nil || !strings.Contains(err.Error(), "no .yaml") {
		t.Errorf("an empty directory: %v", err)
	}
	write("b.yaml", cart)
	write("a.json", `{"namespace":"shop","name":"first","match":{},"upstream":{"url":"http://x"}}`)
	write("notes.txt", "no route")
	routes, err := routefile.Load([]string{dir, routefile.Stdin}, strings.NewReader("namespace: shop\nname: last\nmatch: {}\nupstream: {url: http://x}\n"))
	if err != nil || len(routes) != 3 || routes[0].Name != "first" || routes[1].Name != "cart" || routes[2].Name != "last" || routes[2].File != "standard input" {
		t.Errorf("%+v, %v", routes, err)
	}
	write("c.yml", "\n"+cart)
	if _, err := routefile.Load([]string{dir}, nil); err == nil || !strings.Contains(err.Error(), "c.yml:3: route shop/cart stands at "+filepath.Join(dir, "b.yaml")+":2 already") {
		t.Errorf("twice: %v", err)
	}
	if _, err := routefile.Load([]string{filepath.Join(dir, "none")}, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
	if _, err := routefile.Load([]string{routefile.Stdin}, strings.NewReader("# nothing\n")); err == nil || !strings.Contains(err.Error(), "there is no route") {
		t.Errorf("nothing: %v", err)
	}
}

// FuzzParse: whatever a file holds, it is refused with a place or gives valid
// routes.
func FuzzParse(f *testing.F) {
	f.Add([]byte(cart))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [x]\n: y"))
	f.Add([]byte("- !!binary aGk=\n- 0x1F\n- 1_000\n- 2026-01-01"))
	f.Add([]byte(`{"items":[{"route":{},"revision":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		routes, err := routefile.Parse("f", data)
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Fatalf("no place: %v", err)
		}
		for _, r := range routes {
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(r.Route)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := gateway.DecodeRoutes(raw); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestTheRoutesThatAreWrittenDown reads every route that documents and examples
// show.
func TestTheRoutesThatAreWrittenDown(t *testing.T) {
	root := filepath.Join("..", "..", "..", "..")
	read := 0
	for _, pattern := range []string{"docs/*.md", "README*.md", "examples/*/routes/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blocks := []string{string(data)}
			if filepath.Ext(file) == ".md" {
				blocks = strings.Split(string(data), "```yaml\n")[1:]
			}
			for _, b := range blocks {
				b, _, _ = strings.Cut(b, "\n```")
				if !strings.Contains(b, "\nupstream:") || !strings.Contains(b, "namespace:") {
					continue
				}
				routes, err := routefile.Parse(file, []byte(b))
				if err != nil {
					t.Errorf("line numbers count from the block:\n%v\n%s", err, b)
				}
				read += len(routes)
			}
		}
	}
	if read < 5 {
		t.Errorf("only %d routes were found", read)
	}
}
