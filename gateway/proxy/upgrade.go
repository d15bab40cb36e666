package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// switchProtocols joins the client's and the upstream's connection once the
// upstream has agreed to a WebSocket.
func (x *exchange) switchProtocols(f *forward, response *http.Response) {
	upstream, ok := response.Body.(io.ReadWriteCloser)
	if !ok || !x.upgrade || !strings.EqualFold(response.Header.Get("Upgrade"), "websocket") {
		x.fail(&problem{status: http.StatusBadGateway, code: codeUpgrade, upstream: true, detail: "The upstream switched to a protocol that was not asked for."})
		return
	}
	h := x.w.Header()
	removeHopByHop(response.Header)
	maps.Copy(h, response.Header)
	for i := range f.action.response {
		f.action.response[i].apply(h)
	}
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	x.w.WriteHeader(http.StatusSwitchingProtocols)
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.aborted(f, err)
	}
	defer client.Close()
	x.stream = true
	x.observe()
	if err := buffered.Flush(); err != nil {
		return // the client is gone
	}
	// From here on the server's context tells nothing: the connection is ours.
	x.p.upgraded.Add(1)
	defer x.p.upgraded.Add(-1)
	defer x.cutAtDrain(f)()
	stop := context.AfterFunc(f.ctx, func() {
		_ = client.Close() // either may be closed already
		_ = upstream.Close()
	})
	defer stop()
	f.watch.move(f.action.idle, func() { f.cancel(errIdle) })
	x.join(f, client, buffered.Reader, upstream)
}

// join copies both ways until both are done. A side that has said all it had to
// is still sent what the other has to say.
func (x *exchange) join(f *forward, client net.Conn, early *bufio.Reader, upstream io.ReadWriteCloser) {
	var both sync.WaitGroup
	both.Go(func() { // client to upstream
		if err := pump(f, upstream, io.MultiReader(io.LimitReader(early, int64(early.Buffered())), client)); err != nil || !closeWrite(upstream) {
			f.cancel(nil)
		}
	})
	if err := pump(f, client, upstream); err != nil || !closeWrite(client) {
		f.cancel(nil)
	}
	both.Wait()
}

func closeWrite(w any) bool {
	half, ok := w.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

// pump copies what comes, as it comes.
func pump(f *forward, to io.Writer, from io.Reader) error {
	buffer, _ := buffers.Get().(*[copyBuffer]byte)
	defer buffers.Put(buffer)
	for {
		n, readErr := from.Read(buffer[:])
		if n > 0 {
			f.watch.touch(f.action.idle)
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return readErr
		}
	}
}

// Drain begins to end what would go on for ever: event streams and upgraded
// connections are cut off once Config.DrainTimeout has passed. Everything else is
// served as before. It may be called more than once; Shutdown calls it.
func (p *Proxy) Drain() { p.drain() }

// Shutdown waits until every exchange has ended, upgraded connections included,
// and lets go of all connections to upstreams. When ctx ends first, it cuts off
// what is left and returns why. The server that requests come from has to be
// stopped before, or at the same time.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.drain()
	var err error
	select {
	case <-p.idle():
	case <-ctx.Done():
		err = context.Cause(ctx)
		p.cut()
		late := time.NewTimer(time.Second)
		defer late.Stop()
		select {
		case <-p.idle():
		case <-late.C:
		}
	}
	p.follower.stop()
	return err
}
