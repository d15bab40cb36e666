package dubbo

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// tripleClient is one endpoint of the Triple protocol.
type tripleClient struct {
	transport *http.Transport
	address   string
	maxAnswer int
}

func newTripleClient(address string, cfg clientConfig) *tripleClient {
	cfg = cfg.withDefaults()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &tripleClient{
		address: address, maxAnswer: cfg.maxAnswer,
		transport: &http.Transport{
			Protocols: protocols, DisableCompression: true,
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, connectTimeout)
				defer cancel()
				c, err := cfg.dial(ctx, addr)
				if err != nil {
					return nil, &unsentError{fmt.Errorf("connect: %w", err)}
				}
				return c, nil
			},
			IdleConnTimeout: 5 * time.Minute,
			HTTP2:           &http.HTTP2Config{SendPingTimeout: heartbeatAfter, PingTimeout: 10 * time.Second, WriteByteTimeout: writeTimeout},
		},
	}
}

func (c *tripleClient) Close() { c.transport.CloseIdleConnections() }

// post sends one request. Its error is a unsentError, the context's cause, or says
// that the connection broke.
func (c *tripleClient) post(ctx context.Context, path string, h http.Header, body []byte) (*http.Response, error) {
	req := (&http.Request{
		Method: http.MethodPost, Header: h, Host: c.address,
		URL:  &url.URL{Scheme: "http", Host: c.address, Path: path},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	resp, err := c.transport.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var unsent *unsentError
	if errors.As(err, &unsent) {
		return nil, unsent
	}
	return nil, fmt.Errorf("the connection broke while the call was under way: %w", err)
}

// headers are those of every request of a target, whose attachments travel as
// headers.
func (t *target) headers(contentType string) http.Header {
	h := http.Header{"Content-Type": {contentType}, "User-Agent": {"weir"}}
	if t.group != "" {
		h["Tri-Service-Group"] = []string{t.group}
	}
	if t.version != "" {
		h["Tri-Service-Version"] = []string{t.version}
	}
	return h
}

// callHessian makes a generic call in Hessian, wrapped as Triple does for
// methods without an IDL, in a gRPC frame. args is Hessian's Object[].
func (c *tripleClient) callHessian(ctx context.Context, t *target, h http.Header, args []byte, r *reader, bigAsStrings bool) (answer, *callError, error) {
	// Not from a pool: the transport may read it after the answer.
	frame := t.appendWrapped(make([]byte, 0, len(args)+256), args)
	h["Te"] = []string{"trailers"}
	h["Generic"] = []string{"true"}
	h["Grpc-Accept-Encoding"] = []string{"identity"}
	if left, ok := timeLeft(ctx); ok {
		h["Grpc-Timeout"] = []string{strconv.FormatInt(max(1, left.Milliseconds()), 10) + "m"}
	}
	resp, err := c.post(ctx, "/"+t.iface+"/$invoke", h, frame)
	if err != nil {
		return answer{}, nil, err
	}
	defer resp.Body.Close()
	body, err := c.readAll(ctx, resp)
	if err != nil {
		return answer{}, nil, err
	}
	closing := tripleClosing(resp)
	if resp.StatusCode != http.StatusOK {
		return answer{}, httpProblem(resp.StatusCode, body), nil
	}
	status := cmpOr(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status"))
	if status == "" {
		return answer{}, badAnswer("the provider's answer has no status: does it speak Triple?"), nil
	}
	if status != "0" {
		code, err := strconv.Atoi(status)
		if err != nil {
			return answer{}, badAnswer("the provider's answer has the status %q", shorten(status)), nil
		}
		message := cmpOr(resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message"))
		if text, err := url.PathUnescape(message); err == nil {
			message = text
		}
		p := grpcProblem(code, message)
		if closing && resp.Trailer.Get("Generic") == "" && p.Kind == kindException {
			p = leavingRefusal()
		}
		return answer{closing: closing}, p, nil
	}
	data, err := unwrap(body)
	if err != nil {
		return answer{}, badAnswer("%v", err), nil
	}
	r.reset(data)
	r.bigAsStrings = bigAsStrings
	switch {
	case closing && resp.Trailer.Get("Generic") == "" && (len(data) == 0 || len(data) == 1 && data[0] == tagNull):
		return answer{closing: true}, leavingRefusal(), nil
	case len(data) == 0: // void
		r.out = append(r.out, "null"...)
		return answer{json: r.out, closing: closing}, nil, nil
	}
	if code := resp.Header.Get("Tri-Exception-Code"); code != "" && code != "0" { // Dubbo Java
		class, message, err := r.exception()
		if err != nil {
			return answer{}, badAnswer("%v", err), nil
		}
		return answer{closing: closing}, exceptionProblem(class, message), nil
	}
	if err := r.value(); err != nil {
		return answer{}, badAnswer("%v", err), nil
	}
	return answer{json: r.out, closing: closing}, nil, nil
}

// callJSON calls a method that has an IDL by its message's JSON.
func (c *tripleClient) callJSON(ctx context.Context, t *target, h http.Header, message []byte) (answer, *callError, error) {
	if left, ok := timeLeft(ctx); ok {
		ms := strconv.FormatInt(max(1, left.Milliseconds()), 10)
		h["Triple-Timeout-Ms"] = []string{ms}      // dubbo-go
		h["Tri-Service-Timeout"] = []string{ms}    // Dubbo Java
		h["Grpc-Timeout"] = []string{ms + "m"}     // Dubbo Java, too
		h["Accept"] = []string{"application/json"} // Dubbo Java answers in what is asked for
	}
	resp, err := c.post(ctx, "/"+t.iface+"/"+t.method, h, message)
	if err != nil {
		return answer{}, nil, err
	}
	defer resp.Body.Close()
	body, err := c.readAll(ctx, resp)
	if err != nil {
		return answer{}, nil, err
	}
	closing := tripleClosing(resp)
	if resp.StatusCode != http.StatusOK {
		return answer{closing: closing}, httpProblem(resp.StatusCode, body), nil
	}
	if media := resp.Header.Get("Content-Type"); !strings.HasPrefix(media, "application/json") || !json.Valid(body) {
		return answer{}, badAnswer("the provider does not answer in JSON"), nil
	}
	return answer{json: body, closing: closing}, nil, nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// tripleClosing reports whether the provider says that it leaves, as dubbo-go
// does in the attachments of its answers.
func tripleClosing(resp *http.Response) bool {
	for _, h := range [...]http.Header{resp.Trailer, resp.Header} {
		if h.Get("Closing") == "true" || h.Get("Trailer-Closing") == "true" {
			return true
		}
	}
	return false
}

func timeLeft(ctx context.Context) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	return time.Until(deadline), true
}

// readAll reads an answer, trailers included.
func (c *tripleClient) readAll(ctx context.Context, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.maxAnswer)+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("the connection broke while the call was under way: %w", err)
	case len(body) > c.maxAnswer:
		return nil, errTooLarge
	}
	return body, nil
}

// Protobuf's tags of the wrappers' fields, all of which are of length-delimited
// kinds: TripleRequestWrapper{serializeType=1, args=2, argTypes=3} and
// TripleResponseWrapper{serializeType=1, data=2, type=3}.
const (
	protoSerialization = 1<<3 | 2
	protoData          = 2<<3 | 2
	protoTypes         = 3<<3 | 2
)

func appendProto[T string | []byte](b []byte, tag byte, v T) []byte {
	b = binary.AppendUvarint(append(b, tag), uint64(len(v)))
	return append(b, v...)
}

// appendWrapped appends a gRPC frame with the TripleRequestWrapper of a generic
// call.
func (t *target) appendWrapped(b, args []byte) []byte {
	from := len(b)
	b = append(b, 0, 0, 0, 0, 0) // not compressed; the length follows below
	b = appendProto(b, protoSerialization, "hessian2")
	b = appendProto(b, protoData, appendString(nil, t.method))
	b = appendProto(b, protoData, t.appendTypes(nil))
	b = appendProto(b, protoData, args)
	b = appendProto(b, protoTypes, "java.lang.String")
	b = appendProto(b, protoTypes, "[Ljava.lang.String;")
	b = appendProto(b, protoTypes, "[Ljava.lang.Object;")
	binary.BigEndian.PutUint32(b[from+1:], uint32(len(b)-from-5))
	return b
}

// unwrap returns the Hessian of a gRPC frame with a TripleResponseWrapper; it is
// empty for a method that returns nothing.
func unwrap(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 5 || int(binary.BigEndian.Uint32(b[1:5])) != len(b)-5 {
		return nil, errors.New("the answer is no whole gRPC frame")
	}
	if b[0] != 0 {
		return nil, errors.New("the answer is compressed, which was not asked for")
	}
	b = b[5:]
	var data []byte
	serialization := ""
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag&7 != 2 {
			return nil, errors.New("the answer is no Triple wrapper")
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errors.New("the answer is no Triple wrapper")
		}
		v := b[n : n+int(size)]
		b = b[n+int(size):]
		switch tag {
		case protoSerialization:
			serialization = string(v)
		case protoData:
			data = v
		}
	}
	// Dubbo Java writes "hessian4" for what it calls hessian2 elsewhere.
	if serialization != "" && serialization != "hessian2" && serialization != "hessian4" {
		return nil, fmt.Errorf("the provider answers in %s; Weir speaks hessian2", shorten(serialization))
	}
	return data, nil
}

// Codes of gRPC, which Connect and Triple spell in lower case.
const (
	codeCanceled           = 1
	codeUnknown            = 2
	codeInvalidArgument    = 3
	codeDeadlineExceeded   = 4
	codeNotFound           = 5
	codeAlreadyExists      = 6
	codePermissionDenied   = 7
	codeResourceExhausted  = 8
	codeFailedPrecondition = 9
	codeAborted            = 10
	codeOutOfRange         = 11
	codeUnimplemented      = 12
	codeInternal           = 13
	codeUnavailable        = 14
	codeDataLoss           = 15
	codeUnauthenticated    = 16
	codeBusiness           = 17 // of dubbo-go: the method returned an error
)

var codeNames = map[string]int{
	"canceled": codeCanceled, "unknown": codeUnknown, "invalid_argument": codeInvalidArgument,
	"deadline_exceeded": codeDeadlineExceeded, "not_found": codeNotFound, "already_exists": codeAlreadyExists,
	"permission_denied": codePermissionDenied, "resource_exhausted": codeResourceExhausted,
	"failed_precondition": codeFailedPrecondition, "aborted": codeAborted, "out_of_range": codeOutOfRange,
	"unimplemented": codeUnimplemented, "internal": codeInternal, "unavailable": codeUnavailable,
	"data_loss": codeDataLoss, "unauthenticated": codeUnauthenticated, "code_17": codeBusiness,
}

// grpcProblem maps a status that the provider, or Triple in it, answered.
func grpcProblem(code int, message string) *callError {
	if p := governedProblem(message); p != nil {
		p.ran = true
		return p
	}
	if p := providerMessage(message); p != nil && (code == codeUnknown || code == codeInternal ||
		code == codeBusiness || code == codeUnavailable || code == codeUnimplemented || code == codeNotFound) {
		p.ran = true
		return p
	}
	var p *callError
	business := false
	said := func(status int, kind failureKind, detail string) {
		p = problem(status, kind, "%s", detail)
		p.Message = publicMessage(message)
	}
	switch code {
	case codeUnimplemented:
		p = notFound("the provider does not have the method")
		p.notRun = true
	case codeInvalidArgument, codeOutOfRange:
		said(http.StatusBadRequest, kindBadArgument, "the provider refuses the arguments")
	case codeDeadlineExceeded:
		p = problem(http.StatusGatewayTimeout, kindTimeout, "the provider ran out of time")
	case codeNotFound:
		business = true
		said(http.StatusNotFound, kindException, "the method says that what was asked for is not there")
	case codeAlreadyExists, codeAborted:
		business = true
		said(http.StatusConflict, kindException, "the method says that there is a conflict")
	case codePermissionDenied:
		business = true
		said(http.StatusForbidden, kindException, "the provider does not permit the call")
	case codeUnauthenticated:
		business = true
		said(http.StatusUnauthorized, kindException, "the provider asks who is calling")
	case codeResourceExhausted:
		said(http.StatusTooManyRequests, kindOverloaded, "the provider takes no more calls at present")
	case codeUnavailable:
		p = problem(http.StatusServiceUnavailable, kindOverloaded, "the provider says that it is not available")
	case codeUnknown, codeBusiness, codeFailedPrecondition:
		business = code == codeFailedPrecondition
		p = thrownProblem(business, "the method failed")
		p.Message = publicMessage(message)
	default: // canceled, internal, data loss and what is not known
		p = problem(http.StatusBadGateway, kindProviderError, "the provider answers with the status %d", code)
	}
	p.ran, p.business = true, business
	return p
}

// httpProblem maps an answer of Triple over HTTP that is no 200.
func httpProblem(status int, body []byte) *callError {
	var wire struct {
		Code    any    `json:"code"`
		Message string `json:"message"`
		Status  any    `json:"status"`
	}
	if json.Unmarshal(body, &wire) == nil {
		if name, ok := wire.Code.(string); ok {
			if code, known := codeNames[name]; known {
				return grpcProblem(code, wire.Message)
			}
		}
	}
	// Dubbo Java answers {"message": …, "status": "500"}; others nothing of use.
	code := codeInternal
	switch status {
	case http.StatusBadRequest:
		code = codeInvalidArgument
	case http.StatusNotFound:
		code = codeUnimplemented
	case http.StatusUnsupportedMediaType:
		p := problem(http.StatusBadGateway, kindProviderError, "the provider's Triple does not take JSON: it needs Dubbo Java 3.3 or dubbo-go 3.1, or newer")
		p.ran, p.notRun = true, true
		return p
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		code = codeDeadlineExceeded
	case http.StatusTooManyRequests:
		code = codeResourceExhausted
	case http.StatusServiceUnavailable:
		code = codeUnavailable
	case http.StatusInternalServerError:
		if wire.Message != "" {
			code = codeUnknown
		}
	}
	return grpcProblem(code, wire.Message)
}
