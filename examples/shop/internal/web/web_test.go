package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestServeAnswersWhatIsUnderWayWhenToldToEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	began, release := make(chan struct{}), make(chan struct{})
	s := &Server{
		Listen: address, Log: slog.New(slog.DiscardHandler), Finish: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			<-release
			JSON(w, http.StatusOK, "done")
		}),
	}
	ctx, stop := context.WithCancel(t.Context())
	served, up := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Serve(ctx, func() { close(up) }) }()
	<-up
	answered := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + address)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-began
	stop()
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
