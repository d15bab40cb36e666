package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A watch that stands for long and then ends by an error is lost since the last that
// it told, and not since it began: what is known was true until then.
func TestALossIsDatedFromTheLastNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, tell := io.Pipe()
		asked := 0
		cfg := Config{Logger: slog.New(slog.DiscardHandler)}.withDefaults()
		c, err := newClient(connection{rest: &rest.Config{Host: "http://api.example.com", WrapTransport: func(http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if asked++; asked > 1 {
					return nil, errors.New("nobody is there")
				}
				return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{"Content-Type": {acceptJSON}}, Body: told, Request: r}, nil
			})
		}}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		h := quietHub(cfg)
		h.client = c
		src := &source{hub: h, resource: policiesResource, table: emptyTable{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); src.run(ctx) }()
		bookmark := func(version int) {
			fmt.Fprintf(tell, `{"type": "BOOKMARK", "object": {"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": {"resourceVersion": "%d", "annotations": {"k8s.io/initial-events-end": "true"}}}}`+"\n", version)
			synctest.Wait()
		}
		bookmark(1)
		time.Sleep(5 * time.Minute) //nolint:forbidigo // it is the time of the bubble
		bookmark(2)
		last := h.clock.now()
		time.Sleep(30 * time.Second) //nolint:forbidigo // it is the time of the bubble
		fmt.Fprintln(tell, `{"type": "ERROR", "object": {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": "the database is away"}}`)
		time.Sleep(time.Second) //nolint:forbidigo // it is the time of the bubble
		synctest.Wait()
		h.mu.Lock()
		synced, lostAt := src.synced, src.lostAt
		h.mu.Unlock()
		if !synced || !lostAt.Equal(last) {
			t.Errorf("synced %v, lost since %s, and the last was heard at %s", synced, lostAt, last)
		}
		cancel()
		<-ended
	})
}
