package dubboconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what is waited for.
const patience = 20 * time.Second

// world is a control plane with its configuration centre on a port of this machine.
type world struct {
	t       *testing.T
	store   *memory.Store
	service *Service
	server  *run.Server
	ctx     context.Context
}

// pods are who has which address.
type pods map[string]registry.PodName

func (p pods) PodAt(_ context.Context, namespace string, address netip.Addr) (registry.PodName, error) {
	if pod, ok := p[address.String()]; ok && (namespace == "" || namespace == pod.Namespace) {
		return pod, nil
	}
	return registry.PodName{}, &registry.Error{Code: registry.NotFound, Message: "no pod has it"}
}

func (pods) Snapshot(context.Context, registry.App) (registry.Snapshot, error) {
	return registry.Snapshot{}, nil
}

func start(t *testing.T, c Config, with ...func(*world, *Config)) *world {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	w := &world{t: t, store: memory.New(memory.Options{}), ctx: ctx}
	control := api.New(api.Config{Store: w.store})
	c.Policies, c.Store = control, w.store
	for _, more := range with {
		more(w, &c)
	}
	w.service = New(c)
	w.server = run.NewServer(run.ServerConfig{Address: "127.0.0.1:0", H2C: true, Handler: w.service.Handler()})
	var works sync.WaitGroup
	works.Go(func() { _ = control.Run(ctx) })
	works.Go(func() { _ = w.service.Run(ctx) })
	if err := w.server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	w.eventually("the policies are read", func() bool { return control.Ready() == nil })
	t.Cleanup(func() {
		end()
		stop, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := w.server.Stop(stop); err != nil {
			t.Error(err)
		}
		works.Wait()
	})
	return w
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-over:
			w.t.Fatalf("it did not come to be that %s", what)
		}
	}
}

