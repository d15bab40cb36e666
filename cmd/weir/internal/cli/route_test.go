package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// adminToken makes a token by the password that a control plane logged at its
// first start.
func adminToken(t *testing.T, w *weir, server string) string {
	t.Helper()
	password := passwordLine.FindStringSubmatch(w.errs.String())
	if password == nil {
		t.Fatalf("no password was told:\n%s", w.errs)
	}
	ask := func(path, body string, cookies []*http.Cookie, into any) []*http.Cookie {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cookies {
			req.AddCookie(c)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Weir-Reason", "test")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return resp.Cookies()
	}
	var who, token struct{ Secret string }
	session := ask("/api/v1/login", fmt.Sprintf(`{"user":"admin","password":%q}`, password[1]), nil, &who)
	ask("/api/v1/tokens", `{"name":"routes","role":"admin"}`, session, &token)
	if token.Secret == "" {
		t.Fatal("there is no token")
	}
	return token.Secret
}

// TestRoutes drives the route commands against a control plane and a gateway
// that share a database, and asks the gateway whether it obeys.
func TestRoutes(t *testing.T) {
	db := database(t)
	control := start(t, nil, "control", "--database-url", db.URL(), "--control-listen", "127.0.0.1:0", "--admin-listen", "")
	server := control.serving(t)
	env := map[string]string{"WEIR_SERVER": server, "WEIR_TOKEN": adminToken(t, control, server)}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "upstream got ", r.URL.Path, " ", r.Header.Get("X-Mark"))
	}))
	defer upstream.Close()

	dir := t.TempDir()
	write := func(name, mark string) {
		t.Helper()
		text := fmt.Sprintf("# %[1]s\nnamespace: shop\nname: %[1]s\nmatch: {path: \"/shop/%[1]s/{id}\", method: GET}\nfilters:\n  - stripPrefix: 1\n  - requestHeaders: {set: {X-Mark: %[2]s}}\nupstream: {url: %[3]s}\n", name, mark, upstream.URL)
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	weir := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := do(t, env, args...)
		if code != want {
			t.Fatalf("weir %s: %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		return out + errs
	}
	says := func(got string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("got\n%s\nwhich does not say %q", got, w)
			}
		}
	}

	// Nobody serves yet: that is told, and the routes are written all the same.
	write("cart", "one")
	says(weir(0, "route", "apply", "-f", dir, "--dry-run"), "+ shop/cart   new\n")
	says(weir(0, "route", "list"), "none\n")
	says(weir(1, "route", "apply", "-f", dir, "--reason", "first", "--wait", "10ms"), "+ shop/cart   new\n", "revision 1 is written, but not served by all: no gateway was heard of")

	gatewayArgs := []string{"gateway", "--database-url", db.URL(), "--gateway-listen", "127.0.0.1:0", "--admin-listen", "", "--data-dir", t.TempDir(), "--node-name", "g1"}
	gateway := start(t, nil, gatewayArgs...)
	entry := gateway.serving(t)
	serves := func(path, want string) {
		t.Helper()
		resp, err := web.Get(entry + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); err != nil || string(raw) != want {
			t.Errorf("%s: %s %q, %v; want %q", path, resp.Status, raw, err, want)
		}
	}

	for !strings.Contains(weir(0, "route", "gateways"), "g1 ") { // until it is heard of
		if t.Context().Err() != nil {
			t.Fatal("the gateway says nothing")
		}
	}

	// A change that came back is served: no request after it sees the old route.
	write("cart", "two")
	write("stock", "two")
	says(weir(0, "route", "apply", "-f", dir, "--dry-run"), "~ shop/cart    filters[1].requestHeaders.set.X-Mark \"one\" → \"two\"\n", "+ shop/stock   new\n")
	says(weir(0, "route", "apply", "-f", dir, "--reason", "second: 仓库", "--wait", "30s"), "revision 2, served by 1 of 1 gateway\n")
	serves("/shop/cart/42", "upstream got /cart/42 two")
	serves("/shop/stock/7", "upstream got /stock/7 two")
	says(weir(0, "route", "apply", "-f", dir, "--reason", "again"), "= shop/cart    as it is\n", "revision 2\n")
	says(weir(0, "route", "gateways"), "g1        2          current")
	says(weir(0, "route", "list", "-n", "shop"), "shop/cart    GET /shop/cart/{id}", upstream.URL)
	says(weir(0, "route", "list", "-o", "json"), `"revision": 2`)

	got := weir(0, "route", "explain", "GET", "http://x.example.com/shop/cart/42", "-H", "X-User: 7")
	says(got, "shop/cart (revision 2) → "+upstream.URL, "id = 42")
	says(weir(0, "route", "explain", "POST", "/shop/cart/42"), "no route takes it", "shop/cart lost: ")
	says(weir(0, "route", "explain", "/shop/cart/42", "-o", "json"), `"winner"`)

	// What is read can be written again.
	if err := os.WriteFile(filepath.Join(dir, "cart.yaml"), []byte(weir(0, "route", "get", "shop/cart")), 0o600); err != nil {
		t.Fatal(err)
	}
	says(weir(0, "route", "apply", "-f", dir, "--dry-run"), "= shop/cart    as it is\n", "= shop/stock   as it is\n")

	// A route that takes another's requests.
	shadow := filepath.Join(t.TempDir(), "shadow.yaml")
	if err := os.WriteFile(shadow, []byte("namespace: shop\nname: all\npriority: 5\nmatch: {path: \"/shop/{rest...}\"}\nupstream: {url: \"http://127.0.0.1:1\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(weir(0, "route", "apply", "-f", shadow, "--dry-run"), "! shop/cart    shadowed by shop/all for GET /shop/cart/{id}: it will never match\n")

	says(weir(0, "route", "delete", "shop/cart", "--reason", "gone", "--wait", "30s"), "- shop/cart   deleted\n", "revision 3, served by 1 of 1")
	says(weir(1, "route", "get", "shop/cart"), "there is no route shop/cart")
	says(weir(0, "route", "rollback", "shop/cart", "--to", "1", "--reason", "back", "--wait", "30s"), "+ shop/cart   new\n", "revision 4")
	serves("/shop/cart/42", "upstream got /cart/42 one")
	says(weir(0, "route", "history", "shop/cart"), "token:routes", "second: 仓库", "deleted", "back")
	says(weir(0, "audit", "--object", "routes shop/cart"), "apply-routes", "ok")

	// Mistakes are told by file and line, by route, or by flag.
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("namespace: shop\nname: bad\nmatch: {}\nfilters:\n  - retry: {atempts: 2}\nupstream: {url: \"http://x\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(weir(2, "route", "apply", "-f", bad, "--reason", "x"), bad+":5: filters[0].retry.atempts: is no field: did you mean attempts?")
	says(weir(2, "route", "apply", "-f", dir), "a write needs a reason: say why with --reason")
	says(weir(2, "route", "apply", "--reason", "x"), "name a file or directory with -f")
	says(weir(2, "route", "get", "a/b/c"), "write namespace/name")
	says(weir(2, "route", "explain", "/x", "-H", "nothing"), "is no header")
	says(weir(1, "route", "delete", "shop/none", "shop/neither", "--reason", "x"), "there is no route shop/none", "there is no route shop/neither")
	says(weir(1, "route", "rollback", "shop/cart", "--to", "77", "--reason", "x"), "has no version at revision 77")
	says(weir(2, "route", "delete", "shop/cart", "--reason", "x", "--wait", "1h"), "--wait 1h0m0s is not between")
	says(weir(0, "route", "list", "-o", "json"), `"revision": 4`)

	// The database goes away: what is served is served on, also by a gateway that
	// starts meanwhile, and a write is refused and says why.
	if err := db.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	serves("/shop/cart/42", "upstream got /cart/42 one")
	says(weir(1, "route", "delete", "shop/cart", "--reason", "x"), "does not answer")
	gateway.cancel()
	gateway.wait(t)
	again := start(t, nil, gatewayArgs...)
	entry = again.serving(t)
	again.complains(t, "serving what the snapshot on disk has")
	for status := 0; status != http.StatusOK; { // it serves before it has read anything
		resp, err := web.Get(entry + "/shop/cart/42")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if status = resp.StatusCode; status == http.StatusNotFound {
			t.Fatal("it serves no routes")
		}
	}
	serves("/shop/cart/42", "upstream got /cart/42 one")
}
