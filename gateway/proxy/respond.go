package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/run"
)

const copyBuffer = 32 << 10

// buffers are what answers are copied through.
var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// respond sends an upstream's answer to the client.
func (x *exchange) respond(f *forward, response *http.Response) {
	a := f.action
	stream := isStream(response)
	flush := stream || response.ContentLength < 0
	f.watch.move(a.idle, func() {
		f.cancel(errIdle)
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Unix(1, 0)) // frees a write to a client that reads nothing
	})
	if stream {
		x.stream = true
		defer x.cutAtDrain(f)()
	}

	h := x.w.Header()
	removeHopByHop(response.Header)
	maps.Copy(h, response.Header)
	for i := range a.response {
		a.response[i].apply(h)
	}
	announced := len(response.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range response.Trailer {
			names = append(names, name)
		}
		h["Trailer"] = []string{strings.Join(names, ", ")}
	}
	f.closeIfSending()
	x.w.WriteHeader(response.StatusCode)
	out := http.NewResponseController(x.w)
	if flush {
		if stream {
			x.observe()
		}
		_ = out.Flush() // a writer that cannot flush does not buffer
	}
	err := x.copy(f, response.Body, out, flush)
	if f.watch.stop() && err == nil {
		err = errIdle
	}
	if err != nil {
		x.aborted(f, err)
	}
	if len(response.Trailer) == announced {
		maps.Copy(h, response.Trailer)
		return
	}
	for name, values := range response.Trailer { // some were not announced
		h[http.TrailerPrefix+name] = values
	}
}

// copy copies the body of an answer.
func (x *exchange) copy(f *forward, body io.Reader, out *http.ResponseController, flush bool) error {
	buffer, _ := buffers.Get().(*[copyBuffer]byte)
	defer buffers.Put(buffer)
	for {
		n, readErr := body.Read(buffer[:])
		if n > 0 {
			wrote, err := x.w.Write(buffer[:n])
			x.bytes += int64(wrote)
			if err != nil {
				return err
			}
			if flush {
				if err := out.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
					return err
				}
			}
			f.watch.touch(f.action.idle)
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return readErr
		}
	}
}

// aborted ends an answer that broke off. The client must not take it for whole.
func (x *exchange) aborted(f *forward, err error) {
	x.code = codeReset
	if cause := context.Cause(f.ctx); cause != nil {
		err = cause
		if errors.Is(cause, errIdle) {
			x.code = codeTimeout
		}
	}
	if x.r.Context().Err() != nil {
		x.code = codeClientGone
	} else if x.p.config.Log != nil {
		x.p.failures.log(x, &problem{status: x.status, code: x.code, err: err})
	}
	panic(http.ErrAbortHandler)
}

// isStream reports whether an answer goes on for as long as somebody listens.
func isStream(r *http.Response) bool {
	contentType := r.Header.Get("Content-Type")
	return strings.HasPrefix(contentType, "text/event-stream") || strings.HasPrefix(contentType, "application/grpc")
}

// cutAtDrain cuts an exchange that would go on for ever off some time after the
// gateway, or the server that it serves under, has begun to stop. What it returns
// ends that.
func (x *exchange) cutAtDrain(f *forward) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		select {
		case <-done:
			return
		case <-x.p.draining:
		case <-run.Draining(x.r.Context()):
		}
		timer := time.NewTimer(x.p.config.DrainTimeout)
		defer timer.Stop()
		select {
		case <-done:
			return
		case <-timer.C:
		case <-x.p.cutoff:
		}
		f.cancel(errDrain)
	})
	return func() { close(done); ended.Wait() }
}
