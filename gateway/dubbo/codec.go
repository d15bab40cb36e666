package dubbo

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The frame of the Dubbo protocol: 16 bytes of header, then the body.
//
//	0  magic 0xdabb
//	2  flags: 0x80 request, 0x40 two way, 0x20 event, 0x1f serialization
//	3  status, of responses
//	4  id
//	12 length of the body
const (
	headerSize  = 16
	magicHigh   = 0xda
	magicLow    = 0xbb
	flagRequest = 0x80
	flagTwoWay  = 0x40
	flagEvent   = 0x20
	serialMask  = 0x1f
	hessian2    = 2
)

// Statuses of responses.
const (
	statusOK                = 20
	statusSerialization     = 25
	statusClientTimeout     = 30
	statusServerTimeout     = 31
	statusChannelInactive   = 35
	statusBadRequest        = 40
	statusBadResponse       = 50
	statusServiceNotFound   = 60
	statusServiceError      = 70
	statusServerError       = 80
	statusClientError       = 90
	statusThreadPoolIsEmpty = 100
)

type header struct {
	flags, status byte
	id            uint64
	length        int
}

func (h header) request() bool { return h.flags&flagRequest != 0 }
func (h header) event() bool   { return h.flags&flagEvent != 0 }

// parseHeader reads a frame's header. What it refuses makes the rest of the
// connection unreadable.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || b[0] != magicHigh || b[1] != magicLow {
		return header{}, fmt.Errorf("the provider sends %#x where a Dubbo frame should begin: does it speak another protocol?", b[:min(len(b), 2)])
	}
	h := header{flags: b[2], status: b[3], id: binary.BigEndian.Uint64(b[4:])}
	n := binary.BigEndian.Uint32(b[12:])
	if n > 1<<30 {
		return h, fmt.Errorf("the provider announces a frame of %d bytes", n)
	}
	h.length = int(n)
	return h, nil
}

