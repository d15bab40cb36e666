package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
)

func TestReportsAreStoredOnceAndAnswered(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	v := k.put(timeout(inventory, "", time.Second))
	i := k.instance(inventory, "a").open()
	set := i.until(v.Version)
	rep := governance.Report{
		Wire: 1, App: inventory, Instance: "a", Boot: "b", Seq: 1, Sent: time.Now(),
		Samples:     []governance.Sample{sample(time.Second)},
		Transitions: []governance.Transition{{Series: governance.Series{Command: reserve, At: governance.Provider}, Time: time.Now(), From: governance.StateClosed, To: governance.StateOpen, Cause: "62 % failed"}},
	}
	raw, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{raw, append([]byte(" \n"), raw...), zip(t, raw)} {
		header := []string{}
		if body[0] == 0x1f {
			header = []string{"Content-Encoding", "gzip"}
		}
		var a governance.ReportAnswer
		k.want(202, k.do(http.MethodPost, governance.ReportsPath, i.token, body, header...)).into(t, &a)
		if a.Version != set.Version || a.Hash != set.Hash {
			t.Fatalf("answered %+v, the stream brought %d %s", a, set.Version, set.Hash)
		}
	}
	var s governance.SeriesResult
	k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/series?command="+reserve+"&from=-5m", "viewer", nil)).into(t, &s)
	if len(s.Points) != 1 || s.Points[0].Counts != (governance.Counts{Success: 4, Failure: 1}) || s.Points[0].Latency == nil {
		t.Fatalf("a report sent three times made %+v", s.Points)
	}
	var events struct{ Items []governance.Event }
	k.want(200, k.do(http.MethodGet, "/api/v1/events?kind=transition&app=shop/inventory", "viewer", nil)).into(t, &events)
	if len(events.Items) != 1 || events.Items[0].Transition.Cause != "62 % failed" {
		t.Fatalf("events %+v", events.Items)
	}
	var app api.AppDetail
	k.until("the instance is known", func() bool {
		k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory", "viewer", nil)).into(t, &app)
		return app.Live == 1
	})
	if len(app.Commands) != 1 || app.Live != 1 || app.Behind != 1 || len(app.Policies) != 1 || app.Instances[0].Current {
		t.Fatalf("the application is %+v", app)
	}
}

func TestGarbageIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	valid := func() governance.Report {
		return governance.Report{Wire: 1, App: inventory, Instance: "a", Boot: "b", Seq: 1, Samples: []governance.Sample{sample(time.Second)}}
	}
	for name, c := range map[string]struct {
		change func(*governance.Report)
		says   string
	}{
		"no version":         {func(r *governance.Report) { r.Wire = 0 }, "body.wire"},
		"no app":             {func(r *governance.Report) { r.App = governance.App{} }, "body.app"},
		"no instance":        {func(r *governance.Report) { r.Instance = "" }, "body.instance"},
		"control characters": {func(r *governance.Report) { r.Instance = "a\nb" }, "body.instance"},
		"no boot":            {func(r *governance.Report) { r.Boot = "" }, "body.boot"},
		"no number":          {func(r *governance.Report) { r.Seq = 0 }, "body.seq"},
		"too many samples": {func(r *governance.Report) {
			r.Samples = make([]governance.Sample, governance.MaxSamples+1)
		}, "at most 10000"},
		"a long command":     {func(r *governance.Report) { r.Samples[0].Command = strings.Repeat("x", 513) }, "body.samples[0].command"},
		"no side":            {func(r *governance.Report) { r.Samples[0].At = "" }, "body.samples[0].at"},
		"no state":           {func(r *governance.Report) { r.Samples[0].State = "ajar" }, "body.samples[0].state"},
		"negative counts":    {func(r *governance.Report) { r.Samples[0].Counts.Slow = -1 }, "body.samples[0].counts"},
		"absurd counts":      {func(r *governance.Report) { r.Samples[0].Counts.Success = 1 << 62 }, "body.samples[0].counts"},
		"negative in flight": {func(r *governance.Report) { r.Samples[0].InFlight = -1 }, "inFlight"},
		"no sketch":          {func(r *governance.Report) { r.Samples[0].Latency = []byte("sketch") }, "body.samples[0].latency"},
		"long ago":           {func(r *governance.Report) { r.Samples[0].Second = 12 }, "set the clock"},
		"far ahead":          {func(r *governance.Report) { r.Samples[0].Second += 3600 }, "set the clock"},
		"a peer":             {func(r *governance.Report) { r.Samples[0].Peer = governance.App{Namespace: "a b", Name: "c"} }, "peer"},
		"negative version":   {func(r *governance.Report) { r.Applied = &governance.Applied{Version: -1} }, "applied.version"},
		"a wrong transition": {func(r *governance.Report) {
			r.Transitions = []governance.Transition{{Series: r.Samples[0].Series, Time: time.Now()}}
		}, "no states"},
		"transitions of 1970": {func(r *governance.Report) { r.Transitions = []governance.Transition{{Series: r.Samples[0].Series}} }, "set the clock"},
	} {
		rep := valid()
		c.change(&rep)
		a := k.do(http.MethodPost, governance.ReportsPath, "operator", rep)
		if a.status != 400 || !strings.Contains(string(a.body), c.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	raw, err := json.Marshal(valid())
	if err != nil {
		t.Fatal(err)
	}
	bomb := zip(t, bytes.Repeat([]byte(" "), api.MaxInflated+1))
	for name, c := range map[string]struct {
		body   []byte
		header []string
		status int
	}{
		"nothing":        {nil, nil, 400},
		"no JSON":        {[]byte("{"), nil, 400},
		"an array":       {[]byte("[]"), nil, 400},
		"two documents":  {append(raw, raw...), nil, 400},
		"not gzip":       {raw, []string{"Content-Encoding", "gzip"}, 400},
		"cut gzip":       {zip(t, raw)[:40], []string{"Content-Encoding", "gzip"}, 400},
		"brotli":         {raw, []string{"Content-Encoding", "br"}, 415},
		"too large":      {bytes.Repeat([]byte("x"), api.MaxWire+1), nil, 413},
		"a gzip bomb":    {bomb, []string{"Content-Encoding", "gzip"}, 413},
		"a foreign app":  {bytes.ReplaceAll(raw, []byte("shop/inventory"), []byte("bank/inventory")), []string{"Authorization", "Bearer pod shop a"}, 403},
		"a foreign pod":  {raw, []string{"Authorization", "Bearer pod shop other"}, 403},
		"nobody's token": {raw, []string{"Authorization", "Bearer x"}, 401},
	} {
		a := k.do(http.MethodPost, governance.ReportsPath, "operator", c.body, c.header...)
		if a.status != c.status || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: answered %d, want %d: %s", name, a.status, c.status, a.body)
		}
	}
	// What is sent without its length is not read beyond the limit either.
	endless, stop := io.Pipe()
	go func() {
		var err error
		for err == nil {
			_, err = stop.Write(bytes.Repeat([]byte(" "), 64<<10))
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.srv.URL+governance.ReportsPath, endless)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer operator")
	resp, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	endless.Close()
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless body is answered %d", resp.StatusCode)
	}
	var list struct{ Items []api.AppSummary }
	k.want(200, k.do(http.MethodGet, "/api/v1/apps", "viewer", nil)).into(t, &list)
	if len(list.Items) != 0 {
		t.Fatalf("garbage left %+v", list.Items)
	}
}

