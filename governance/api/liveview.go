package api

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

const (
	// backfill is how far back a stream begins; a view keeps a little more.
	backfill     = 2 * time.Minute
	viewKeeps    = backfill + 30*time.Second
	viewSeconds  = int64(viewKeeps / time.Second)
	maxViewCells = 200_000
)

// viewKey names what is looked at: an application, or one of its instances.
type viewKey struct {
	app      governance.App
	instance string
}

// view keeps the last minutes of one application by the second, for as long as
// somebody looks at it.
type view struct {
	key   viewKey
	has   governance.Seen // reports that it began with
	from  int64           // what is older is not there
	cells map[cellKey]*cell
	dirty map[cellKey]*cell
	ids   map[string]int32 // short numbers of instances
	users int
}

type cellKey struct {
	second int64
	sr     governance.Series
}

// cell is one second of one series.
type cell struct {
	counts   governance.Counts
	latency  sketch.Sketch
	inFlight int
	states   []cellState
	lossy    bool
}

type cellState struct {
	instance int32
	state    governance.State
}

// add takes in what an instance counted.
func (v *view) add(instance string, samples []governance.Sample) {
	if v.key.instance != "" && v.key.instance != instance {
		return
	}
	id, ok := v.ids[instance]
	if !ok {
		id = int32(len(v.ids))
		v.ids[instance] = id
	}
	for i := range samples {
		s := &samples[i]
		if s.Second < v.from {
			continue
		}
		k := cellKey{s.Second, s.Series}
		c := v.cells[k]
		if c == nil {
			if len(v.cells) >= maxViewCells {
				continue
			}
			c = &cell{}
			v.cells[k] = c
		}
		c.counts = c.counts.Add(s.Counts)
		c.inFlight += s.InFlight
		c.lossy = c.lossy || s.Lossy || len(s.Latency) > 0 && c.latency.MergeBinary(s.Latency) != nil
		if n := slices.IndexFunc(c.states, func(s cellState) bool { return s.instance == id }); n >= 0 {
			c.states[n].state = s.State
		} else {
			c.states = append(c.states, cellState{id, s.State})
		}
		v.dirty[k] = c
	}
}

// forget drops what is too old to be shown.
func (v *view) forget(now int64) {
	from := now - viewSeconds
	if from < v.from+10 {
		return
	}
	v.from = from
	for k := range v.cells {
		if k.second < from {
			delete(v.cells, k)
			delete(v.dirty, k)
		}
	}
}

// LiveSamples is the event "samples" of the stream.
type LiveSamples struct {
	App      governance.App `json:"app"`
	Backfill bool           `json:"backfill" doc:"Whether this is where the stream begins, and holds all there is of the last two minutes."`
	Items    []LiveSample   `json:"items" nullable:"false"`
}

// LiveSample is what one series counted in one second, merged over instances. A
// later one of the same application, series and second takes its place.
type LiveSample struct {
	Second int64 `json:"second" doc:"Unix time of its begin."`
	governance.Series
	Counts    governance.Counts `json:"counts"`
	InFlight  int               `json:"inFlight"`
	Instances int               `json:"instances"`
	Latencies
	States map[governance.State]int `json:"states" nullable:"false"`
	Lossy  bool                     `json:"lossy,omitempty"`
}

func (c *cell) item(k cellKey) LiveSample {
	out := LiveSample{
		Second: k.second, Series: k.sr, Counts: c.counts, InFlight: c.inFlight, Instances: len(c.states), Latencies: latenciesOf(&c.latency),
		States: make(map[governance.State]int, 1), Lossy: c.lossy,
	}
	for _, s := range c.states {
		out.States[s.state]++
	}
	return out
}

// event writes cells as one event, the oldest first.
func (v *view) event(cells map[cellKey]*cell, all bool) []byte {
	out := LiveSamples{App: v.key.app, Backfill: all, Items: make([]LiveSample, 0, len(cells))}
	for k, c := range cells {
		out.Items = append(out.Items, c.item(k))
	}
	slices.SortFunc(out.Items, func(a, b LiveSample) int {
		if a.Second != b.Second {
			return int(a.Second - b.Second)
		}
		return a.Series.Compare(b.Series)
	})
	return liveEvent("samples", out)
}

// changed returns the event of what changed since it was called last, nil for
// nothing.
func (v *view) changed() []byte {
	if len(v.dirty) == 0 {
		return nil
	}
	out := v.event(v.dirty, false)
	clear(v.dirty)
	return out
}

// recent are the cells that a stream begins with.
func (v *view) recent(now int64) map[cellKey]*cell {
	out := make(map[cellKey]*cell, len(v.cells))
	for k, c := range v.cells {
		if k.second >= now-int64(backfill/time.Second) {
			out[k] = c
		}
	}
	return out
}

// liveEvent writes a server-sent event without an id.
func liveEvent(name string, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("governance/api: a live event is no JSON: " + err.Error()) // plain types of this package
	}
	out := make([]byte, 0, len(data)+len(name)+32)
	out = append(out, "event: "+name+"\ndata: "...)
	out = append(out, data...)
	return append(out, "\n\n"...)
}
