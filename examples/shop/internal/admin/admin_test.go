package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func start(t *testing.T, ready func(context.Context) error) string {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_test_total", Help: "a test's"})
	reg.MustRegister(c)
	c.Add(3)
	s, err := Start(Config{
		Address: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Metrics: reg, Ready: ready,
		Stats: func() any { return map[string]int{"ok": 7} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadinessFollowsTheProcessAndLivenessDoesNot(t *testing.T) {
	var ready atomic.Bool
	url := start(t, func(context.Context) error {
		if ready.Load() {
			return nil
		}
		return errors.New("not registered yet")
	})
	if code, body := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "not registered yet") {
		t.Errorf("before: %d %q", code, body)
	}
	if code, _ := get(t, url+"/livez"); code != http.StatusOK {
		t.Errorf("livez %d while not ready", code)
	}
	ready.Store(true)
	if code, body := get(t, url+"/readyz"); code != http.StatusOK {
		t.Errorf("after: %d %q", code, body)
	}
}

func TestMetricsAndStats(t *testing.T) {
	url := start(t, func(context.Context) error { return nil })
	if code, body := get(t, url+"/metrics"); code != http.StatusOK || !strings.Contains(body, "shop_test_total 3") {
		t.Errorf("metrics: %d %q", code, body)
	}
	code, body := get(t, url+"/stats")
	var stats map[string]int
	if err := json.Unmarshal([]byte(body), &stats); code != http.StatusOK || err != nil || stats["ok"] != 7 {
		t.Errorf("stats: %d %q %v", code, body, err)
	}
}

func TestStartNamesTheFlagWhenThePortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(Config{Address: l.Addr().String(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "-admin-address") {
		t.Errorf("error %v", err)
	}
}
