package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/weirmesh/weir/governance"
)

// refusedError is an answer after which sending again cannot help.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

func encode(rep *governance.Report) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if err := json.NewEncoder(z).Encode(rep); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// post sends one body once. wait is how long the control plane asks to be left
// alone; 0 if it does not say.
func (r *Reporter) post(ctx context.Context, body []byte) (answer governance.ReportAnswer, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return answer, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("B3", "0")
	if r.cfg.Token != nil {
		token, err := r.cfg.Token()
		if err != nil {
			return answer, 0, fmt.Errorf("read the token of this instance: %w", err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return answer, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, readErr := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 == 2 {
		// Accepted, whatever became of the answer.
		if readErr != nil || json.Unmarshal(text, &answer) != nil {
			answer = governance.ReportAnswer{}
		}
		return answer, 0, nil
	}
	if n, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && n > 0 {
		wait = min(time.Duration(min(n, 3600))*time.Second, backoffMost)
	}
	message := fmt.Sprintf("it answers %s: %s", resp.Status, bytes.TrimSpace(text[:min(len(text), 512)]))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return answer, 0, &refusedError{message}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		if wait == 0 { // trying soon will not help
			wait = backoffMost/2 + mathrand.N(backoffMost)
		}
	}
	return answer, wait, errors.New(message)
}
