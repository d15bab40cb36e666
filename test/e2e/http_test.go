package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answer is what an HTTP request was answered with.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// into decodes the body.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a)
	}
}

// request sends a request with headers given in pairs.
func request(ctx context.Context, method, url, body string, header ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, got}, err
}

// through sends a request through the gateway.
func (m *system) through(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	a, err := request(t.Context(), method, "http://"+m.Gateway+path, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// api sends a request to the control plane as the command line would.
func (m *system) api(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(m.Dir, "access", "cli.token"))
	if err != nil {
		t.Fatal(err)
	}
	header = append([]string{"Authorization", "Bearer " + string(bytes.TrimSpace(token)), "Weir-Reason", "end-to-end test"}, header...)
	a, err := request(t.Context(), method, "http://"+m.Control+path, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// problem fails the test unless an answer is a problem document of a status that
// says all of the words.
func (a answer) problem(t *testing.T, status int, words ...string) {
	t.Helper()
	var p struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if a.status != status || json.Unmarshal(a.body, &p) != nil || p.Status != status || p.Title == "" {
		t.Errorf("want a problem %d, got %s", status, a)
		return
	}
	for _, w := range words {
		if !strings.Contains(string(a.body), w) {
			t.Errorf("the problem does not mention %q: %s", w, a)
		}
	}
}
