// Package client speaks with Weir's HTTP APIs for the command line: where the
// control plane is, who asks and why, and what a refusal says.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/internal/config"
)

// DefaultServer is where a `weir up` on this machine serves its APIs.
const DefaultServer = "http://127.0.0.1:9000"

// TokenFile is where `weir up` keeps the token of the command line, below its
// data directory.
func TokenFile(dataDir string) string { return filepath.Join(dataDir, "access", "cli.token") }

// Config are the settings of commands that ask an API.
type Config struct {
	// Server is the address of the control plane.
	Server string
	// Token is an API token; empty to use the one in DataDir.
	Token string
	// DataDir is that of a `weir up` on this machine.
	DataDir string
	// Timeout bounds each request, beyond what it is asked to wait.
	Timeout time.Duration
}

// Flags binds the settings to flags.
func (c *Config) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&c.Server, "server", c.Server, "address of the control plane")
	flags.StringVar(&c.Token, "token", c.Token, "API token (default: the one that a weir up in the data directory keeps for its user)")
	config.Secret(flags, "token")
	flags.StringVar(&c.DataDir, "data-dir", c.DataDir, "data directory of the weir up whose token to use")
	flags.DurationVar(&c.Timeout, "timeout", c.Timeout, "how long to wait for an answer")
}

// Validate checks the settings.
func (c *Config) Validate() error {
	u, err := url.Parse(c.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--server %s is no address: give one such as %s", c.Server, DefaultServer)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout %s leaves no time for an answer: give a duration such as 10s", c.Timeout)
	}
	return nil
}

// Client speaks with one control plane. It is safe for concurrent use.
type Client struct {
	base    string
	token   string
	noToken error // why there is none
	timeout time.Duration
	http    *http.Client
	agent   string
}

// New returns a client of a valid Config; version is that of weir.
func New(c Config, version string) *Client {
	cl := &Client{
		base: strings.TrimSuffix(c.Server, "/"), token: c.Token, timeout: c.Timeout, agent: "weir/" + version,
		http: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
			// A redirect elsewhere must not get the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if cl.token == "" {
		cl.token, cl.noToken = tokenIn(c.DataDir)
	}
	return cl
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server is the address of the control plane.
func (c *Client) Server() string { return c.base }

func tokenIn(dataDir string) (string, error) {
	file := TokenFile(dataDir)
	raw, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("this user may not read %s: use sudo, or give a token of your own with --token (or WEIR_TOKEN)", file)
	case err != nil:
		return "", fmt.Errorf("there is no token in %s: name the data directory of your weir up with --data-dir, or give a token with --token (or WEIR_TOKEN)", file)
	}
	return strings.TrimSpace(string(raw)), nil
}

// Request is one call of an API.
type Request struct {
	Method string     // GET when empty
	Path   string     // below the server's address, escaped: see Path
	Query  url.Values // may be nil
	// Body is sent as JSON, or as it is when it is []byte or json.RawMessage;
	// nil for none.
	Body any
	// Reason is why something is written; "" for reads.
	Reason string
	// Header adds to the usual ones, such as If-Match; may be nil.
	Header http.Header
	// Wait is how much longer than usual the answer may take.
	Wait time.Duration
}

// Path joins the parts of a path, escaping each that is not a literal path.
func Path(literal string, parts ...string) string {
	var b strings.Builder
	b.WriteString(literal)
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// Answer is what an API answered to a request that it did not refuse.
type Answer struct {
	Status int
	Header http.Header
}

// ETag is the entity tag of what was answered, "" if it has none.
func (a *Answer) ETag() string { return a.Header.Get("ETag") }

// Error is a refusal. Its text is one sentence for the user.
type Error struct {
	Status int
	// Detail is that of the problem document; Errors what is wrong where.
	Detail string
	Errors []Detail
}

// Detail is what is wrong at one place of a request.
type Detail struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

// Status returns the HTTP status of a refusal, 0 for any other error.
func Status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// AwayError says that the control plane could not be asked at all, or that
// nothing says who asks.
type AwayError struct{ Err error }

// Error returns the cause's sentence.
func (e *AwayError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *AwayError) Unwrap() error { return e.Err }

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 20

// Do sends a request and decodes the JSON that is answered into out, which may
// be nil, or a *[]byte for the bytes as they are. Errors: *Error for a refusal,
// *AwayError when nobody answered.
func (c *Client) Do(ctx context.Context, r Request, out any) (*Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout+r.Wait, fmt.Errorf("no answer within %s", c.timeout+r.Wait))
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.away(ctx, err)
	}
	answer := &Answer{Status: resp.StatusCode, Header: resp.Header}
	switch into := out.(type) {
	case nil:
	case *[]byte:
		*into = raw
	default:
		if len(raw) == 0 {
			break
		}
		if err := json.Unmarshal(raw, out); err != nil {
			return nil, fmt.Errorf("%s answered what this weir does not understand (%w): do both have one version?", c.base, err)
		}
	}
	return answer, nil
}

// Stream sends a request and hands over the answer's body, which the caller
// closes; ctx alone bounds it.
func (c *Client) Stream(ctx context.Context, r Request) (io.ReadCloser, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	if c.token == "" && c.noToken != nil {
		return nil, &AwayError{Err: c.noToken}
	}
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.away(ctx, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refused(resp)
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if r.Body != nil {
		raw, err := encode(r.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	address := c.base + r.Path
	if len(r.Query) > 0 {
		address += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), address, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if r.Body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Authorization", "Bearer "+c.token)
	if r.Reason != "" {
		req.Header.Set("Weir-Reason", url.PathEscape(r.Reason))
	}
	return req, nil
}

func encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case []byte:
		return b, nil
	case json.RawMessage:
		return b, nil
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return raw, nil
}

// away says in one sentence why nobody answered.
func (c *Client) away(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, context.Canceled) {
			return cause
		}
		return &AwayError{Err: fmt.Errorf("%s gave %w; --timeout gives more", c.base, cause)}
	}
	why := "it does not answer"
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nothing listens there"
	case errors.As(err, &dns):
		why = "its name is not known"
	default:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		why += " (" + err.Error() + ")"
	}
	return &AwayError{Err: fmt.Errorf("there is no control plane at %s: %s; start one with `weir up`, or name yours with --server", c.base, why)}
}

// refused reads a problem document.
func (c *Client) refused(resp *http.Response) error {
	const most = 1 << 20
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		raw = nil
	}
	e := &Error{Status: resp.StatusCode}
	var problem struct {
		Detail string   `json:"detail"`
		Errors []Detail `json:"errors"`
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(raw, &problem) == nil {
		e.Detail, e.Errors = problem.Detail, problem.Errors
	}
	if e.Detail == "" {
		e.Detail = fmt.Sprintf("%s answered %s: is it the control plane of Weir?", c.base, resp.Status)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		e.Detail += "; the command line takes its token from --token, WEIR_TOKEN, or the data directory of a weir up (--data-dir)"
	}
	return e
}
