package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/api"
)

func TestRollback(t *testing.T) {
	t.Parallel()
	f := start(t)
	const cart = "/api/v1/routes/shop/cart"
	back := func(body, query string, header ...string) answer {
		t.Helper()
		return f.do(http.MethodPost, cart+"/rollback"+query, body, header...)
	}
	first := f.result(f.do(http.MethodPut, cart, route("cart", `,"priority":1`)), http.StatusCreated).Revision
	second := f.result(f.do(http.MethodPut, cart, route("cart", `,"priority":2`)), http.StatusOK).Revision
	to := fmt.Sprintf(`{"revision":%d}`, first)

	f.refused(back(to, "", "If-Match", fmt.Sprintf("%q", fmt.Sprint(first))), http.StatusPreconditionFailed)
	if r := f.result(back(to, "?dryRun=true"), http.StatusOK); !r.DryRun || len(r.Changes) != 1 || r.Changes[0].Action != api.Update || f.revision() != second {
		t.Errorf("rehearsed: %+v", r)
	}
	got := back(to, "?wait=1ms", "If-Match", fmt.Sprintf("%q", fmt.Sprint(second)), "Weir-Reason", "it was better")
	third := f.result(got, http.StatusOK)
	if third.Revision != second+1 || third.Served == nil || *third.Served || got.header.Get("ETag") != fmt.Sprintf("%q", fmt.Sprint(third.Revision)) {
		t.Errorf("%+v, %v", third, got.header)
	}
	v, err := f.store.Get(t.Context(), gateway.Key{Namespace: "shop", Name: "cart"})
	if err != nil || v.Route.Priority != 1 || v.Actor != "token:deploy" || v.Reason != "it was better" {
		t.Errorf("%+v, %v", v, err)
	}
	if e := f.journal.last(); e.Action != "rollback-route" || e.Object != "route shop/cart" || e.Outcome != "ok" || e.Revision != int64(third.Revision) {
		t.Errorf("audited %+v", e)
	}
	if r := f.result(back(to, ""), http.StatusOK); r.Revision != third.Revision || r.Changes[0].Action != api.None {
		t.Errorf("what is so already: %+v", r)
	}

	// One that was deleted comes back, but not to its deletion.
	gone := f.result(f.do(http.MethodDelete, cart, ""), http.StatusOK).Revision
	f.refused(back(fmt.Sprintf(`{"revision":%d}`, gone), ""), http.StatusUnprocessableEntity, "body.revision")
	if r := f.result(back(fmt.Sprintf(`{"revision":%d}`, second), "", "If-None-Match", "*"), http.StatusCreated); r.Changes[0].Action != api.Create {
		t.Errorf("%+v", r)
	}

	f.refused(back(`{"revision":77}`, ""), http.StatusNotFound)
	f.refused(back(`{"revision":0}`, ""), http.StatusUnprocessableEntity, "body.revision")
	f.refused(back(`{}`, ""), http.StatusUnprocessableEntity, "body")
	f.refused(back(to, "", "Authorization", "Bearer viewer"), http.StatusForbidden)
	f.refused(back(to, "", "Authorization", "Bearer bank"), http.StatusForbidden)
	f.refused(back(to, "", "Weir-Reason", ""), http.StatusBadRequest)
}

// An application that is gone is as much in doubt as on any other write.
func TestRollbackToAnUnknownApplication(t *testing.T) {
	t.Parallel()
	f := start(t)
	const late = "/api/v1/routes/shop/late"
	body := strings.Replace(route("late", ""), "shop/storefront", "shop/later", 1)
	first := f.result(f.do(http.MethodPut, late+"?allowUnknown=true", body), http.StatusCreated).Revision
	f.result(f.do(http.MethodPut, late, route("late", "")), http.StatusOK)
	to := fmt.Sprintf(`{"revision":%d}`, first)
	f.refused(f.do(http.MethodPost, late+"/rollback", to), http.StatusUnprocessableEntity, "body.revision.upstream.app")
	if r := f.result(f.do(http.MethodPost, late+"/rollback?allowUnknown=true", to), http.StatusOK); len(r.Warnings) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestHistoryOfOneRevision(t *testing.T) {
	t.Parallel()
	f := start(t)
	const cart = "/api/v1/routes/shop/cart"
	first := f.result(f.do(http.MethodPut, cart, route("cart", `,"priority":1`)), http.StatusCreated).Revision
	f.result(f.do(http.MethodPut, cart, route("cart", `,"priority":2`)), http.StatusOK)
	gone := f.result(f.do(http.MethodDelete, cart, ""), http.StatusOK).Revision
	for rev, want := range map[gateway.Revision]int{first: 1, gone: 2} {
		var h api.History
		f.do(http.MethodGet, fmt.Sprintf("%s/history?revision=%d", cart, rev), "").into(t, &h)
		if len(h.Items) != 1 || h.Items[0].Revision != rev || h.Items[0].Route.Priority != want || h.Items[0].Route.Match.Path != "/cart/{id}" || h.Items[0].Deleted != (rev == gone) {
			t.Errorf("%d: %+v", rev, h)
		}
	}
	f.refused(f.do(http.MethodGet, cart+"/history?revision=77", ""), http.StatusNotFound)
	f.refused(f.do(http.MethodGet, cart+"/history?revision=0", ""), http.StatusUnprocessableEntity, "query.revision")
}
