package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/tracing"
)

// batch is how many spans are sent at once.
const batch = 2000

// trace sends traces of a few sizes over the last minutes, the largest once, and
// then one after the other until ctx ends.
func (f *fleet) trace(ctx context.Context, c *client, out io.Writer) error {
	began := time.Now()
	var spans []tracing.Span
	for n := range 60 {
		at := began.Add(-time.Duration(60-n) * 5 * time.Second)
		spans = append(spans, f.oneTrace(at, f.apps[n%max(1, len(f.apps)/12)], 20+f.rand.IntN(180))...)
	}
	large := f.oneTrace(began.Add(-30*time.Second), f.apps[0], 10_000)
	fmt.Fprintf(out, "the large trace of %d spans is %s\n", len(large), large[0].TraceID)
	spans = append(spans, large...)
	for len(spans) > 0 {
		n := min(batch, len(spans))
		if err := c.send(ctx, spans[:n]); err != nil {
			return err
		}
		spans = spans[n:]
	}
	failures := 0
	for n := 0; sleep(ctx, 2*time.Second); n++ {
		size := 20 + f.rand.IntN(60)
		// A collector that is replaced is away for a moment.
		if err := c.send(ctx, f.oneTrace(time.Now().Add(-time.Second), f.apps[n%max(1, len(f.apps)/12)], size)); err == nil {
			failures = 0
		} else if failures++; failures >= 15 {
			return err
		}
	}
	return nil
}

// weaver makes the spans of one trace.
type weaver struct {
	f     *fleet
	id    tracing.TraceID
	spans []tracing.Span
	most  int
}

func (f *fleet) oneTrace(at time.Time, root *app, most int) []tracing.Span {
	w := &weaver{f: f, id: tracing.TraceID{High: f.rand.Uint64() | 1, Low: f.rand.Uint64() | 1}, most: most}
	w.serve(root.commands[0], 0, at.UnixMicro(), 0)
	for i := range w.spans {
		if err := w.spans[i].Normalize(); err != nil {
			panic(err) // this generator itself is wrong
		}
	}
	return w.spans
}

// serve adds a server's span and all below it, and returns how long it took and
// whether it failed.
func (w *weaver) serve(cmd *command, parent tracing.ID, at int64, depth int) (took int64, failed bool) {
	n := len(w.spans)
	in := cmd.app.instances[w.f.rand.IntN(len(cmd.app.instances))]
	s := tracing.Span{TraceID: w.id, ParentID: parent, ID: tracing.ID(w.f.rand.Uint64() | 1), Kind: tracing.Server, Name: cmd.name, Timestamp: at, Local: w.endpoint(in)}
	s.Tags = w.tags(in, cmd.name)
	w.spans = append(w.spans, s)
	took = 200 + w.f.rand.Int64N(2000)
	failed = w.f.rand.Float64() < cmd.errors
	calls := cmd.app.calls
	for round := 0; len(calls) > 0 && len(w.spans) < w.most && depth < 24; round++ {
		// Whoever stands at the front asks again and again until there are enough.
		if depth > 0 && round >= 1+w.f.rand.IntN(2) {
			break
		}
		for _, k := range calls {
			if len(w.spans) >= w.most {
				break
			}
			took += w.call(in, k, s.ID, at+took, depth)
		}
	}
	if len(calls) == 0 || depth >= 24 {
		took += w.query(in, s.ID, at+took)
	}
	took += 100 + w.f.rand.Int64N(800)
	if failed {
		w.spans[n].Tags = append(w.spans[n].Tags, tracing.Tag{Key: tracing.TagError, Value: cmd.name + ": the answer of the store could not be read"})
	}
	w.spans[n].Duration = took
	return took, failed
}

func (w *weaver) call(in *instance, k *call, parent tracing.ID, at int64, depth int) int64 {
	n := len(w.spans)
	s := tracing.Span{TraceID: w.id, ParentID: parent, ID: tracing.ID(w.f.rand.Uint64() | 1), Kind: tracing.Client, Name: k.to.name, Timestamp: at, Local: w.endpoint(in)}
	s.Remote.Service = k.to.app.name.Name
	s.Tags = append(w.tags(in, k.to.name), tracing.Tag{Key: tracing.TagPeer, Value: k.to.app.name.String()})
	w.spans = append(w.spans, s)
	var took int64
	switch {
	case k.to.app.story == switched && w.f.rand.IntN(2) == 0:
		took = 20 + w.f.rand.Int64N(60)
		w.spans[n].Tags = append(w.spans[n].Tags, tracing.Tag{Key: tracing.TagRefused, Value: "switched"}, tracing.Tag{Key: tracing.TagFallback, Value: "value"},
			tracing.Tag{Key: tracing.TagPolicy, Value: k.to.app.name.Namespace + "/" + governance.DefaultName(governance.KindSwitch, governance.Target{App: k.to.app.name, Command: k.to.name})})
	case k.to.errors > 0.5 && w.f.rand.IntN(2) == 0:
		took = 15 + w.f.rand.Int64N(40)
		w.spans[n].Tags = append(w.spans[n].Tags, tracing.Tag{Key: tracing.TagRefused, Value: "open"}, tracing.Tag{Key: tracing.TagError, Value: "the circuit is open"})
	default:
		below, failed := w.serve(k.to, s.ID, at+150, depth+1)
		took = below + 350
		if failed {
			w.spans[n].Tags = append(w.spans[n].Tags, tracing.Tag{Key: tracing.TagError, Value: "500"})
		}
	}
	w.spans[n].Duration = took
	return took
}

func (w *weaver) query(in *instance, parent tracing.ID, at int64) int64 {
	took := 300 + w.f.rand.Int64N(4000)
	if in.app.commands[0].slow {
		took += 200_000 + w.f.rand.Int64N(300_000)
	}
	s := tracing.Span{TraceID: w.id, ParentID: parent, ID: tracing.ID(w.f.rand.Uint64() | 1), Kind: tracing.Client, Name: "select", Timestamp: at, Duration: took, Local: w.endpoint(in)}
	s.Remote.Service = in.app.name.Name + "-db"
	s.Tags = []tracing.Tag{{Key: "sql.query", Value: "select * from " + in.app.name.Namespace + " where id = $1"}}
	w.spans = append(w.spans, s)
	return took
}

func (w *weaver) endpoint(in *instance) tracing.Endpoint {
	sum := 0
	for _, b := range []byte(in.id) {
		sum = sum*31 + int(b)
	}
	return tracing.Endpoint{Service: in.app.name.Name, IPv4: netip.AddrFrom4([4]byte{10, 244, byte(sum >> 8), byte(sum)}), Port: 8080}
}

func (w *weaver) tags(in *instance, command string) []tracing.Tag {
	return []tracing.Tag{
		{Key: tracing.TagCommand, Value: command}, {Key: tracing.TagNamespace, Value: in.app.name.Namespace}, {Key: tracing.TagInstance, Value: in.id},
	}
}
