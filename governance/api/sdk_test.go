package api_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
)

type reservation struct {
	Reserved bool `json:"reserved"`
}

// TestTheSDKObeys runs the real client end to end: policies from the first
// stream on, a switch that is confirmed, what happened as history, and the
// switch's end by the instance alone.
func TestTheSDKObeys(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	k := onPostgres(t, db.URL, api.Config{DrainOver: time.Millisecond})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("pod shop uid-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	kit, err := sdk.Start(t.Context(), sdk.Config{
		App: "shop/inventory", Instance: "uid-1", Name: "inventory-1", ControlURL: k.srv.URL, TracingURL: sdk.Off,
		TokenFile: token, StateDir: t.TempDir(), Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = kit.Close(ctx) // the control plane is gone by then
	})
	circuit := kit.Breakers().Circuit(governance.Series{Command: reserve, At: governance.Provider})
	call := func() (reservation, error) {
		return breaker.Do(t.Context(), circuit, func(context.Context) (reservation, error) { return reservation{Reserved: true}, nil })
	}
	if got, err := call(); err != nil || !got.Reserved {
		t.Fatalf("a call under no policy: %+v, %v", got, err)
	}
	k.until("the instance is known", func() bool {
		var app api.AppDetail
		res := k.do(http.MethodGet, "/api/v1/apps/shop/inventory", "viewer", nil)
		return res.status == 200 && func() bool { res.into(t, &app); return app.Live == 1 && app.Behind == 0 }()
	})
	body := pull(reserve)
	body.For = governance.Duration(time.Hour)
	var got api.PolicyAnswer
	k.want(200, k.do(http.MethodPost, "/api/v1/switches?wait=25s", "operator", body)).into(t, &got)
	if !got.Confirmation.All() {
		t.Fatalf("%+v", got.Confirmation)
	}
	if r, err := call(); err != nil || r.Reserved {
		t.Fatalf("a call while the switch is pulled: %+v, %v", r, err)
	}
	k.until("the refusal is in the history", func() bool {
		var s governance.SeriesResult
		k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/series?command="+reserve+"&from=-5m", "viewer", nil)).into(t, &s)
		var c governance.Counts
		for _, p := range s.Points {
			c = c.Add(p.Counts)
		}
		return c.Success >= 1 && c.Switched >= 1
	})
	k.until("the forced opening is an event", func() bool {
		var events struct{ Items []governance.Event }
		k.want(200, k.do(http.MethodGet, "/api/v1/events?kind=transition", "viewer", nil)).into(t, &events)
		return len(events.Items) > 0 && events.Items[0].Transition.To == governance.StateForcedOpen && events.Items[0].Version == got.Version.Version
	})
	// The control plane goes. The switch releases at its time all the same.
	body.For = governance.Duration(1500 * time.Millisecond)
	k.want(200, k.do(http.MethodPost, "/api/v1/switches?wait=25s", "operator", body)).into(t, &got)
	if !got.Confirmation.All() {
		t.Fatalf("%+v", got.Confirmation)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := k.api.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	k.srv.CloseClientConnections()
	k.srv.Listener.Close()
	k.until("the switch released by itself", func() bool {
		r, err := call()
		if err != nil {
			t.Fatal(err)
		}
		if r.Reserved && time.Now().Before(got.Policy.Expires.Add(-time.Second)) {
			t.Fatal("it released before its time")
		}
		return r.Reserved
	})
}
