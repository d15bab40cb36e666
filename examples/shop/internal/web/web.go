// Package web serves HTTP the way each web process of the shop wants it: stopped
// without losing a request.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Server serves until it is told to end.
type Server struct {
	Listen  string
	Handler http.Handler
	Log     *slog.Logger
	// Drain is how long requests are still taken once ctx ended, so that callers
	// can move on first; Finish is how long those under way may take after that.
	Drain, Finish time.Duration
}

// Serve blocks until ctx ends and all requests are answered. listening is called
// once requests can come.
func (s *Server) Serve(ctx context.Context, listening func()) error {
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another with -listen", err)
	}
	srv := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	listening()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain := time.NewTimer(s.Drain)
	defer drain.Stop()
	select {
	case err := <-ended:
		return err
	case <-drain.C:
	}
	finish, cancel := context.WithTimeout(context.Background(), s.Finish)
	defer cancel()
	if err := srv.Shutdown(finish); err != nil {
		return fmt.Errorf("requests were cut off after %s: %w", s.Finish, err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// JSON answers with a document.
func JSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a reader that left needs no answer
}
