package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// AnyVersion is what Expect returns when the client expects nothing; it is
// gateway.AnyRevision and governance.AnyVersion.
const AnyVersion = -1

// ETag is the entity tag of a revision or version.
func ETag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// Precondition are the headers by which a writer says what they have seen.
// Embed it in an input.
type Precondition struct {
	IfMatch     string `header:"If-Match" doc:"The ETag that was read: the write is refused with 412 if somebody changed it since."`
	IfNoneMatch string `header:"If-None-Match" doc:"* writes only what does not exist yet."`
}

// Expect returns the version that the writer has seen: 0 for what must not
// exist yet, AnyVersion for whatever is there.
func (p Precondition) Expect() (int64, error) {
	switch {
	case p.IfMatch != "" && p.IfNoneMatch != "":
		return 0, BadRequest("header.If-None-Match", "it cannot stand beside If-Match")
	case p.IfNoneMatch == "*":
		return 0, nil
	case p.IfNoneMatch != "":
		return 0, BadRequest("header.If-None-Match", "a write takes * here, for what must not exist yet")
	case p.IfMatch == "":
		return AnyVersion, nil
	}
	version, err := parseETag(p.IfMatch)
	if err != nil {
		return 0, BadRequest("header.If-Match", `it takes the ETag of one version, such as "12"`)
	}
	return version, nil
}

func parseETag(tag string) (int64, error) {
	tag = strings.TrimSpace(tag)
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return 0, fmt.Errorf("%q is no ETag", tag)
	}
	version, err := strconv.ParseUint(tag[1:len(tag)-1], 10, 63)
	return int64(version), err
}

// Unmodified is the header by which a reader says what they have. Embed it in an
// input.
type Unmodified struct {
	IfNoneMatch string `header:"If-None-Match" doc:"The ETag that you have: the answer is 304 if it is still the newest."`
}

// Check returns an error that answers 304 when the reader has etag already, nil
// when the answer is to be sent.
func (u Unmodified) Check(etag string) error {
	for tag := range strings.SplitSeq(u.IfNoneMatch, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return (&Problem{ErrorModel: huma.ErrorModel{Status: http.StatusNotModified}}).WithHeader("ETag", etag)
		}
	}
	return nil
}

// MaxWait bounds ?wait=.
const MaxWait = 30 * time.Second

// Wait is the query parameter by which a writer waits until all have what was
// written. Embed it in an input.
type Wait struct {
	Wait Duration `query:"wait" doc:"How long to wait until all have it, such as 5s; at most 30s."`
}

// Duration returns how long to wait, 0 for not at all.
func (w Wait) Duration() (time.Duration, error) {
	if d := w.Wait.Duration; d < 0 || d > MaxWait {
		return 0, BadRequest("query.wait", fmt.Sprintf("it takes 0s to %s", MaxWait))
	}
	return w.Wait.Duration, nil
}

// Duration is a duration in a query, such as 5s or 1h30m.
type Duration struct{ time.Duration } //nolint:recvcheck // it is read into, and otherwise a value

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: write one such as 5s or 1h30m", text)
	}
	d.Duration = v
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Schema implements huma.SchemaProvider.
func (Duration) Schema(r huma.Registry) *huma.Schema { return durationSchema{}.Schema(r) }
