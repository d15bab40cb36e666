package policy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/sdk/policy"
)

// A document that is no set must not take away the policies that hold, as one
// without any would.
func TestDocumentsThatAreNoSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Publish(t, timeout(time.Second))
		b.start()
		for range 2 {
			for _, doc := range []string{"{}", "null", `{"version":900}`, `{"wire":1,"version":900}`, `{"version":900,"hash":"sha256:00","policies":[]}`} {
				b.mesh.SendRaw("event: policies\ndata: " + doc + "\n\n")
				synctest.Wait()
				s := b.client.Status()
				if s.Applied.Version != 1 || len(b.sets()) != 1 || s.Applied.Refused == nil {
					t.Errorf("%s: %+v is in force, sets %v", doc, s.Applied, b.sets())
				}
			}
			pass(3 * time.Minute) // what is older counts by then
		}
	})
}

// A control plane that says goodbye at once, again and again, must not be asked a
// thousand times a second, nor left alone for weeks, whatever it asks for.
func TestGoodbyesAreBounded(t *testing.T) {
	for _, retry := range []string{"0", "4000000000", "1"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			var asked atomic.Int64
			server := memhttp.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = fmt.Fprintf(w, "retry: %s\n\n", retry)
			}))
			tr := server.Transport()
			t.Cleanup(tr.CloseIdleConnections)
			b.cfg.URL, b.cfg.Transport = server.URL, tr
			b.start()
			pass(10 * time.Minute)
			n := asked.Load()
			if n < 15 || n > 150 {
				t.Errorf("retry: %s: asked %d times in ten minutes", retry, n)
			}
		})
	}
}

func TestPasswordsOfTheAddressAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cfg.URL = strings.Replace(b.cfg.URL, "http://", "http://weir:hunter2@", 1)
		b.mesh.Publish(t, timeout(time.Second))
		b.start()
		b.mesh.Down()
		pass(time.Minute)
		if l := b.log.String(); strings.Contains(l, "hunter2") || !strings.Contains(l, "stream of policies opened") {
			t.Error(l)
		}
	})
}

// Applications that share a directory keep their files apart.
func TestFilesOfLikeNamesAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		apps := []governance.App{{Namespace: "shop", Name: "eu-orders"}, {Namespace: "shop-eu", Name: "orders"}}
		for _, app := range apps {
			b.cfg.App = app
			b.mesh.Publish(t, governance.Policy{Target: governance.Target{App: app}, Rules: governance.Rules{Timeout: governance.Duration(time.Second)}})
			b.start()
			b.stop()
		}
		b.mesh.Down()
		for _, app := range apps {
			b.cfg.App = app
			b.start()
			b.stop()
			if s := b.client.Status(); s.Source != policy.FromFile {
				t.Errorf("%s: %+v", app, s)
			}
		}
	})
}
