package pg

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Heard knows when a database was last heard from by any statement of a pool: see
// Options.Heard. Its zero value has heard nothing. It is safe for concurrent use.
type Heard struct{ last atomic.Int64 }

var _ pgx.QueryTracer = (*Heard)(nil)

// Last is when a statement was last answered; zero for never.
func (h *Heard) Last() time.Time {
	if at := h.last.Load(); at != 0 {
		return time.Unix(0, at).UTC()
	}
	return time.Time{}
}

// TraceQueryStart implements pgx.QueryTracer.
func (h *Heard) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer. A refusal is an answer too, unless the
// server says that it goes.
func (h *Heard) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	var server *pgconn.PgError
	if data.Err == nil || errors.As(data.Err, &server) && server.Code[:2] != "57" {
		h.last.Store(time.Now().UnixNano())
	}
}
