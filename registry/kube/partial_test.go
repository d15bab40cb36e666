package kube_test

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

// firstEvent passes on the answer of the API server up to the end of its first event,
// and then ends the stream, without a word.
func firstEvent(t *testing.T, cfg *rest.Config) func(http.ResponseWriter, *http.Request) bool {
	t.Helper()
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) bool {
		ask, err := http.NewRequestWithContext(r.Context(), r.Method, cfg.Host+r.URL.RequestURI(), nil)
		if err != nil {
			t.Error(err)
			return false
		}
		ask.Header.Set("Accept", r.Header.Get("Accept"))
		answer, err := transport.RoundTrip(ask)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		var size [4]byte // events of protobuf follow their length
		if _, err := io.ReadFull(answer.Body, size[:]); err != nil {
			return true
		}
		_, _ = w.Write(size[:])
		_, _ = io.CopyN(w, answer.Body, int64(binary.BigEndian.Uint32(size[:])))
		return true
	}
}

// A state of which only a part comes, before the stream ends without an error, is no
// state: it is lost, and said to be, and what is known stands.
func TestAStateThatComesInPartIsLost(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	part := firstEvent(t, n.Cluster.REST())
	var cutting atomic.Bool
	cutting.Store(true)
	var asked atomic.Int64
	var log safeBuffer
	cfg := stranger(n, through(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
		if !cutting.Load() || !strings.HasSuffix(r.URL.Path, "/endpointslices") || r.URL.Query().Get("sendInitialEvents") == "" {
			return false
		}
		asked.Add(1)
		return part(w, r)
	}))
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	hub := openHub(t, cfg)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	w := watch(t, hub, app)
	testkube.Eventually(t, "a line that the state does not come whole", func() error {
		if asked.Load() < 3 || !strings.Contains(log.String(), "before they have brought the whole state") {
			return errors.New("asked too rarely, or not told:\n" + log.String())
		}
		return nil
	})
	_, err := hub.Snapshot(brief(t), app)
	wantError(t, err, registry.Unavailable, "before they have brought the whole state")
	cutting.Store(false)
	w.await("the whole", ready(1))
	if !strings.Contains(log.String(), "registry watch is back") {
		t.Errorf("it is not said that it is back:\n%s", log.String())
	}
}
