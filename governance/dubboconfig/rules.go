package dubboconfig

import (
	"crypto/md5" //nolint:gosec // what clients hash documents with
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// document is what a client is to hold, and what the policies in it come to.
type document struct {
	content string // empty where there is nothing to say
	hash    string // of the content, as clients say what they hold; empty for none
	unmet   []governance.Unmet
	// until is when a policy expires, which changes it; zero for never.
	until time.Time
}

// Names of Dubbo's parameters.
const (
	paramMock    = "mock"
	paramTimeout = "timeout"
	// unmocked takes a mock of the whole interface off a method.
	unmocked = "false"
)

// write says what policies come to for an application as the caller, as a rule of
// Dubbo's in the scope of the application. They may be of applications that it does
// not call: each part holds for references that name the provider (provided-by),
// so those say nothing to it.
func write(app governance.App, policies []governance.Version, now time.Time) document {
	w := writer{app: app, policies: policies, now: now, unmet: governance.Shortfall{}}
	targets := map[governance.App]bool{}
	for i := range policies {
		if t := policies[i].Policy.Target; concerns(t, app) && !policies[i].Deleted {
			targets[t.App] = true
		}
	}
	for _, target := range slices.SortedFunc(maps.Keys(targets), governance.App.Compare) {
		w.target(target)
	}
	d := document{unmet: w.unmet.List(), until: w.until}
	if w.parts.Len() > 0 {
		d.content = "configVersion: v3.0\nscope: application\nkey: " + quoted(app.Name) + "\nenabled: true\nconfigs:\n" + w.parts.String()
	}
	d.hash = hashOf(d.content)
	return d
}

// concerns reports whether a policy may have a say in what an application calls.
// References name a provider without its namespace, which is the caller's own.
func concerns(t governance.Target, app governance.App) bool {
	return t.At == governance.Caller && t.App.Namespace == app.Namespace && (len(t.From) == 0 || slices.Contains(t.From, app))
}

// hashOf is the hash by which clients tell documents apart; empty for none.
func hashOf(content string) string {
	if content == "" {
		return ""
	}
	sum := md5.Sum([]byte(content)) //nolint:gosec // it tells documents apart, and protects nothing
	return hex.EncodeToString(sum[:])
}

type writer struct {
	app      governance.App
	policies []governance.Version
	now      time.Time

	parts strings.Builder
	unmet governance.Shortfall
	until time.Time
}

// target writes what holds for calls of one application: first of all its
// interfaces, and then method by method what differs from that.
func (w *writer) target(target governance.App) {
	all := w.resolve(target, "")
	w.part(target, "", all)
	methods := map[string]map[string]string{} // by the interface's short name
	for _, command := range w.commands(target) {
		iface, method, ok := methodOf(command)
		if !ok {
			w.noMethod(target, command)
			continue
		}
		own := w.resolve(target, command)
		for param, value := range own {
			if all[param] == value {
				continue
			}
			w.put(methods, iface, method+"."+param, value)
		}
		if _, mocked := own[paramMock]; !mocked && all[paramMock] != "" {
			w.put(methods, iface, method+"."+paramMock, unmocked)
		}
	}
	for _, iface := range slices.Sorted(maps.Keys(methods)) {
		w.part(target, iface, methods[iface])
	}
}

func (w *writer) put(methods map[string]map[string]string, iface, param, value string) {
	if methods[iface] == nil {
		methods[iface] = map[string]string{}
	}
	methods[iface][param] = value
}

// commands are those that policies are about, by their short names, sorted.
func (w *writer) commands(target governance.App) []string {
	found := map[string]bool{}
	for i := range w.policies {
		t := w.policies[i].Policy.Target
		if t.App == target && t.Command != "" && concerns(t, w.app) && !w.policies[i].Deleted {
			found[governance.ShortCommand(t.Command)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// methodPattern is a command that is a method of a Dubbo interface, by its short
// name.
var methodPattern = regexp.MustCompile(`^([\pL_$][\pL\pN_$]*)\.([\pL_$][\pL\pN_$]*)$`)

func methodOf(command string) (iface, method string, ok bool) {
	m := methodPattern.FindStringSubmatch(command)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// noMethod says of the policies about a command that it is nothing that Dubbo
// calls.
func (w *writer) noMethod(target governance.App, command string) {
	e := governance.Resolve(w.policies, governance.Call{App: target, Command: command, At: governance.Caller, From: w.app}, w.now)
	for i := range w.policies {
		p := &w.policies[i].Policy
		by := governance.Source{Policy: p.Key().String(), Version: w.policies[i].Version}
		if p.Target.Command != "" && slices.Contains(slices.Collect(maps.Values(e.Sources)), by) {
			w.unmet.Add(by, fmt.Sprintf("target.command: %s is no method of a Dubbo interface, such as InventoryService.reserve", command))
		}
	}
}

// resolve returns the parameters that hold for a command of an application.
func (w *writer) resolve(target governance.App, command string) map[string]string {
	e := governance.Resolve(w.policies, governance.Call{App: target, Command: command, At: governance.Caller, From: w.app}, w.now)
	if !e.Until.IsZero() && (w.until.IsZero() || e.Until.Before(w.until)) {
		w.until = e.Until
	}
	params := map[string]string{}
	if e.Timeout != 0 {
		params[paramTimeout] = strconv.FormatInt(max(1, time.Duration(e.Timeout).Milliseconds()), 10)
	}
	if mock := w.mock(e); mock != "" {
		params[paramMock] = mock
	}
	w.notDone(e)
	return params
}

// notDone says what Dubbo has nothing for.
func (w *writer) notDone(e governance.Effective) {
	if e.Bulkhead != nil {
		w.unmet.Add(e.Sources["bulkhead"], "bulkhead: Dubbo Java bounds calls under way by settings that it reads at the start")
	}
	if e.Breaker == nil {
		return
	}
	for field, set := range map[string]bool{
		"breaker.window": e.Breaker.Window != 0, "breaker.minCalls": e.Breaker.MinCalls != 0, "breaker.errorPercent": e.Breaker.ErrorPercent != 0,
		"breaker.slow": e.Breaker.SlowCall != 0, "breaker.openFor": e.Breaker.OpenFor != 0, "breaker.probes": e.Breaker.Probes != 0,
	} {
		if set {
			w.unmet.Add(e.Sources[field], "breaker: Dubbo Java has no circuit breaker that counts; it can be forced open")
		}
	}
}

// mock is the value of Dubbo's parameter of that name; "" for none. A call that is
// forced open is answered by it without being made, and one that fails is answered
// by a fallback.
func (w *writer) mock(e governance.Effective) string {
	when := "fail:"
	if e.Breaker != nil && e.Breaker.Mode == governance.ModeForcedOpen {
		when = "force:"
	}
	f := e.Fallback
	if f == nil {
		if when == "force:" {
			return when + "throw"
		}
		return ""
	}
	by := e.Sources["fallback"]
	if f.Cached != nil {
		w.unmet.Add(by, "fallback.cached: Dubbo Java keeps no answers")
		for f != nil && f.Cached != nil {
			f = f.Else
		}
		if f == nil {
			if when == "force:" {
				return when + "throw"
			}
			return ""
		}
	}
	switch {
	case f.Empty:
		return when + answers + "null"
	case f.Error != "":
		w.unmet.Add(by, "fallback.error: calls fail with Dubbo's own text in place of this one")
		return when + "throw"
	}
	text, ok := mockValue(f.Value)
	if !ok {
		w.unmet.Add(by, "fallback.value: Dubbo Java takes no text with a backquote in it")
		return when + "throw"
	}
	return when + answers + escaped(text)
}

// answers is before the value that a mock answers with.
const answers = "return%20"

// mockValue writes a value as Dubbo reads one. A string stands between quotes with
// nothing escaped in it; of everything else Dubbo reads JSON. A backquote becomes a
// quote on the way, so it is written as JSON escapes it.
func mockValue(value json.RawMessage) (mock string, ok bool) {
	var text string
	if json.Unmarshal(value, &text) == nil && strings.HasPrefix(strings.TrimSpace(string(value)), `"`) {
		if strings.Contains(text, "`") {
			return "", false
		}
		return `"` + text + `"`, true
	}
	data, err := json.Marshal(value) // on one line
	return strings.ReplaceAll(string(data), "`", "\\u0060"), err == nil
}

// escaped is as Dubbo decodes a parameter.
func escaped(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// part writes one item of a rule: the parameters of references to an application,
// of all interfaces or of one by its short name.
func (w *writer) part(target governance.App, iface string, params map[string]string) {
	if len(params) == 0 {
		return
	}
	b := &w.parts
	fmt.Fprintf(b, "  - side: consumer\n    match:\n      param:\n        - key: provided-by\n          value: {regex: %s}\n", quoted(`(.*,)?\s*`+regexp.QuoteMeta(target.Name)+`\s*(,.*)?`))
	if iface != "" {
		fmt.Fprintf(b, "      service:\n        oneof:\n          - {regex: %s}\n", quoted(`([^/]*/)?([^/:]*\.)?`+regexp.QuoteMeta(iface)+`(:.*)?`))
	}
	b.WriteString("    parameters:\n")
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(b, "      %s: %s\n", quoted(name), quoted(params[name]))
	}
}

// quoted is a text in YAML, which reads the strings of JSON.
func quoted(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(data)
}
