// Package admin serves what operators and Kubernetes ask a process: whether it
// lives, whether it is ready, its metrics, and its counts.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config says what to serve. All fields but Knobs are required.
type Config struct {
	Address string
	Log     *slog.Logger
	Metrics *prometheus.Registry
	// Ready returns why the process is not ready, nil when it is.
	Ready func(context.Context) error
	// Stats returns what /stats shows as JSON.
	Stats func() any
	// Knobs serves /knobs; nil for none.
	Knobs http.Handler
}

// Server is a running admin listener.
type Server struct {
	http *http.Server
	addr net.Addr
}

// Start listens and serves. The error names the flag that helps.
func Start(c Config) (*Server, error) {
	l, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("admin port: %w; choose another with -admin-address", err)
	}
	s := &Server{
		addr: l.Addr(),
		http: &http.Server{
			Handler:           handler(c),
			ReadHeaderTimeout: 5 * time.Second,
			ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
		},
	}
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("admin port stopped serving", "error", err)
		}
	}()
	return s, nil
}

// Addr is the address the server listens at.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends the server once requests under way are answered, or ctx ends.
func (s *Server) Close(ctx context.Context) error { return s.http.Shutdown(ctx) }

func handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := c.Ready(r.Context()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if c.Knobs != nil {
		mux.Handle("/knobs", c.Knobs)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{Registry: c.Metrics}))
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		body, err := json.MarshalIndent(c.Stats(), "", "  ")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // a reader that left needs no answer
	})
	return mux
}