func appendHeader(b []byte, flags, status byte, id uint64, length int) []byte {
	b = append(b, magicHigh, magicLow, flags, status)
	b = binary.BigEndian.AppendUint64(b, id)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// invokeDesc is the parameters of $invoke: String, String[], Object[].
const invokeDesc = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"

// target is what a route calls.
type target struct {
	iface, group, version, method string
	types                         []string
}

// appendTypes appends the parameter types of a generic call as Java's String[].
func (t *target) appendTypes(b []byte) []byte {
	b = appendListHeader(b, "[string", len(t.types))
	for _, name := range t.types {
		b = appendString(b, name)
	}
	return b
}

// requestPrefix is what all requests of a target have in common, before the
// arguments: the room for a header, and the begin of the body.
func (t *target) requestPrefix() []byte {
	b := make([]byte, headerSize, 256)
	b = appendString(b, "2.0.2")
	b = appendString(b, t.iface)
	b = appendString(b, versionOr(t.version))
	b = appendString(b, "$invoke")
	b = appendString(b, invokeDesc)
	b = appendString(b, t.method)
	return t.appendTypes(b)
}

func versionOr(v string) string {
	if v == "" {
		return "0.0.0" // Java's word for none
	}
	return v
}

// attachmentsPrefix begins the attachments of a request.
func (t *target) attachmentsPrefix() []byte {
	b := []byte{tagMapUntyped}
	for _, kv := range [...][2]string{
		{"path", t.iface}, {"interface", t.iface}, {"version", t.version}, {"group", t.group}, {"generic", "true"},
	} {
		if kv[1] != "" {
			b = appendString(appendString(b, kv[0]), kv[1])
		}
	}
	return b
}

func appendAttachment(b []byte, key, value string) []byte {
	return appendString(appendString(b, key), value)
}

// finishRequest ends a frame that began with requestPrefix and got its arguments
// and attachments: with the time left to the call, in milliseconds, its header
// and id.
func finishRequest(b []byte, id uint64, left time.Duration) []byte {
	if left > 0 {
		b = appendString(b, "timeout")
		var digits [20]byte
		b = appendString(b, strconv.AppendInt(digits[:0], max(1, left.Milliseconds()), 10))
	}
	b = append(b, tagEnd)
	appendHeader(b[:0], flagRequest|flagTwoWay|hessian2, 0, id, len(b)-headerSize)
	return b
}

// Kinds of answers within a response of status 20.
const (
	answerException = iota
	answerValue
	answerNull
	answerExceptionAttached
	answerValueAttached
	answerNullAttached
)

// answer is what a provider answered.
type answer struct {
	json    []byte // shared with the reader that made it
	closing bool   // the provider says that it is about to leave
}

// readAnswer reads the body of a response.
func readAnswer(r *reader, h header, body []byte, bigAsStrings bool) (answer, *callError) {
	if h.flags&serialMask != hessian2 {
		return answer{}, badAnswer("the provider answers in serialization %d; Weir speaks hessian2", h.flags&serialMask)
	}
	r.reset(body)
	r.bigAsStrings = bigAsStrings
	if h.status != statusOK {
		message, err := r.text("a message")
		if err != nil {
			message = ""
		}
		return answer{}, statusProblem(h.status, message)
	}
	tag, err := r.byte()
	if err != nil {
		return answer{}, badAnswer("%v", err)
	}
	kind, ok, err := r.intTag(tag)
	if err != nil || !ok {
		return answer{}, badAnswer("the answer does not say what it is")
	}
	var a answer
	var thrown *callError
	switch kind {
	case answerException, answerExceptionAttached:
		class, message, err := r.exception()
		if err != nil {
			return answer{}, badAnswer("%v", err)
		}
		thrown = exceptionProblem(class, message)
	case answerValue, answerValueAttached:
		if err := r.value(); err != nil {
			return answer{}, badAnswer("%v", err)
		}
	case answerNull, answerNullAttached:
		r.out = append(r.out, "null"...)
	default:
		return answer{}, badAnswer("the answer is of the unknown kind %d", kind)
	}
	a.json = r.out
	if kind >= answerExceptionAttached {
		var echo bool
		a.closing, echo = r.attachments()
		a.json = r.out[:len(a.json)]
		if a.closing && !echo && (kind == answerNullAttached || thrown != nil && thrown.Kind == kindException) {
			thrown = leavingRefusal()
		}
	}
	return a, thrown
}

// leavingRefusal is the problem of a call that dubbo-go refused while it is
// leaving: with an answer of nothing, or with an error of the program's choice, by
// a filter. What a method answers, nothing and errors included, comes with the
// call's own attachments back.
func leavingRefusal() *callError {
	p := refusedProblem("the provider is leaving")
	p.notRun, p.ran = true, true
	return p
}

// attachments reads those of an answer for dubbo-go's word that the provider
// leaves, and for whether the call's own came back. Attachments that cannot be
// read are none.
func (r *reader) attachments() (closing, echo bool) {
	tag, err := r.byte()
	if err == nil && tag == tagMap {
		err = r.typeName()
	}
	if err != nil || tag != tagMap && tag != tagMapUntyped {
		return false, false
	}
	r.begin()
	for {
		if tag, ok := r.peek(); !ok || tag == tagEnd {
			return closing, echo
		}
		key, err := r.text("the name of an attachment")
		if err != nil {
			return closing, echo
		}
		from := len(r.out)
		if r.value() != nil {
			return closing, echo
		}
		switch key {
		case "closing":
			closing = string(r.out[from:]) == `"true"`
		case "generic", "interface":
			echo = true
		}
	}
}

func badAnswer(format string, args ...any) *callError {
	p := problem(http.StatusBadGateway, kindBadAnswer, format, args...)
	p.ran = true
	return p
}

// statusProblem maps the status of a response, with the message that came along,
// which may hold a stack and addresses and is therefore not passed on.
func statusProblem(status byte, message string) *callError {
	p := problem(http.StatusBadGateway, kindProviderError, "the provider answers with the error status %d", status)
	switch status {
	case statusClientTimeout, statusServerTimeout:
		p = problem(http.StatusGatewayTimeout, kindTimeout, "the provider ran out of time")
	case statusThreadPoolIsEmpty:
		p = refusedProblem("the provider has no thread left for the call")
		p.notRun = true
	case statusServiceNotFound:
		p = notFound("the provider does not have the interface")
		p.notRun = true
	case statusSerialization, statusBadRequest:
		p = providerMessage(message)
		if p == nil {
			p = badRequest("the provider cannot read the arguments: check their types against its interface")
		}
	case statusBadResponse:
		p.Detail = "the provider cannot write its answer"
	case statusServiceError, statusServerError, statusClientError, statusChannelInactive:
		if known := providerMessage(message); known != nil {
			p = known
		}
	}
	p.ran = true
	return p
}

func notFound(detail string) *callError {
	return problem(http.StatusNotFound, kindNotFound, "%s", detail)
}

func refusedProblem(detail string) *callError {
	return problem(http.StatusServiceUnavailable, kindOverloaded, "%s", detail)
}

// providerMessage knows by their words the refusals that Dubbo and Weir make
// themselves, for which neither Java nor Go has codes. It returns nil for any
// other message. Words prove nothing of whether the method ran: it may pass on
// what another provider said to it.
func providerMessage(message string) *callError {
	if p := governedProblem(message); p != nil {
		return p
	}
	has := func(parts ...string) bool {
		for _, part := range parts {
			if !strings.Contains(message, part) {
				return false
			}
		}
		return true
	}
	switch {
	case has("NoSuchMethodException"), has("method is not found, service key"),
		has("cannot find method ["), has("No such method "), has("NoSuchMethodError"):
		return notFound("the provider's interface has no such method with these argument types")
	case has("Not found exported service"), has("don't have this exporter"), has("cannot find service ["),
		has("don't have the invoker"):
		p := notFound("the provider does not have the interface in this group and version")
		p.notRun = true
		return p
	case has("ClassNotFoundException"):
		return badRequest("the provider does not know a class that the route names")
	case has("the number of args(="), has("is not matched with"), has("GenericService", "args.length != types.length"):
		return notFound("the provider's method has another number of arguments")
	case has("realization of arg["), has("realizing map failed"), has("Failed to set pojo", "property"),
		has("argument type mismatch"), has("IllegalArgumentException: argument"), has("JSON to Object failed"):
		return badRequest("the provider cannot make its arguments of what it was sent: check the route's types and the request's body")
	case has("thread pool is exhausted"), has("Thread pool is EXHAUSTED"), has("RejectedExecutionException"),
		has("Failed to invoke method", "thread pool"), has("The service using threads greater than"):
		return refusedProblem("the provider has no thread left for the call")
	case has("being closed"), has("is closing, new request"):
		return refusedProblem("the provider is leaving")
	}
	return nil
}

// exceptionProblem maps an exception that came as the answer.
func exceptionProblem(class, message string) *callError {
	// What was thrown by Dubbo's own filters comes without a class of its own.
	var p *callError
	if dubboOwn(class) {
		p = providerMessage(message)
	}
	if p == nil {
		what := "the method failed"
		if class != "" {
			what = "the method threw " + shorten(class)
		}
		p = thrownProblem(ofService(class), what)
		p.Exception, p.Message = shorten(class), publicMessage(message)
	}
	p.ran = true
	return p
}

// thrownProblem is the problem of a method that answered an error. A service's own
// word is an answer, 422: the request is at odds with its business. Any other, such
// as a NullPointerException or a Go error without a class, is a failure of the
// provider, 500, as a handler's would be over HTTP: routes fall back, retry and
// break their circuits over it.
func thrownProblem(business bool, detail string) *callError {
	status := http.StatusInternalServerError
	if business {
		status = http.StatusUnprocessableEntity
	}
	p := problem(status, kindException, "%s", detail)
	p.business = business
	return p
}

// dubboOwn reports whether exceptions of the class are made by Dubbo rather than
// by a provider's own code. dubbo-go has java.lang.Throwable for every Go error.
func dubboOwn(class string) bool {
	switch class {
	case "", "java.lang.Throwable", "java.lang.Exception", "java.lang.NoSuchMethodException",
		"java.lang.ClassNotFoundException", "java.lang.IllegalArgumentException", "java.lang.RuntimeException":
		return true
	}
	return strings.HasPrefix(class, "org.apache.dubbo.") || strings.HasPrefix(class, "com.alibaba.dubbo.")
}

// ofService reports whether a class is a service's own, and not one of Java's or
// Dubbo's; as sdk/dubbo has it.
func ofService(class string) bool {
	for _, p := range []string{"java.", "javax.", "jakarta.", "org.apache.dubbo.", "com.alibaba.dubbo."} {
		if strings.HasPrefix(class, p) {
			return false
		}
	}
	return class != ""
}

// publicMessage takes off an exception's message what would tell a caller of the
// gateway about the inside: stacks, which both Java and Go print into messages.
func publicMessage(s string) string {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = s[:i]
	}
	if len(s) > 4000 { // more than is told, so that an address is not cut before it is masked
		s = s[:4000]
	}
	s = strings.TrimSpace(maskAddresses(s))
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}

// addressPattern finds IPv4 addresses, and IPv6 ones in brackets.
var addressPattern = regexp.MustCompile(`/?\b(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?\b|\[[0-9a-fA-F]*:[0-9a-fA-F:.]*\](?::\d{1,5})?`)

// maskAddresses replaces IP addresses, with their ports, by "…".
func maskAddresses(s string) string { return addressPattern.ReplaceAllString(s, "…") }
