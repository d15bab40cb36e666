package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/internal/testkube"
)

// hosted finds where a part of a weir up serves.
func hosted(t *testing.T, w *weir, part string) string {
	t.Helper()
	found := regexp.MustCompile(`\b` + part + ` +ready +(http://[0-9.:]+)`).FindStringSubmatch(w.out.String())
	if found == nil {
		t.Fatalf("no address of %s in\n%s", part, w.out)
	}
	return found[1]
}

// A weir up with a cluster of its own and one of the user's beside: it shows and calls
// what is in either, goes on with what is known of one that dies, and starts without one
// that is dead, of which it says that nothing is known.
func TestUpWithOneMoreCluster(t *testing.T) {
	west := newShelf(t, ownAddress(t), serveName(t, "west"))
	dir := dataDir(t)
	args := upArgs(dir, "--node=false", "--shop", "false", "--cluster-name", "east", "--clusters", "west="+west.Cluster.Kubeconfig)
	type list struct {
		Unknown  string
		Clusters []struct{ Name, Stale, Unknown string }
		Items    []struct {
			App      struct{ Namespace, Name string }
			Clusters []struct {
				Cluster             string
				Instances, Callable int
			}
		}
	}
	read := func(w *weir) (l list, apps string) {
		t.Helper()
		token, err := os.ReadFile(client.TokenFile(dir))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hosted(t, w, "console")+"/api/v1/registry", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&l); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", resp.Status, err)
		}
		for _, i := range l.Items {
			apps += fmt.Sprintf("%s/%s%v ", i.App.Namespace, i.App.Name, i.Clusters)
		}
		return l, strings.TrimSpace(apps)
	}

	w := start(t, nil, args...)
	w.says(t, "Try:  ")
	const both = "default/kubernetes[] shop/cart[{west 1 1}]" // the API servers are at addresses that are no endpoints
	testkube.Eventually(t, "the applications of both", func() error {
		if l, apps := read(w); l.Unknown != "" || fmt.Sprint(l.Clusters) != "[{east  } {west  }]" || apps != both {
			return fmt.Errorf("%q %v %s", l.Unknown, l.Clusters, apps)
		}
		return nil
	})
	file := write(t, "route.yaml", "namespace: shop\nname: cart\nmatch: {path: /cart}\nupstream: {app: shop/cart}\n")
	if code, out, errs := do(t, nil, "route", "apply", "-f", file, "--reason", "test", "--wait", "10s", "--server", hosted(t, w, "console"), "--data-dir", dir); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	called := func(w *weir) error {
		if status, body := get(t, hosted(t, w, "gateway")+"/cart"); status != http.StatusOK || body != "west" {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	}
	testkube.Eventually(t, "the gateway calls the other cluster", func() error { return called(w) })

	west.Cluster.Kill(t)
	testkube.Eventually(t, "that the other does not answer", func() error {
		if l, apps := read(w); l.Unknown != "" || len(l.Clusters) != 2 || l.Clusters[0].Stale != "" || l.Clusters[1].Stale == "" || apps != both {
			return fmt.Errorf("%q %v %s", l.Unknown, l.Clusters, apps)
		}
		return nil
	})
	if err := called(w); err != nil {
		t.Error(err)
	}
	w.cancel()
	w.wait(t)
	if w.code != 0 || w.errs.String() != "" {
		t.Errorf("ended with %d: %s", w.code, w.errs)
	}

	w = start(t, nil, args...)
	w.says(t, "Try:  ")
	// Of an application without an instance here, as default/kubernetes, nothing is said
	// while the other may have some.
	if l, _ := read(w); len(l.Clusters) != 2 || l.Clusters[0].Unknown != "" || l.Clusters[1].Unknown == "" || l.Unknown != l.Clusters[1].Unknown {
		t.Errorf("without the other: %q %v", l.Unknown, l.Clusters)
	}
	west.Cluster.Restart(t)
	testkube.Eventually(t, "the applications of both again", func() error {
		if l, apps := read(w); l.Unknown != "" || l.Clusters[1].Stale != "" || apps != both {
			return fmt.Errorf("%q %v %s", l.Unknown, l.Clusters, apps)
		}
		return nil
	})
	testkube.Eventually(t, "the gateway calls it again", func() error { return called(w) })
}