func TestARefusalIsShownWithItsReason(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	i := k.instance(inventory, "a").open()
	first := i.next()
	i.ack(first)
	v := k.put(timeout(inventory, "", time.Second))
	set := i.until(v.Version)
	k.want(202, i.report(func(r *governance.Report) {
		r.Applied = &governance.Applied{Version: first.Version, Hash: first.Hash, Refused: &governance.Refusal{
			Version: set.Version, Hash: set.Hash, Policy: v.Policy.Key().String(), Reason: "no such mode",
		}}
	}))
	var c api.Confirmation
	k.want(200, k.do(http.MethodGet, "/api/v1/policies/shop/inventory.all/status", "viewer", nil)).into(t, &c)
	if c.Refused != 1 || c.Confirmed != 0 || c.Live != 1 || c.Instances[0].Reason != "no such mode" || c.Instances[0].State != api.Refused || c.Instances[0].Applied != first.Version {
		t.Fatalf("%+v", c)
	}
	var events struct{ Items []governance.Event }
	k.want(200, k.do(http.MethodGet, "/api/v1/events?kind=policy.refused", "viewer", nil)).into(t, &events)
	if len(events.Items) != 1 || events.Items[0].Reason != "no such mode" || events.Items[0].Instance != "a" {
		t.Fatalf("events %+v", events.Items)
	}
}

func FuzzReadReport(f *testing.F) {
	now := time.Now()
	raw, err := json.Marshal(governance.Report{
		Wire: 1, App: inventory, Instance: "a", Boot: "b", Seq: 3, Samples: []governance.Sample{sample(time.Second)},
		Transitions: []governance.Transition{{Series: governance.Series{Command: reserve, At: governance.Caller, Peer: orders}, Time: now, From: governance.StateClosed, To: governance.StateOpen}},
		Applied:     &governance.Applied{Version: 3, Hash: "x", Refused: &governance.Refusal{Reason: "no"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, "")
	f.Add(zip(f, raw), "gzip")
	f.Add(zip(f, bytes.Repeat([]byte("["), 10_000)), "gzip")
	f.Add([]byte(`{"wire":1,"samples":[{"latency":"AQEB"}]}`), "identity")
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		rep, err := api.ReadReport(bytes.NewReader(body), encoding, now)
		if err != nil {
			return
		}
		// What is taken is within the limits, and is the same when it is sent on.
		if len(rep.Samples) > governance.MaxSamples || rep.Seq < 1 || rep.Instance == "" || rep.Boot == "" || rep.App.Name == "" {
			t.Fatalf("took %+v", rep)
		}
		again, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.ReadReport(bytes.NewReader(again), "", now); err != nil && len(again) <= api.MaxWire {
			t.Fatal(fmt.Errorf("took what it then refuses: %w", err))
		}
	})
}
