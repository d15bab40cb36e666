package dubboconfig

import (
	"bytes"
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
)

// frames are messages that a Dubbo 3.3.6 consumer with nacos-client 2.5.1 sent, as
// they came.
func frames(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "frames", "*"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d frames, %v", len(files), err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		if out[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestWhatARealClientSendsIsRead(t *testing.T) {
	t.Parallel()
	for name, frame := range frames(t) {
		p, err := read(bytes.NewReader(frame), maxFrame)
		kind, _, _ := strings.Cut(name, "-")
		if err != nil || p.kind != kind {
			t.Errorf("%s is %q, %v", name, p.kind, err)
			continue
		}
		r, err := parseRequest(p)
		switch {
		case err != nil:
		case kind == kindSetup && r.Version != "Nacos-Java-Client:v2.5.1":
			t.Errorf("%s is of version %q", name, r.Version)
		case kind == kindQuery && (r.DataID != "cons.configurators" || r.Group != dubboGroup || r.Tenant != "shop"):
			t.Errorf("%s asks for %q of %q in %q", name, r.DataID, r.Group, r.Tenant)
		case kind == kindListen && (len(r.Contexts) == 0 || r.Listen == nil || !*r.Listen || r.Contexts[0].Group != dubboGroup):
			t.Errorf("%s is %+v", name, r)
		default:
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzFrames holds that nothing a client may send ends the process, takes more than
// it may, or is answered with what cannot be read.
func FuzzFrames(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame)
	}
	f.Add(payload{kindListen, []byte(`{"configListenContexts":[{"dataId":"a.configurators","group":"dubbo","tenant":"shop","md5":"x"},{"dataId":"b.tag-router","group":"dubbo"}]}`)}.frame())
	f.Add(payload{kindListen, []byte(`{"configListenContexts":[{"dataId":"a/b.tag-router","group":"dubbo"},{"dataId":"\\u0000.tag-router","group":"dubbo"},{"dataId":" .tag-router","group":"dubbo"}]}`)}.frame())
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	store := memory.New(memory.Options{})
	s := New(Config{Policies: api.New(api.Config{Store: store}), Store: store})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			p, err := read(r, maxFrame)
			if err != nil {
				return
			}
			again, err := read(bytes.NewReader(p.frame()), maxFrame)
			if err != nil || again.kind != p.kind || !bytes.Equal(again.body, p.body) {
				t.Fatalf("%q written is read as %q, %v", p.kind, again.kind, err)
			}
			req, err := parseRequest(p)
			if err != nil {
				return
			}
			c := newClient("fuzz", netip.AddrPort{}, time.Now())
			close(c.setUp)
			s.mu.Lock()
			s.clients["fuzz"] = c
			s.mu.Unlock()
			out := s.answer(t.Context(), "fuzz", p.kind, req)
			if len(c.calls) > len(req.Contexts) || out.kind == "" {
				t.Fatalf("%q is answered %q", p.kind, out.kind)
			}
			for _, call := range c.calls {
				call.Namespace = cmp.Or(call.Namespace, "shop") // it is not known before the client is
				if again, err := governance.ParseApp(call.String()); err != nil || again != call || len(call.Name) > maxName || strings.ContainsRune(call.Name, 0) {
					t.Fatalf("%q is kept as called, and read as %q, %v", call, again, err)
				}
			}
			if _, err := read(bytes.NewReader(out.frame()), maxFrame); err != nil {
				t.Fatal(err)
			}
		}
	})
}
