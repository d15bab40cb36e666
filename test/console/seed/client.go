package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/tracing"
)

// client speaks with the control plane and the collector, and counts what it sent.
type client struct {
	server, tracing, token string
	http                   *http.Client

	streams, reports, samples, spans, refused atomic.Int64
}

func newClient(server, tracing, token string) *client {
	return &client{server: server, tracing: tracing, token: token, http: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token stays here
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

func (c *client) summary() string {
	return fmt.Sprintf("%d streams, %d reports with %d samples, %d spans, %d refused", c.streams.Load(), c.reports.Load(), c.samples.Load(), c.spans.Load(), c.refused.Load())
}

// problem is a refusal.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

// do sends one request and hands over the answer of one that was not refused.
func (c *client) do(ctx context.Context, method, address string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	c.refused.Add(1)
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		text = []byte(err.Error())
	}
	return nil, &problem{resp.StatusCode, fmt.Sprintf("%s %s: %s %s", method, req.URL.Path, resp.Status, text)}
}

// call is do within a bounded time, with documents for bodies; out may be nil.
func (c *client) call(ctx context.Context, method, path string, in, out any, header http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	resp, err := c.do(ctx, method, c.server+path, body, header)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// check sees that somebody who may write listens, before much is sent.
func (c *client) check(ctx context.Context) error {
	var me struct {
		Role string `json:"role"`
	}
	if err := c.call(ctx, http.MethodGet, "/api/v1/me", nil, &me, nil); err != nil {
		return err
	}
	if me.Role != "admin" {
		return fmt.Errorf("the token is of role %q: routes and instances of any namespace need an administrator's", me.Role)
	}
	return nil
}

func reason(text string) http.Header {
	return http.Header{"Weir-Reason": {url.PathEscape(text)}}
}

func (c *client) report(ctx context.Context, r *governance.Report) error {
	if err := c.call(ctx, http.MethodPost, governance.ReportsPath, r, nil, nil); err != nil {
		return err
	}
	c.reports.Add(1)
	c.samples.Add(int64(len(r.Samples)))
	return nil
}

func (c *client) send(ctx context.Context, spans []tracing.Span) error {
	resp, err := c.do(ctx, http.MethodPost, c.tracing+"/api/v2/spans", tracing.AppendJSONList(nil, spans), nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	c.spans.Add(int64(len(spans)))
	return nil
}
