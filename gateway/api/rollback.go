package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
)

func (s *server) registerRollback(a *httpapi.API) {
	rollback := withBody(op("rollback-route", http.MethodPost, "/api/v1/routes/{namespace}/{name}/rollback", "Write an earlier version of a route again, as a new one",
		"The version is named by its revision, as the history has it; a route that was deleted comes back. Preconditions and parameters are those of a write."), exampleRollback)
	rollback.SkipValidateBody = false // a schema says all of it
	httpapi.Register(a, httpapi.Op[rollbackIn]{
		Operation: rollback,
		Role:      access.Operator, Write: true,
		Namespace: func(in *rollbackIn) string { return in.Namespace },
		Object:    func(in *rollbackIn) string { return rehearsed(in.DryRun) + "route " + in.key().String() },
	}, s.rollback)
}

// Rollback says what to go back to.
type Rollback struct {
	Revision gateway.Revision `json:"revision" minimum:"1" doc:"Of the version whose document is written again."`
}

type rollbackIn struct {
	RoutePath
	httpapi.Precondition
	How
	Body Rollback
}

func (s *server) rollback(ctx context.Context, in *rollbackIn) (*writeOut, error) {
	expect, err := in.Expect()
	if err != nil {
		return nil, err
	}
	v, err := s.store.Version(ctx, in.key(), in.Body.Revision)
	if err != nil {
		return nil, err
	}
	if v.Deleted {
		return nil, httpapi.NewProblem(http.StatusUnprocessableEntity,
			fmt.Sprintf("route %s was deleted at revision %d: delete it, or name a version that was there", in.key(), v.Revision), httpapi.At("body.revision", "is a deletion"))
	}
	if v.Unreadable != "" {
		return nil, httpapi.NewProblem(http.StatusUnprocessableEntity,
			fmt.Sprintf("route %s cannot be read at revision %d: %s", in.key(), v.Revision, v.Unreadable), httpapi.At("body.revision", v.Unreadable))
	}
	// It was valid once; what is asked of routes may have become more since.
	if err := v.Route.Validate(); err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err)
	}
	return s.change(ctx, []gateway.Write{{Route: v.Route, Expect: gateway.Revision(expect)}}, in.How, func(int) string { return "body.revision" })
}
