package java

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// A consumer in Java finds a provider in Go through Kubernetes, by stock means
// alone, and calls each of its instances.
func TestSmokeJavaConsumerCallsGoProvider(t *testing.T) {
	now := more(t, restockStats(t), 40)
	for _, p := range pods(t, "inventory") {
		if now.ServedBy[p.Metadata.Name] == 0 {
			t.Errorf("restock did not call %s, only %v", p.Metadata.Name, now.ServedBy)
		}
	}
}

// A consumer in Go finds a provider in Java, which for its part calls one in Go.
func TestSmokeGoConsumerCallsJavaProvider(t *testing.T) {
	address := storefrontAddress(t)
	var a article
	mesh.Eventually(t, "the storefront shows an article", func() error {
		return mesh.GetJSON(t.Context(), "http://"+address+"/article/book", &a)
	})
	if a.Sku != "book" || a.Name != "A Book of Dubbo" || a.Category != "BOOKS" || a.Price != "42.50" ||
		a.Views != "9007199254740993" || !slices.Equal(a.Tags, []string{"new", "books"}) || a.Listed.Format("2006-01-02") != "2026-01-01" {
		t.Errorf("the article came as %+v", a)
	}
	if want := pods(t, "catalogue")[0].Metadata.Name; a.ServedBy != want {
		t.Errorf("served by %q, want %s", a.ServedBy, want)
	}
	if a.Available == nil || !slices.ContainsFunc(pods(t, "inventory"), func(p pod) bool { return p.Metadata.Name == a.StockBy }) {
		t.Errorf("the catalogue could not ask inventory: %+v", a)
	}

	resp, err := storefront(t.Context(), address, "/article/anvil")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var problem struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || resp.StatusCode != http.StatusNotFound || !strings.Contains(problem.Error, "anvil") {
		t.Errorf("an exception of Java's came as %s %+v (%v)", resp.Status, problem, err)
	}
}

// The registry's own commands tell of a Java provider as of any other.
func TestSmokeRegistryShowsJavaProvider(t *testing.T) {
	p := pods(t, "catalogue")[0]
	if p.Metadata.Annotations["io.dubbo/metadata"] == "" {
		t.Errorf("the pod has no io.dubbo/metadata: %v", p.Metadata.Annotations)
	}
	out := theMesh.Registry(t, "get", "shop/catalogue")
	for _, want := range []string{p.Metadata.Name, p.Status.PodIP, "dubbo"} {
		if !strings.Contains(out, want) {
			t.Errorf("weir registry get lacks %q:\n%s", want, out)
		}
	}
}

// Instances in Go come and go while Java calls them, and no call is lost.
func TestSmokeGoProvidersComeAndGo(t *testing.T) {
	before := more(t, restockStats(t), 10)
	for _, n := range []int{3, 1, 2} {
		scale(t, "inventory", n)
		before = fine(t, before)
	}
	restart(t, "inventory")
	now := fine(t, before)
	for _, p := range pods(t, "inventory") {
		if now.ServedBy[p.Metadata.Name] == 0 {
			t.Errorf("restock does not call %s, which is new, only %v", p.Metadata.Name, now.ServedBy)
		}
	}
}

// fine waits for some more calls and fails the test if one has failed since.
func fine(t *testing.T, before stats) stats {
	t.Helper()
	now := more(t, before, 40)
	if failed := now.Made.Failed - before.Made.Failed; failed != 0 {
		t.Errorf("%d calls failed: %+v", failed, now.Made.Failures)
	}
	return now
}

// Instances in Java come and go while Go calls them, and no call is lost.
func TestSmokeJavaProvidersComeAndGo(t *testing.T) {
	shop := startShoppers(t)
	scale(t, "catalogue", 2)
	restart(t, "catalogue")
	scale(t, "catalogue", 1)
	shop.done(t)
}

// Every kind of value, exception and attachment travels between two processes in
// Java that found each other through Kubernetes, in another group and version too.
func TestSmokeJavaApplicationsUnderstandEachOther(t *testing.T) {
	for what, said := range ask[map[string]string](t, "restock", "/inspect") {
		if said != "ok" {
			t.Errorf("%s: %s", what, said)
		}
	}
}
