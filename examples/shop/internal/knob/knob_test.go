package knob

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKnobsTurnBackByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard(time.Now, "reserve", "stock")
		if err := b.Turn("reserve", Setting{Latency: Duration(time.Second), ErrorPercent: 100, For: Duration(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := b.Feel(t.Context(), "reserve"); !errors.Is(err, ErrInjected) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("took %s", took)
		}
		if err := b.Feel(t.Context(), "stock"); err != nil {
			t.Errorf("another operation felt it: %v", err)
		}
		<-time.After(time.Minute) // of the bubble
		if err := b.Feel(t.Context(), "reserve"); err != nil {
			t.Errorf("after its time: %v", err)
		}
		if left := b.Settings(); len(left) != 0 {
			t.Errorf("still turned: %v", left)
		}
	})
}

func TestHandler(t *testing.T) {
	b := NewBoard(time.Now, "reserve")
	srv := httptest.NewServer(b.Handler())
	defer srv.Close()
	do := func(method, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/knobs", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for body, want := range map[string]string{
		`{"sell": {"errorPercent": 1}}`:      "there are reserve",
		`{"reserve": {}}`:                    "neither latency nor errorPercent",
		`{"reserve": {"errorPercent": 101}}`: "between 0 and 100",
		`{"reserve": {"latency": 3}}`:        "no duration",
		`{"reserve": {"errors": 3}}`:         "unknown field",
	} {
		if code, text := do(http.MethodPut, body); code != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("PUT %s: %d %s", body, code, text)
		}
	}
	if code, text := do(http.MethodPut, `{"reserve": {"errorPercent": 30, "for": "10s"}}`); code != http.StatusOK || !strings.Contains(text, `"errorPercent":30`) {
		t.Errorf("PUT: %d %s", code, text)
	}
	if _, text := do(http.MethodGet, ""); !strings.Contains(text, "reserve") {
		t.Errorf("GET: %s", text)
	}
	if _, text := do(http.MethodDelete, ""); strings.TrimSpace(text) != "{}" {
		t.Errorf("DELETE: %s", text)
	}
}
