package kube

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Annotations of a pod.
const (
	// AnnotationMetadata, on a pod, holds what the instance speaks, as a flat JSON
	// object of strings: the format of Dubbo Java's Kubernetes registry. The provider
	// writes it on its own pod.
	AnnotationMetadata = "io.dubbo/metadata"
	// AnnotationInstance, on a pod, holds Weir's own details of the instance as JSON,
	// version 1. The provider writes it on its own pod.
	AnnotationInstance = "weirmesh.io/instance"
)

// AnnotationCallMode says, on a Service, how its application asks to be called:
// "pod" or "service". Operators write it; a DiscoveryPolicy goes over it.
const AnnotationCallMode = "weirmesh.io/call-mode"

// words are what a pod says of itself that others of its revision say as well.
type words struct {
	namespace  string // the pod's
	app        string // what it says it is an instance of
	text       string // of the annotation io.dubbo/metadata
	registered bool   // it has that annotation
}

// sum tells words apart.
func (w words) sum() (sum [16]byte) {
	h := sha256.New()
	registered := "-"
	if w.registered {
		registered = "+"
	}
	for _, part := range [...]string{w.namespace, "\x00", w.app, "\x00", registered, w.text} {
		_, _ = io.WriteString(h, part) // never fails
	}
	var all [sha256.Size]byte
	copy(sum[:], h.Sum(all[:0]))
	return sum
}

// statement is what words say. Pods of one revision share one.
type statement struct {
	sum        [16]byte
	namespace  string
	app        string
	registered bool
	users      int32

	// text is that of the annotation until somebody asks for all that it says; it is
	// metadata from then on. See words.
	text      string
	metadata  map[string]string
	endpoints []registry.Endpoint
	revision  string
	tag       string
	problem   string
}

// attrs is what an annotation weirmesh.io/instance says, but for the application and
// the start time. Most pods say the same and share one.
type attrs struct {
	weight  int
	tag     string
	state   registry.State
	zone    string
	warning string
}

var noAttrs = attrs{weight: registry.DefaultWeight, state: registry.Up}

// maxAnnotation is far above what an annotation can be (256 KiB for all of an
// object together); it keeps the parsers honest.
const maxAnnotation = 512 << 10

// parseMetadata reads the annotation io.dubbo/metadata.
func parseMetadata(text string) *statement {
	s := &statement{}
	unreadable := func(err error) *statement {
		s.metadata, s.endpoints, s.revision, s.tag = nil, nil, "", ""
		s.problem = "its annotation " + AnnotationMetadata + " cannot be read: " + err.Error()
		return s
	}
	if err := decodeJSON(text, &s.metadata); err != nil {
		return unreadable(err)
	}
	endpoints, err := registry.DubboEndpoints(s.metadata)
	if err != nil {
		return unreadable(err)
	}
	s.endpoints = endpoints
	s.revision = s.metadata[registry.KeyRevision]
	s.tag = s.metadata[registry.KeyTag]
	return s
}

// instanceDocument is the annotation weirmesh.io/instance, version 1. Readers
// ignore fields they do not know.
type instanceDocument struct {
	// Version is how the document is to be read; 1 is the only one.
	Version int `json:"v"`
	// App is the name of the application.
	App string `json:"app"`
	// Weight is the instance's share of calls beside the others', from 1 to 10000; 100 when
	// missing. 0 is a fault, and 100 stands in for it: state draining takes an instance out.
	Weight *int `json:"weight,omitempty"`
	// Tag is the word that Dubbo's tag routing and releases choose the instance by.
	Tag string `json:"tag,omitempty"`
	// Zone is where the instance runs; that of its node when missing.
	Zone string `json:"zone,omitempty"`
	// State is up or draining; a draining instance is chosen no more, and up is meant
	// when it is missing.
	State registry.State `json:"state,omitempty"`
	// Started is when the process began to serve, RFC 3339, from which warm-up counts.
	Started *time.Time `json:"startTime,omitempty"`
}

