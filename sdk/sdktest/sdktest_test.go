package sdktest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stock is a service as its developer would write it.
type stock struct{ kit *sdk.Kit }

func (s stock) left(ctx context.Context) (int, error) {
	c := s.kit.Breakers().Circuit(governance.Series{Command: "left", At: governance.Provider})
	return breaker.Do(ctx, c, func(context.Context) (int, error) { return 7, nil })
}

// TestAsItsUsersDo is the example of docs/sdk.md.
func TestAsItsUsersDo(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/stock")
	service := stock{kit}
	if n, err := service.left(t.Context()); n != 7 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}

	pull := sdktest.Switch("shop/stock", "left")
	pull.Fallback = &governance.Fallback{Value: json.RawMessage("0")}
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	if n, err := service.left(t.Context()); n != 0 || err != nil {
		t.Errorf("with the switch pulled: %d, %v", n, err)
	}

	mesh.Down() // a service runs on without its control plane
	if n, err := service.left(t.Context()); n != 0 || err != nil {
		t.Errorf("without a control plane: %d, %v", n, err)
	}

	mesh.Heal()
	mesh.Wait(t, "the stream to be back", func() bool { return len(mesh.Instances()) == 1 })
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := mesh.Counts("shop/stock", "left"); c.Success != 1 || c.Switched != 2 || c.FallbackSuccess != 2 {
		t.Errorf("told of %+v", c)
	}
}

func TestBadRequests(t *testing.T) {
	mesh := sdktest.New()
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"GET", governance.StreamPath, 400}, {"GET", governance.StreamPath + "?app=a&instance=i&wire=1", 400},
		{"GET", governance.StreamPath + "?app=a/b&instance=i&wire=1&calls=x", 400}, {"GET", governance.StreamPath + "?app=a/b&instance=i&wire=9", 400},
		{"POST", governance.ReportsPath, 400}, {"POST", "/api/v2/spans", 400}, {"GET", "/nowhere", 404},
	} {
		w := httptest.NewRecorder()
		mesh.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.target, http.NoBody))
		if w.Code != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.target, w.Code, tt.want)
		}
	}
}
