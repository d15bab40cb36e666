package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/internal/httpapi"
)

// Pages stand beside the operations: they neither hide a problem nor a method
// that a path does not take.
func TestPagesAnswerWhatIsNoPartOfAnAPI(t *testing.T) {
	api := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "t", Version: "1"})
	for path, id := range map[string]string{"/api/v1/hello": "hello", "/hook": "hook"} {
		httpapi.Register(api, httpapi.Op[struct{}]{
			Operation: huma.Operation{OperationID: id, Method: http.MethodPost, Path: path}, Public: true,
		}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }) //nolint:nilnil // no content
	}
	api.Pages(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", http.StatusTeapot, ""},
		{"HEAD", "/apps/shop/orders", http.StatusTeapot, ""},
		{"GET", "/apis", http.StatusTeapot, ""},
		{"POST", "/apps", http.StatusNotFound, ""},
		{"POST", "/hook", http.StatusNoContent, ""},
		{"GET", "/hook", http.StatusMethodNotAllowed, "POST"},
		{"GET", "/api", http.StatusNotFound, ""},
		{"GET", "/api/", http.StatusNotFound, ""},
		{"GET", "/api/v2/hello", http.StatusNotFound, ""},
		{"HEAD", "/api/v1/nothing", http.StatusNotFound, ""},
		{"GET", "/api/v1/hello", http.StatusMethodNotAllowed, "POST"},
		{"GET", "/openapi.json", http.StatusOK, ""},
		{"POST", "/openapi.json", http.StatusMethodNotAllowed, "GET, HEAD"},
		{"GET", "/a/../api/v1/hello", http.StatusNotFound, ""},
		{"GET", "//api/v1/hello", http.StatusNotFound, ""},
	} {
		w := httptest.NewRecorder()
		api.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil))
		if w.Code != c.status || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, allows %q; want %d, %q", c.method, c.path, w.Code, w.Header().Get("Allow"), c.status, c.allow)
		}
		if w.Code >= 400 && w.Code != http.StatusTeapot && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d is no problem document", c.method, c.path, w.Code)
		}
	}
}
