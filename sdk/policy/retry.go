package policy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// answerError is an answer that is no stream, or the end of one.
type answerError struct {
	kind string        // one problem is logged once
	text string        // what happened and what to do
	slow bool          // trying soon will not help
	wait time.Duration // what the server asked for
}

func (e *answerError) Error() string { return e.text }

// checkAnswer says what is wrong with an answer that is no stream of events.
func checkAnswer(resp *http.Response) error {
	kind := strconv.Itoa(resp.StatusCode)
	switch s := resp.StatusCode; {
	case s == http.StatusOK:
		if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != "text/event-stream" {
			return &answerError{kind: "type", slow: true, text: fmt.Sprintf("it answers %q in place of a stream: is it a control plane?", resp.Header.Get("Content-Type"))}
		}
		return nil
	case s/100 == 3:
		return &answerError{kind: kind, slow: true, text: fmt.Sprintf("it redirects to %q, and redirects are not followed, since they would take the token along: give the final address", resp.Header.Get("Location"))}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only for the message
	err := &answerError{kind: kind, text: fmt.Sprintf("it answers %s: %s", resp.Status, bytes.TrimSpace(text))}
	if n, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && n > 0 {
		err.wait = min(time.Duration(min(n, 3600))*time.Second, backoffMost)
	}
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized:
		err.slow = true
		err.text += " (the token of this instance is missing or unknown: mount a service account's token, or set WEIR_TOKEN_FILE)"
	case s == http.StatusForbidden:
		err.slow = true
		err.text += " (this instance may not speak for its application: compare WEIR_APP with the pod's namespace and Service)"
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
	case s/100 == 4:
		err.slow = true
	}
	return err
}

// delay is how long to wait before the next attempt: with full jitter, so that
// thousands of instances that lost one control plane do not come back at once.
func delay(attempt int, answer *answerError) time.Duration {
	switch {
	case answer.kind == "ended" && answer.wait > 0: // a goodbye, at a moment of the server's choice
		wait := min(answer.wait, backoffMost)
		wait = wait/2 + rand.N(wait/2+1)
		if attempt > 0 { // and not the first: something is wrong there
			wait = max(wait, backoff(attempt))
		}
		return wait
	case answer.wait > 0:
		return answer.wait + rand.N(answer.wait/2+1)
	case answer.slow:
		return slowRetry/2 + rand.N(slowRetry)
	}
	return backoff(attempt)
}

func backoff(attempt int) time.Duration {
	return rand.N(min(time.Second<<min(attempt, 10), backoffMost))
}
