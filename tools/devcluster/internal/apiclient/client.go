// Package apiclient talks to the API server with the standard library alone:
// the few requests a starting cluster needs.
package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	pollInterval   = 50 * time.Millisecond
	requestTimeout = 3 * time.Second
	maxResponse    = 8 << 20
)

// Client makes requests as one user. It is safe for concurrent use.
type Client struct {
	server string
	http   *http.Client
}

// New returns a client of the API server at a URL, with a client certificate.
func New(server, caFile, certFile, keyFile string) (*Client, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load the client certificate: %w", err)
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("load the cluster's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("load the cluster's authority: no certificate in %s", caFile)
	}
	return &Client{server: server, http: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
			DialContext:     (&net.Dialer{Timeout: time.Second}).DialContext,
		},
	}}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is an answer other than 2xx.
type StatusError struct {
	Code int
	// Message is the API server's own.
	Message string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("API server answered %d: %s", e.Code, e.Message)
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, &StatusError{Code: resp.StatusCode, Message: message(b)}
	}
	return b, nil
}

func message(b []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(b, &status) == nil && status.Message != "" {
		return status.Message
	}
	return string(bytes.TrimSpace(b[:min(len(b), 200)]))
}

// Get decodes the object at path into v, or drops it if v is nil.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	b, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil || v == nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Apply makes the object at path what v says (server-side apply, forced).
func (c *Client) Apply(ctx context.Context, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPatch, path+"?fieldManager=devcluster&force=true", "application/apply-patch+yaml", b)
	return err
}

// Patch merges v into the object at path (strategic merge).
func (c *Client) Patch(ctx context.Context, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPatch, path, "application/strategic-merge-patch+json", b)
	return err
}

// WaitOK asks for path until it is answered with success. It fails only when
// ctx ends, with the last reason.
func (c *Client) WaitOK(ctx context.Context, path string) error {
	return c.Wait(ctx, func(ctx context.Context) error { return c.Get(ctx, path, nil) })
}

// Wait repeats try until it succeeds. It fails only when ctx ends, with the
// last error of try.
func (c *Client) Wait(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
