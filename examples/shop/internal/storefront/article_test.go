package storefront

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"

	"shop.example/api/catalogue"
)

// shelf is a catalogue with a lamp in it.
type shelf struct{ asked <-chan struct{} }

func (s shelf) Article(ctx context.Context, sku string, _ ...client.CallOption) (*catalogue.Article, error) {
	select { // delivery is being asked
	case <-s.asked:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if sku != "lamp" {
		return nil, &hessian2.GenericException{ExceptionClass: unknownSku, ExceptionMessage: "there is no " + sku}
	}
	return &catalogue.Article{Sku: sku}, nil
}

// A delivery that does not answer ends with the article, and not before: it would
// wait for ever here.
func TestArticlesDoNotWaitForADeliveryThatHangs(t *testing.T) {
	asked := make(chan struct{})
	delivery := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer delivery.Close()
	s := &Service{Catalogue: shelf{asked}, Delivery: delivery.URL, HTTP: delivery.Client()}
	for sku, want := range map[string]int{"lamp": http.StatusOK, "ghost": http.StatusNotFound} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/article/"+sku, nil))
		var a Article
		if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != want || err != nil || a.Delivery != nil {
			t.Errorf("%s: %d %s, %v", sku, w.Code, w.Body, err)
		}
	}
}
