package java

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

// The gateway calls a provider in Java by HTTP and JSON: values, lists, dates and
// numbers come as its own, and exceptions as problems.
func TestSmokeGatewayCallsJavaProvider(t *testing.T) {
	dubboTurns.take(t)
	eachLine(t, func(t *testing.T, l line) {
		for _, protocol := range []string{dubbo2, triple} {
			t.Run(protocol, func(t *testing.T) { gatewayCalls(t, l.catalogue(protocol)) })
		}
	})
}

// gatewayCalls calls one application, over the protocol that it serves.
func gatewayCalls(t *testing.T, app string) {
	t.Helper()
	apply(t, `namespace: shop
name: article-of-`+app+`
match: {path: "/java/`+app+`/article/{sku}", method: GET}
upstream:
  dubbo:
    app: shop/`+app+`
    interface: org.example.shop.CatalogueService
    method: article
    bigNumbersAsStrings: true
    args: [{type: java.lang.String, from: path.sku}]
`)
	// Dubbo Java may turn ready before it has registered.
	if err := mesh.WaitFor(time.Minute, app+" has registered", func() error {
		if status, body := through(t, "/java/"+app+"/article/book"); status == http.StatusServiceUnavailable {
			return errors.New(body)
		}
		return nil
	}); err != nil {
		said(t, app)
		t.Fatal(err)
	}
	status, body := through(t, "/java/"+app+"/article/book")
	for _, want := range []string{
		`"name":"A Book of Dubbo"`, `"category":"BOOKS"`, `"price":"42.50"`, `"views":"9007199254740993"`,
		`"listed":"2026-01-01T00:00:00Z"`, `"released":"2025-11-20"`, `"inPrint":true`, `"tags":["new","books"]`,
		`"available":`,
	} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("want 200 with %s, got %d %s", want, status, body)
		}
	}
	status, body = through(t, "/java/"+app+"/article/anvil")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "org.example.shop.UnknownSkuException") || !strings.Contains(body, "no article anvil") {
		t.Errorf("an exception of Java's came as %d %s", status, body)
	}
}

// A provider that serves JSON over Triple by itself, as Dubbo 3.3 does, is an
// upstream as any other over HTTP; its arguments are a list.
func TestGatewayCallsProviderThatServesJSON(t *testing.T) {
	dubboTurns.take(t)
	needs(t, "dubbo-3.3")
	apply(t, `namespace: shop
name: json-article
match: {path: "/json/article", method: POST}
filters:
  - setPath: /org.example.shop.CatalogueService/article
upstream: {app: shop/catalogue-tri}
`)
	post := func(args string) (status int, body string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+theMesh.Gateway+"/json/article", strings.NewReader(args))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		return answer(t, req)
	}
	status, body := post(`["book"]`)
	for _, want := range []string{`"name":"A Book of Dubbo"`, `"category":"BOOKS"`, `"released":"2025-11-20"`, `"views":9007199254740993`, `"stock":{`} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("want 200 with %s, got %d %s", want, status, body)
		}
	}
	if status, body = post(`["anvil"]`); status != http.StatusInternalServerError || !strings.Contains(body, "no article anvil") {
		t.Errorf("an exception of Java's came as %d %s", status, body)
	}
}

// apply writes a route and waits until the gateway has it.
func apply(t *testing.T, route string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "route.yaml")
	if err := os.WriteFile(file, []byte(route), 0o600); err != nil {
		t.Fatal(err)
	}
	theMesh.Ask(t, "route", "apply", "-f", file, "--reason", "Java test", "--wait", "30s")
}

// through sends a GET through the gateway.
func through(t *testing.T, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+theMesh.Gateway+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return answer(t, req)
}

func answer(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
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