// parseInstance reads the annotation weirmesh.io/instance. What cannot be read
// is replaced by defaults, with a warning: a wrong weight must not take an
// instance out.
func parseInstance(text string) (values attrs, app string, started int64) {
	values = noAttrs
	warn := func(format string, args ...any) {
		values.warning = "its annotation " + AnnotationInstance + " " + fmt.Sprintf(format, args...)
	}
	if text == "" {
		return values, "", 0
	}
	var doc instanceDocument
	err := decodeJSON(text, &doc)
	if doc.Version > 1 {
		warn("has version %d, and this reader knows 1; defaults stand in for it", doc.Version)
		return values, "", 0
	}
	if err != nil {
		warn("cannot be read, so defaults stand in for it: %v", err)
		return values, "", 0
	}
	if doc.Version != 1 {
		warn("names no version; defaults stand in for it")
		return values, "", 0
	}
	values.tag, values.zone = doc.Tag, doc.Zone
	if doc.Weight != nil {
		// dubbo-go writes 0 where nothing was configured, and in Details it says nothing.
		if *doc.Weight < 1 || *doc.Weight > registry.MaxWeight {
			warn("names weight %d, which is not between 1 and %d", *doc.Weight, registry.MaxWeight)
		} else {
			values.weight = *doc.Weight
		}
	}
	switch state := cmp.Or(doc.State, registry.Up); state {
	case registry.Up, registry.Draining:
		values.state = state
	default:
		warn("names state %q, which is neither %q nor %q", state, registry.Up, registry.Draining)
	}
	if doc.Started != nil && doc.Started.Year() >= 1970 && doc.Started.Year() < 2200 {
		started = doc.Started.UnixNano()
	}
	return values, doc.App, started
}

// decodeJSON reads exactly one JSON value, and says what is wrong in words that
// do not need Go to be understood.
func decodeJSON(text string, into any) error {
	if len(text) > maxAnnotation {
		return fmt.Errorf("it is longer than %d bytes", maxAnnotation)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	err := dec.Decode(into)
	if err == nil {
		if _, err := dec.Token(); err != io.EOF {
			return fmt.Errorf("something follows the JSON at byte %d", dec.InputOffset())
		}
		return nil
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early")
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("field %q is a JSON %s where a %s belongs", kind.Field, kind.Value, plainKind(kind.Type.String()))
	case errors.As(err, &kind):
		return fmt.Errorf("a JSON %s stands at byte %d where a %s belongs", kind.Value, kind.Offset, plainKind(kind.Type.String()))
	}
	return err
}

func plainKind(goType string) string {
	switch goType {
	case "string", "registry.State":
		return "string"
	case "int", "*int":
		return "number"
	case "time.Time":
		return "time"
	}
	return "JSON object of strings"
}

// encodeMetadata writes the annotation io.dubbo/metadata.
func encodeMetadata(metadata map[string]string) (string, error) {
	if metadata == nil {
		metadata = map[string]string{}
	}
	return encodeJSON(metadata)
}

// encodeInstance writes the annotation weirmesh.io/instance.
func encodeInstance(app registry.App, d registry.Details, zone string) (string, error) {
	weight := cmp.Or(d.Weight, registry.DefaultWeight)
	doc := instanceDocument{
		Version: 1, App: app.Name, Weight: &weight, Tag: d.Tag, Zone: zone,
		State: cmp.Or(d.State, registry.Up),
	}
	if !d.Started.IsZero() {
		started := d.Started.UTC()
		doc.Started = &started
	}
	return encodeJSON(doc)
}

// encodeJSON leaves <, > and & as they are: Dubbo Java does not escape them.
func encodeJSON(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("encode annotation: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// statements keeps what pods say in common. It is guarded by hub.mu.
type statements map[[16]byte]*statement

// acquire returns the one for words of that sum.
func (all statements) acquire(w words, sum [16]byte) *statement {
	s := all[sum]
	if s == nil {
		s = newStatement(w, sum)
		all[sum] = s
	}
	s.users++
	return s
}

// newStatement reads what words say. A consumer hears of far more applications than it
// calls: of others it keeps the text, and no map.
func newStatement(w words, sum [16]byte) *statement {
	s := &statement{}
	if w.registered {
		s = parseMetadata(w.text)
	}
	s.sum, s.namespace, s.app, s.registered = sum, w.namespace, w.app, w.registered
	if s.metadata != nil {
		s.text, s.metadata = w.text, nil
		s.revision, s.tag = within(w.text, s.revision), within(w.text, s.tag)
	}
	return s
}

// within returns part as a part of text where it is one, so that it takes no memory of
// its own.
func within(text, part string) string {
	if at := strings.Index(text, part); at >= 0 {
		return text[at : at+len(part)]
	}
	return part
}

// words returns all that the annotation says. hub.mu is held.
func (s *statement) words() map[string]string {
	if s.text != "" {
		all := parseMetadata(s.text)
		s.text, s.metadata, s.revision, s.tag = "", all.metadata, all.revision, all.tag
	}
	return s.metadata
}

func (all statements) release(s *statement) {
	if s == nil {
		return
	}
	if s.users--; s.users == 0 {
		delete(all, s.sum)
	}
}