func (w *world) put(p governance.Policy) governance.Version {
	w.t.Helper()
	v, err := w.store.Put(w.ctx, p, 0, governance.Change{Actor: "test", Reason: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// instance is the only one of restock that lives.
func (w *world) instance() (governance.Instance, bool) {
	w.t.Helper()
	all, err := w.store.Instances(w.ctx, restock)
	if err != nil || len(all) > 1 {
		w.t.Fatalf("instances %+v, %v", all, err)
	}
	if len(all) == 0 {
		return governance.Instance{}, false
	}
	return all[0], true
}

// peer is a connection as a client of Nacos' makes it, with the messages that one
// was seen to send.
type peer struct {
	w      *world
	client *http.Client
	url    string
	body   *io.PipeWriter
	told   chan payload
	status chan string // of the stream, once that has ended
}

func (w *world) dial() *peer {
	w.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, MaxConnsPerHost: 1}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &peer{w: w, client: &http.Client{Transport: transport}, url: "http://" + w.server.Addr().String(), told: make(chan payload, 100), status: make(chan string, 1)}
}

// ask sends a request, and returns what it is answered and with which status.
func (p *peer) ask(kind, body string) (payload, string) {
	p.w.t.Helper()
	out, status, err := p.send(requestPath, payload{kind, []byte(body)}.frame())
	if err != nil {
		p.w.t.Fatal(err)
	}
	return out, status
}

func (p *peer) send(path string, frame []byte) (payload, string, error) {
	ctx, done := context.WithTimeout(p.w.ctx, patience)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(frame))
	if err != nil {
		return payload{}, "", err
	}
	req.Header.Set("Content-Type", "application/grpc")
	resp, err := p.client.Do(req)
	if err != nil {
		return payload{}, "", err
	}
	defer resp.Body.Close()
	out, err := read(resp.Body, maxFrame)
	if err != nil && !errors.Is(err, io.EOF) {
		return payload{}, "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return out, resp.Trailer.Get("Grpc-Status") + " " + resp.Trailer.Get("Grpc-Message"), err
}

// open opens the stream, as a client does after its first request, and waits until
// it may ask.
func (p *peer) open() {
	p.w.t.Helper()
	if out, _ := p.ask(kindServerCheck, `{"headers":{},"module":"internal"}`); out.kind != kindServerChecked || !strings.Contains(string(out.body), `"connectionId":"`) {
		p.w.t.Fatalf("the first answer is %s %s", out.kind, out.body)
	}
	p.stream()
	p.say(kindSetup, `{"headers":{},"clientVersion":"Nacos-Java-Client:v2.5.1","tenant":"","labels":{"module":"config","source":"sdk"},"abilityTable":{},"module":"internal"}`)
	if got := p.next(); got.kind != kindSetupAck || !strings.Contains(string(got.body), `"requestId"`) {
		p.w.t.Fatalf("what comes first is %s %s", got.kind, got.body)
	}
}

// stream opens the stream and says nothing.
func (p *peer) stream() {
	p.w.t.Helper()
	r, body := io.Pipe()
	p.body = body
	req, err := http.NewRequestWithContext(p.w.ctx, http.MethodPost, p.url+streamPath, r)
	if err != nil {
		p.w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	resp, err := p.client.Do(req)
	if err != nil {
		p.w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer resp.Body.Close()
		for {
			got, err := read(resp.Body, maxFrame)
			if err != nil {
				p.status <- resp.Trailer.Get("Grpc-Status") + " " + resp.Trailer.Get("Grpc-Message")
				return
			}
			p.told <- got
		}
	}()
	p.w.t.Cleanup(func() { body.Close(); <-ended })
}

func (p *peer) say(kind, body string) {
	p.w.t.Helper()
	if _, err := p.body.Write(payload{kind, []byte(body)}.frame()); err != nil {
		p.w.t.Fatal(err)
	}
}

// next is what the stream says next.
func (p *peer) next() payload {
	p.w.t.Helper()
	select {
	case got := <-p.told:
		return got
	case s := <-p.status:
		p.w.t.Fatalf("the stream has ended: %s", s)
	case <-time.After(patience):
		p.w.t.Fatal("the stream says nothing")
	}
	return payload{}
}

// listen tells what the client holds, and returns the documents that are to be
// fetched.
func (p *peer) listen(tenant string, held map[string]string) []named {
	p.w.t.Helper()
	var contexts []listened
	for name, hash := range held {
		contexts = append(contexts, listened{DataID: name, Group: "dubbo", Tenant: tenant, MD5: hash})
	}
	body, err := json.Marshal(map[string]any{"listen": true, "configListenContexts": contexts})
	if err != nil {
		p.w.t.Fatal(err)
	}
	out, _ := p.ask(kindListen, string(body))
	var got changes
	if err := json.Unmarshal(out.body, &got); err != nil || out.kind != kindListened || !got.Success {
		p.w.t.Fatalf("listening is answered %s %s", out.kind, out.body)
	}
	return got.Changed
}

func (p *peer) fetch(tenant, name string) queried {
	p.w.t.Helper()
	out, _ := p.ask(kindQuery, fmt.Sprintf(`{"dataId":%q,"group":"dubbo","tenant":%q,"module":"config"}`, name, tenant))
	var got queried
	if err := json.Unmarshal(out.body, &got); err != nil || out.kind != kindQueried {
		p.w.t.Fatalf("a query is answered %s %s", out.kind, out.body)
	}
	return got
}

const document1 = "restock.configurators"

func pulled() governance.Policy {
	p := governance.Policy{Target: governance.Target{App: inventory, Command: "InventoryService.reserve", At: governance.Caller}}
	forced(nil)(&p)
	return p
}

// From the first word to a confirmation, and back: what a real client was seen to
// do.
func TestAClientIsToldOfASwitchAndConfirmsIt(t *testing.T) {
	t.Parallel()
	w := start(t, Config{})
	p := w.dial()
	p.open()
	if got := p.fetch("shop", document1); got.Success || got.Code != codeNotFound {
		t.Errorf("with no policy the document is %+v", got)
	}
	if got := p.listen("shop", map[string]string{document1: "", "inventory.tag-router": "", "org.example.shop.InventoryService::.configurators": ""}); len(got) != 0 {
		t.Errorf("there is nothing to fetch, and it is told to fetch %v", got)
	}
	w.eventually("the instance is known, with what it calls", func() bool {
		i, ok := w.instance()
		return ok && i.Applied != nil && len(i.Calls) == 1 && i.Calls[0] == inventory && i.SDK == sdkName
	})

	v := w.put(pulled())
	got := p.next()
	var changed named
	if err := json.Unmarshal(got.body, &changed); err != nil || got.kind != kindChanged || changed != (named{document1, "dubbo", "shop"}) {
		t.Fatalf("it is told %s %s", got.kind, got.body)
	}
	p.say("ConfigChangeNotifyResponse", `{"resultCode":200,"errorCode":0,"success":true}`)
	if got := p.listen("shop", map[string]string{document1: ""}); len(got) != 1 || got[0].DataID != document1 {
		t.Fatalf("it is to fetch %v", got)
	}
	d := p.fetch("shop", document1)
	if !d.Success || !strings.Contains(d.Content, `"reserve.mock": "force:throw"`) || d.MD5 != hashOf(d.Content) {
		t.Fatalf("the document is %+v", d)
	}
	if i, _ := w.instance(); i.Applied.Version >= v.Version {
		t.Error("it counts as confirmed before the client has said that it holds it")
	}
	if got := p.listen("shop", map[string]string{document1: d.MD5}); len(got) != 0 {
		t.Errorf("it holds what it should, and is to fetch %v", got)
	}
	w.eventually("it has confirmed", func() bool { i, _ := w.instance(); return i.Applied.Version >= v.Version })

	gone, err := w.store.Delete(w.ctx, v.Policy.Key(), v.Version, governance.Change{Actor: "test", Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	p.next()
	if got := p.fetch("shop", document1); got.Code != codeNotFound {
		t.Errorf("released, the document is %+v", got)
	}
	p.listen("shop", map[string]string{document1: ""})
	w.eventually("the release is confirmed", func() bool { i, _ := w.instance(); return i.Applied.Version >= gone.Version })
}

// One that comes with what it held before is told what has changed meanwhile.
func TestAClientThatComesBackIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	w := start(t, Config{})
	v := w.put(pulled())
	p := w.dial()
	p.open()
	var d queried
	w.eventually("the policy is known", func() bool { d = p.fetch("shop", document1); return d.Success })
	p.listen("shop", map[string]string{document1: d.MD5, "inventory.tag-router": ""})
	w.eventually("it has confirmed", func() bool { i, ok := w.instance(); return ok && i.Applied != nil && i.Applied.Version >= v.Version })
	p.body.Close()
	<-p.status

	p = w.dial()
	p.open()
	if got := p.listen("shop", map[string]string{document1: "0123456789abcdef0123456789abcdef", "inventory.condition-router": "1", "restock.script-router": "2"}); len(got) != 3 {
		t.Errorf("of three documents that are not so here, it is to fetch %v", got)
	}
	if got := p.listen("shop", map[string]string{document1: d.MD5}); len(got) != 0 {
		t.Errorf("it holds what it should, and is to fetch %v", got)
	}
	if i, ok := w.instance(); !ok || i.Applied.Version < v.Version {
		t.Errorf("the instance is %+v, %v", i, ok)
	}
}

// What is kept of one client is read by everybody, so what is no name is not kept.
func TestOnlyNamesAreKeptOfWhatAClientCalls(t *testing.T) {
	t.Parallel()
	w := start(t, Config{})
	p := w.dial()
	p.open()
	held := map[string]string{document1: "", "inventory.tag-router": ""}
	for _, name := range []string{"a/b", "\x00", "a\x00b", "a b", "Inventory", strings.Repeat("a", maxName+1), strings.Repeat("/", 1<<20), ""} {
		held[name+".tag-router"] = ""
	}
	p.listen("shop", held)
	w.eventually("the instance is known, with what it calls", func() bool { i, ok := w.instance(); return ok && len(i.Calls) > 0 })
	if i, _ := w.instance(); len(i.Calls) != 1 || i.Calls[0] != inventory {
		t.Errorf("it calls %q", i.Calls)
	}
}

func TestWhoAClientIs(t *testing.T) {
	t.Parallel()
	pod := registry.PodName{Namespace: "shop", Name: "restock-7d4", ID: "uid-1"}
	for name, c := range map[string]struct {
		registry Registry
		tenant   string
		id, said string
	}{
		"a pod":                                 {pods{"127.0.0.1": pod}, "", "uid-1", ""},
		"a pod that names its namespace":        {pods{"127.0.0.1": pod}, "shop", "uid-1", ""},
		"a pod that names another":              {pods{"127.0.0.1": {Namespace: "bank", ID: "uid-1"}}, "shop", "", "of a pod of namespace bank, which cannot be of shop"},
		"no pod, with a namespace":              {pods{}, "shop", "dubbo@127.0.0.1", ""},
		"no pod, and no cluster":                {nil, "shop", "dubbo@127.0.0.1", ""},
		"nobody":                                {pods{}, "", "", "name the namespace of restock"},
		"a namespace that there cannot be":      {pods{}, "Shop!", "", "has to be that of a Service"},
		"nobody, as there is no cluster to ask": {nil, "", "", "name the namespace of restock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, Config{Registry: c.registry})
			p := w.dial()
			p.open()
			if c.said != "" {
				if got := p.fetch(c.tenant, document1); got.Success || got.Code != codeFailed || !strings.Contains(got.Message, c.said) {
					t.Errorf("it is answered %+v", got)
				}
				return
			}
			p.listen(c.tenant, map[string]string{document1: ""})
			w.eventually("the instance is known", func() bool { i, ok := w.instance(); return ok && i.ID == c.id })
		})
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t, Config{MaxClients: 1})
	p := w.dial()
	if out, _ := p.ask(kindQuery, `{}`); out.kind != kindError || !strings.Contains(string(out.body), `"errorCode":301`) {
		t.Errorf("before its stream it is answered %s %s", out.kind, out.body)
	}
	p.open()
	for kind, want := range map[string]string{
		kindPublish: "publish a policy", kindRemove: "publish a policy", "InstanceRequest": "no names of services",
	} {
		if out, status := p.ask(kind, `{"dataId":"restock.configurators","group":"dubbo","content":"x"}`); !strings.HasPrefix(status, "0") || !strings.Contains(string(out.body), want) || !strings.Contains(string(out.body), `"success":false`) {
			t.Errorf("a %s is answered %s %s", kind, out.body, status)
		}
	}
	for name, c := range map[string]struct {
		path   string
		frame  []byte
		status string
	}{
		"no protocol buffer": {requestPath, []byte{0, 0, 0, 0, 2, 0xff, 0xff}, "3 "},
		"no type":            {requestPath, []byte{0, 0, 0, 0, 0}, "3 "},
		"cut off":            {requestPath, []byte{0, 0, 0, 0, 9, 1}, "3 "},
		"compressed":         {requestPath, []byte{1, 0, 0, 0, 0}, "12 "},
		"too large":          {requestPath, []byte{0, 0xff, 0, 0, 0}, "8 "},
		"a long id":          {requestPath, payload{kindHealthCheck, []byte(`{"requestId":"` + strings.Repeat("1", maxID+1) + `"}`)}.frame(), "3 "},
		"no JSON":            {requestPath, payload{kindQuery, []byte("x")}.frame(), "3 "},
		"JSON of other kind": {requestPath, payload{kindListen, []byte(`{"configListenContexts":{}}`)}.frame(), "3 "},
		"another call":       {"/Naming/list", payload{kindQuery, nil}.frame(), "12 "},
		"a second stream":    {streamPath, nil, "3 "},
	} {
		_, status, err := p.send(c.path, c.frame)
		if err != nil || !strings.HasPrefix(status, c.status) || len(status) < 10 {
			t.Errorf("%s is answered %q, %v", name, status, err)
		}
	}
	large := payload{kindServerCheck, make([]byte, maxSmall)}.frame()
	if _, status, err := w.dial().send(requestPath, large); err != nil || !strings.HasPrefix(status, "8 ") {
		t.Errorf("a large message without a stream is answered %q, %v", status, err)
	}
	if _, status, err := w.dial().send(streamPath, nil); err != nil || !strings.HasPrefix(status, "8 ") {
		t.Errorf("one client too many is answered %q, %v", status, err)
	}
	if out, _ := p.ask(kindHealthCheck, `{}`); out.kind != kindHealthChecked {
		t.Errorf("after all of that it is answered %s", out.kind)
	}
	resp, err := http.Get(p.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNotFound || !strings.Contains(string(text), "nacos://") {
		t.Errorf("a browser is answered %s %s", resp.Status, text)
	}
}

// A stream that says what is no message ends, and its client is no more.
func TestAStreamThatIsNoneEnds(t *testing.T) {
	t.Parallel()
	w := start(t, Config{})
	p := w.dial()
	p.open()
	if _, err := p.body.Write([]byte{0, 0, 0, 0, 2, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if status := <-p.status; !strings.HasPrefix(status, "3 ") {
		t.Errorf("it ends with %q", status)
	}
	w.eventually("the client is gone", func() bool { return w.clients() == 0 })
}

func (w *world) clients() int {
	w.service.mu.Lock()
	defer w.service.mu.Unlock()
	return len(w.service.clients)
}

// Streams end when the server stops, within its time.
func TestStreamsEndWhenTheServerStops(t *testing.T) {
	t.Parallel()
	w := start(t, Config{})
	p := w.dial()
	p.open()
	ctx, done := context.WithTimeout(w.ctx, patience)
	defer done()
	if err := w.server.Stop(ctx); err != nil {
		t.Error(err)
	}
	if status := <-p.status; !strings.HasPrefix(status, "14 ") || !strings.Contains(status, "stops") {
		t.Errorf("the stream ends with %q", status)
	}
	if _, err := net.DialTimeout("tcp", w.server.Addr().String(), patience); err == nil {
		t.Error("it still listens")
	}
}

// A client that has been here for long is asked to connect anew, which spreads
// clients over control planes that were added.
func TestAnOldConnectionIsAskedToConnectAnew(t *testing.T) {
	t.Parallel()
	w := start(t, Config{MaxAge: time.Millisecond})
	p := w.dial()
	p.stream()
	p.say(kindSetup, `{}`)
	for p.next().kind != kindConnectReset {
	}
	// One that stays is let go, and not asked for ever.
	if status := <-p.status; !strings.HasPrefix(status, "14 ") || !strings.Contains(status, "stays") {
		t.Errorf("its stream ends with %q", status)
	}
	if len(p.told) > 0 {
		t.Errorf("it was told %s, too", (<-p.told).kind)
	}
}
