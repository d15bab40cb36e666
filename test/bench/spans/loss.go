//go:build linux

package spans

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// post sends a body; stored tells whether it was acknowledged.
func (b *bench) post(ctx context.Context, body []byte) (stored bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.address+"/api/v2/spans", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.http.Do(req)
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if resp.StatusCode == http.StatusAccepted {
		return true, nil
	}
	return false, errors.Join(err, fmt.Errorf("%s: %s", resp.Status, text))
}

// sendAll sends all bodies; each sender waits for the answer before its next.
func (b *bench) sendAll(ctx context.Context, bodies [][]byte) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, b.Connections)
	for i := range b.Connections {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(bodies) {
					return
				}
				if _, err := b.post(ctx, bodies[n]); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loss is what became of the spans around a kill.
type loss struct{ acknowledged, lost int64 }

// loss kills something under load and, once everything is back, counts which of
// the acknowledged spans are not there. Senders go on through the kill; what is
// not acknowledged is not counted.
func (b *bench) loss(ctx context.Context, seed uint64, kill func(context.Context) error) (loss, error) {
	fmt.Fprintf(b.progress, "kill -9 number %d under load\n", seed+1)
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acked = map[tracing.TraceID]int{} // spans by trace
	)
	for i := range b.Connections {
		wg.Go(func() {
			g := tracingtest.NewGenerator(1000*(seed+1)+uint64(i), time.Now().Add(-time.Minute))
			for loading.Err() == nil {
				var spans []tracing.Span
				for len(spans) < b.Body {
					spans = append(spans, g.Trace()...)
				}
				// Not the context that stops: an answer on its way is waited for.
				stored, err := b.post(ctx, tracing.AppendJSONList(nil, spans))
				if err != nil {
					timer := time.NewTimer(20 * time.Millisecond) // it is gone, and will be back
					<-timer.C
				}
				if stored {
					mu.Lock()
					for i := range spans {
						acked[spans[i].TraceID]++
					}
					mu.Unlock()
				}
			}
		})
	}
	timer := time.NewTimer(b.Kill)
	<-timer.C
	err := kill(ctx)
	if err == nil { // and some more, with everything back
		timer.Reset(b.Kill)
		<-timer.C
	}
	stop()
	wg.Wait()
	if err != nil {
		return loss{}, err
	}
	return b.count(ctx, acked)
}

// count asks for every trace.
func (b *bench) count(ctx context.Context, acked map[tracing.TraceID]int) (l loss, err error) {
	fmt.Fprintf(b.progress, "looking for %d traces\n", len(acked))
	ids := make([]tracing.TraceID, 0, len(acked))
	for id, n := range acked {
		ids = append(ids, id)
		l.acknowledged += int64(n)
	}
	missing := func(ids []tracing.TraceID) (lost int64, err error) {
		found := map[string]int{}
		for chunk := range slices.Chunk(ids, 50) {
			text := make([]string, 0, len(chunk)+1)
			for _, id := range chunk {
				text = append(text, id.String())
			}
			if len(text) == 1 {
				text = append(text, "00000000000000000000000000000001") // traceMany wants two
			}
			var traces [][]struct {
				TraceID string `json:"traceId"`
			}
			status, body, err := b.get(ctx, "/api/v2/traceMany?traceIds="+strings.Join(text, ","))
			if err != nil {
				return 0, err
			}
			if status != http.StatusOK || json.Unmarshal(body, &traces) != nil {
				return 0, fmt.Errorf("traceMany: %d: %.200s", status, body)
			}
			for _, t := range traces {
				for _, s := range t {
					found[s.TraceID]++
				}
			}
		}
		for _, id := range ids {
			lost += int64(max(0, acked[id]-found[id.String()]))
		}
		return lost, nil
	}
	// What waits in the spool is replayed soon, and is not lost before that.
	for range 60 {
		if l.lost, err = missing(ids); err != nil || l.lost == 0 {
			return l, err
		}
		timer := time.NewTimer(time.Second)
		<-timer.C
	}
	return l, nil
}

// get reads a path of the collector's; the error is for no answer at all.
func (b *bench) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// eventually reads a path until it is answered well.
func (b *bench) eventually(ctx context.Context, path string) (int, []byte, error) {
	for {
		status, body, err := b.get(ctx, path)
		if err == nil && status == http.StatusOK {
			return status, body, nil
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return status, body, fmt.Errorf("%s is not answered: %d %.100s %w", path, status, body, errors.Join(err, context.Cause(ctx)))
		}
	}
}
