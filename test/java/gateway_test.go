package java

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The gateway calls a provider in Java by HTTP and JSON: values, lists, dates and
// numbers come as its own, and exceptions as problems.
func TestSmokeGatewayCallsJavaProvider(t *testing.T) {
	file := filepath.Join(t.TempDir(), "route.yaml")
	route := `namespace: shop
name: article
match: {path: "/java/article/{sku}", method: GET}
upstream:
  dubbo:
    app: shop/catalogue
    interface: org.example.shop.CatalogueService
    method: article
    bigNumbersAsStrings: true
    args: [{type: java.lang.String, from: path.sku}]
`
	if err := os.WriteFile(file, []byte(route), 0o600); err != nil {
		t.Fatal(err)
	}
	theMesh.Ask(t, "route", "apply", "-f", file, "--reason", "Java test", "--wait", "30s")

	status, body := through(t, "/java/article/book")
	for _, want := range []string{
		`"name":"A Book of Dubbo"`, `"category":"BOOKS"`, `"price":"42.50"`, `"views":"9007199254740993"`,
		`"listed":"2026-01-01T00:00:00Z"`, `"released":"2025-11-20"`, `"inPrint":true`, `"tags":["new","books"]`,
		`"available":`,
	} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("want 200 with %s, got %d %s", want, status, body)
		}
	}
	status, body = through(t, "/java/article/anvil")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "org.example.shop.UnknownSkuException") || !strings.Contains(body, "no article anvil") {
		t.Errorf("an exception of Java's came as %d %s", status, body)
	}
}

// through sends a GET through the gateway.
func through(t *testing.T, path string) (status int, body string) {
	t.Helper()
	resp, err := storefront(t.Context(), theMesh.Gateway, path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
