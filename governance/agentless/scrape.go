package agentless

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

// scrapeEvery is how often a pod is asked what it has counted.
const scrapeEvery = 5 * time.Second

// scraper is how one engine asks what its process has counted.
type scraper struct {
	// scrape asks once.
	scrape func(ctx context.Context) error
	// lacking says what stands in the way, in sentences; the session's mutex is held.
	lacking func() []string
	// vain reports whether the pod lacks something that it has to be looked at anew for.
	vain func() bool
}

// scrapes asks again and again until that fails, or ctx ends.
func (n *session) scrapes(ctx context.Context, s scraper) error {
	begun := time.Now()
	for {
		if err := s.scrape(ctx); err != nil {
			return err
		}
		n.mu.Lock()
		lacks := s.lacking()
		if !slices.Equal(lacks, n.lacks) {
			n.lacks, n.changed = lacks, true
		}
		if n.trouble != "" {
			n.trouble, n.changed = "", true
		}
		n.mu.Unlock()
		if s.vain() && time.Since(begun) >= lastPause {
			return errLacking // it is looked at again: somebody may be about to mend that
		}
		if !pause.For(ctx, scrapeEvery*9/10+rand.N(scrapeEvery/5)) {
			return context.Cause(ctx)
		}
	}
}

// store has samples and transitions told; n.mu is held.
func (n *session) store(samples []governance.Sample, moved []governance.Transition) {
	if dropped := n.out.put(samples, moved, n.svc.room()); dropped > 0 {
		n.svc.metrics.dropped.Add(float64(dropped))
	}
}

// exposition asks for a text of Prometheus', and has it read.
func (m *management) exposition(ctx context.Context, address string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := m.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &refusalError{resp.StatusCode, fmt.Sprintf("GET %s answers %d", path(address), resp.StatusCode)}
	}
	body := &io.LimitedReader{R: resp.Body, N: maxAnswer + 1}
	err = read(body)
	switch {
	case body.N <= 0:
		return fmt.Errorf("GET %s answers more than %d MiB", path(address), maxAnswer>>20)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("GET %s answers something that is not Prometheus' text: %w", path(address), err)
	}
	return nil
}
