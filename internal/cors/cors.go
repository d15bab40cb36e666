// Package cors answers browsers that ask from other origins, as Zipkin does:
// without credentials, for GET and POST.
package cors

import (
	"net/http"
	"slices"
)

// Any allows every origin.
const Any = "*"

// Wrap answers preflight requests of the origins listed and lets them read what h
// answers; others get no header of it, and h's answer.
func Wrap(h http.Handler, origins []string) http.Handler {
	all := slices.Contains(origins, Any)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		allowed := origin != "" && (all || slices.Contains(origins, origin))
		if allowed {
			if all {
				w.Header().Set("Access-Control-Allow-Origin", Any)
			} else {
				w.Header().Set("Access-Control-Allow-Origin", origin)
			}
		}
		if !all {
			w.Header().Add("Vary", "origin") // also where it is not allowed: caches keep that
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			if allowed {
				w.Header().Set("Access-Control-Allow-Methods", "GET,POST")
				w.Header().Set("Access-Control-Allow-Headers", "content-type,content-encoding,authorization")
				w.Header().Set("Access-Control-Max-Age", "7200")
			}
			w.WriteHeader(http.StatusOK)
			return
		}
		h.ServeHTTP(w, r)
	})
}
