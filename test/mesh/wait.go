package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// client asks what is on this machine.
var client = &http.Client{Timeout: 5 * time.Second}

type fatalError struct{ error }

// Fatal makes an error that ends a wait at once.
func Fatal(err error) error { return fatalError{err} }

// Wait calls check until it returns nil or Patience ends.
func Wait(what string, check func() error) error { return WaitFor(Patience, what, check) }

// WaitFor is Wait for a time of its own.
func WaitFor(patience time.Duration, what string, check func() error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		err := check()
		var f fatalError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f):
			return fmt.Errorf("waiting until %s: %w", what, f.error)
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("gave up waiting until %s: %w", what, err)
		}
	}
}

// Eventually fails the test if check does not come to return nil.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	if err := Wait(what, check); err != nil {
		t.Fatal(err)
	}
}

// GetJSON reads a JSON document over HTTP.
func GetJSON(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
