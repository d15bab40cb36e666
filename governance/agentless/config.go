package agentless

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// Where a Service says so (registry.Govern.Config), what policies come to is written
// into a ConfigMap too that its pods read at their start, so that it holds in a new
// process from the first call on. Whoever has the first of an application's pods
// writes; every control plane reads whether it is there, and has its pods read it
// again.

const (
	// reviewEvery is how often it is looked whether a document needs to be written,
	// recheckEvery how often whether it is still there.
	reviewEvery  = time.Second
	recheckEvery = 10 * time.Second
	// configHeader is how a document of ours begins.
	configHeader = "# Written by Weir, which writes it again: what policies come to (docs/java/config.md).\n"
)

// configDocument is what is known of one application's document, for pods with one
// engine: it may have pods with either, while it goes from one to the other.
type configDocument struct {
	text    string // as it should be; empty for none
	ok      bool   // it was seen to be so
	at      time.Time
	written time.Time // when it became so, by the API server's clock
	wanted  time.Time // since when it should be so
	was     bool      // it has been so
	trouble string    // why it is not
}

// documents are those of applications. It is safe for concurrent use.
type documents struct {
	mu  sync.Mutex
	all map[documentKey]configDocument
}

type documentKey struct {
	app    registry.App
	engine string
}

func (d *documents) get(app registry.App, engine string) configDocument {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[documentKey{app, engine}]
}

func (d *documents) put(app registry.App, engine string, doc configDocument) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[documentKey]configDocument{}
	}
	d.all[documentKey{app, engine}] = doc
}

func (d *documents) forget(app registry.App) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, engine := range []string{hystrixName, resilienceName} {
		delete(d.all, documentKey{app, engine})
	}
}

// configure keeps the documents of applications until ctx ends.
func (s *Service) configure(ctx context.Context) {
	for {
		changed := s.cfg.Policies.PoliciesChanged()
		waiting := false
		for _, app := range s.configured() {
			waiting = s.review(ctx, app) || waiting
		}
		wait := reviewEvery
		if waiting {
			wait /= 4
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// configuredApp is one whose pods read a ConfigMap, and what of them run one engine.
type configuredApp struct {
	app      registry.App
	config   string
	engine   string
	writes   bool // whether it is this control plane's to write
	sessions []*session
}

// configured lists the applications that this control plane has pods of, for each
// engine that is known to be in them.
func (s *Service) configured() (out []configuredApp) {
	for _, c := range s.configuredApps() {
		by := map[string][]*session{}
		for _, n := range c.sessions {
			n.mu.Lock()
			if n.engine != nil {
				by[n.engine.name()] = append(by[n.engine.name()], n)
			}
			n.mu.Unlock()
		}
		for _, engine := range sortedKeys(by) {
			c.engine, c.sessions = engine, by[engine]
			out = append(out, c)
		}
	}
	return out
}

// configuredApps lists them whatever is in their pods.
func (s *Service) configuredApps() (out []configuredApp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range sortedApps(s.apps) {
		f := s.apps[app]
		if f.snapshot.Service.Govern == nil || f.snapshot.Service.Govern.Config == "" {
			s.docs.forget(app)
			continue
		}
		c := configuredApp{app: app, config: f.snapshot.Service.Govern.Config}
		first := ""
		for i := range f.snapshot.Instances {
			in := &f.snapshot.Instances[i]
			if governable(in) && (first == "" || in.ID < first) {
				first = in.ID
			}
			if n := s.sessions[in.ID]; n != nil {
				c.sessions = append(c.sessions, n)
			}
		}
		c.writes = s.sessions[first] != nil
		if len(c.sessions) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// review sees that an application's document is as it should be, and reports whether
// it soon will be.
func (s *Service) review(ctx context.Context, c configuredApp) (waiting bool) {
	set, known := s.cfg.Policies.Policies(governance.App{Namespace: c.app.Namespace, Name: c.app.Name})
	if !known {
		return false
	}
	now := s.cfg.Now()
	lines := configLines(c.engine, set, governance.App{Namespace: c.app.Namespace, Name: c.app.Name}, now)
	text := fmt.Sprint(lines)
	have := s.docs.get(c.app, c.engine)
	if have.text == text && now.Sub(have.at) < recheckEvery && (have.ok || have.trouble != "") {
		return false
	}
	next := configDocument{text: text, at: now, wanted: now}
	if have.text == text && !have.wanted.IsZero() {
		next.wanted, next.was = have.wanted, have.was
	}
	// Whoever has the first pod may have none with this engine.
	c.writes = c.writes || !next.was && now.Sub(next.wanted) >= recheckEvery
	look, done := context.WithTimeout(ctx, lookPatience)
	defer done()
	err := s.write(look, c, lines, &next)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		sentence := err.Error()
		var e *registry.Error
		if errors.As(err, &e) {
			sentence = e.Message
		}
		next.trouble = fmt.Sprintf("ConfigMap %s cannot be written: %s; until then what is wanted holds in a new process only once it is written into it", c.config, sentence)
	}
	next.was = next.was || next.ok
	s.docs.put(c.app, c.engine, next)
	if next.ok != have.ok || next.text != have.text || next.trouble != have.trouble {
		for _, n := range c.sessions {
			n.mu.Lock()
			n.changed = true
			n.mu.Unlock()
			n.wake()
		}
	}
	return !next.ok && next.trouble == ""
}

// write makes the document what it should be, or finds that it is.
func (s *Service) write(ctx context.Context, c configuredApp, lines []change, next *configDocument) error {
	for range 2 {
		have, err := s.cfg.Registry.Config(ctx, c.app.Namespace, c.config)
		if err != nil {
			return err
		}
		name, err := documentName(have.Documents, documentBase(c))
		if err != nil {
			return err
		}
		want := render(name, lines)
		if have.Documents[name] == want {
			next.ok, next.written = true, have.Written
			return nil
		}
		if !c.writes {
			return nil // another does
		}
		err = s.cfg.Registry.SetConfig(ctx, c.app.Namespace, c.config, have.ID, name, want)
		if err != nil && registry.CodeOf(err) != registry.NotFound { // which one that is made anew is, too
			return err
		}
	}
	return nil // somebody has written something else, and it is looked at again
}

// documentBase is what the documents are called that Spring Cloud Kubernetes reads of
// a ConfigMap with several: "application" in the days of Hystrix, by the application's
// name since then.
func documentBase(c configuredApp) string {
	if c.engine == resilienceName {
		return c.app.Name
	}
	return "application"
}

// documentName is the document of a ConfigMap that is ours, or could be.
func documentName(data map[string]string, base string) (string, error) {
	names := []string{base + ".properties", base + ".yaml", base + ".yml"}
	for _, name := range names {
		if strings.HasPrefix(data[name], configHeader) {
			return name, nil
		}
	}
	if len(data) == 1 {
		for name := range data {
			if strings.HasPrefix(data[name], configHeader) {
				continue // it is for pods with the other engine, which read it beside this one
			}
			if i := strings.LastIndexByte(name, '.'); i >= 0 && !slices.Contains(names, name) && slices.Contains([]string{"properties", "yaml", "yml"}, name[i+1:]) {
				// It is read for as long as it is alone.
				return "", fmt.Errorf("its only document is %s, which would not be read any more beside another one: name it %s", name, names[1])
			}
		}
	}
	for _, name := range names {
		if _, taken := data[name]; !taken {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s are all somebody else's: put two of them together", strings.Join(names, ", "))
}

// configLines are the properties that the policies of a set come to, for a process
// that has yet to run.
func configLines(engine string, set governance.PolicySet, app governance.App, now time.Time) []change {
	var out []change
	if engine == resilienceName {
		out = resilienceLines(set, app, now)
	} else {
		out = plan(set, app, nil, now).diff(nil, nil)
	}
	slices.SortFunc(out, func(a, b change) int { return strings.Compare(a.key, b.key) })
	return out
}

// resilienceLines are those of Resilience4j, by circuit breaker. Modes are none of
// them: a circuit breaker cannot begin open.
func resilienceLines(set governance.PolicySet, app governance.App, now time.Time) (out []change) {
	names := map[string]bool{}
	for i := range set.Policies {
		if v := &set.Policies[i]; v.Policy.Target.App == app && v.Policy.Target.At != governance.Caller && !v.Deleted && v.Policy.Target.Command != "" {
			names[v.Policy.Target.Command] = true
		}
	}
	for _, name := range sortedKeys(names) {
		e := governance.Resolve(set.Policies, governance.Call{App: app, Command: name, At: governance.Provider}, now)
		for _, p := range startProperties(e) {
			out = append(out, change{instanceKey(p.property, name), p.value})
		}
	}
	return out
}

// render writes properties as a document of a name; empty for none.
func render(name string, lines []change) string {
	if len(lines) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(configHeader)
	for _, l := range lines {
		if strings.HasSuffix(name, ".properties") {
			b.WriteString(escapeProperty(l.key, true) + "=" + escapeProperty(l.value, false) + "\n")
			continue
		}
		// A JSON string is one of YAML's, whatever is in it.
		b.WriteString(quoted(l.key) + ": " + quoted(l.value) + "\n")
	}
	return b.String()
}

func quoted(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		return `""` // there is no text that cannot be written
	}
	return string(data)
}

// escapeProperty writes text so that java.util.Properties reads it back.
func escapeProperty(text string, key bool) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\\', key && strings.ContainsRune(" :=#!", r), !key && i == 0 && r == ' ':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			b.WriteString(`\u` + strconv.FormatInt(int64(0xd800+r>>10), 16) + `\u` + strconv.FormatInt(int64(0xdc00+r&0x3ff), 16))
		case r < ' ' || r > '~':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// reread has a process read its ConfigMap again after that has changed, and reports
// whether it runs by what is in it. Without one, it does.
func (n *session) reread(ctx context.Context, m *management) bool {
	n.mu.Lock()
	config := ""
	if n.service.Govern != nil {
		config = n.service.Govern.Config
	}
	have, engine := n.taken, n.engine.name()
	n.mu.Unlock()
	if config == "" {
		return true
	}
	set, known := n.svc.cfg.Policies.Policies(n.app)
	doc := n.svc.docs.get(n.at, engine)
	switch {
	case !known || doc.text != fmt.Sprint(configLines(engine, set, n.app, n.svc.cfg.Now())):
		return false // it is of other policies than those of now
	case doc.trouble != "":
		return true // which is said; what is wanted is written into the process all the same
	case !doc.ok:
		return false
	case have != nil && have.text == doc.text:
		return true
	}
	now := &taken{text: doc.text}
	if m.refresh {
		var keys []string
		_, err := m.do(ctx, http.MethodPost, m.base+"/refresh", struct{}{}, &keys)
		n.outcome(err)
		if err != nil {
			n.mu.Lock()
			n.because("it does not read its settings again: " + err.Error())
			n.mu.Unlock()
			return false
		}
	}
	if m.env {
		var err error
		if now.wins, err = m.configured(ctx, config); err != nil {
			return false
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	began := time.Time{}
	for _, c := range n.pod.Containers {
		if began.IsZero() || c.Started.Before(began) {
			began = c.Started
		}
	}
	now.first = began.After(doc.written)
	n.taken = now
	return true
}

// taken is what a process has read of its ConfigMap.
type taken struct {
	text  string              // the document
	wins  map[string]property // by how they are spelled
	first bool                // the document was there before the process began
}

// property is where a process has one from: the source's name, "" for the ConfigMap, and
// its place in their order of precedence.
type property struct {
	source string
	place  int
}

// began reports whether the process began with a property from its ConfigMap.
func (t *taken) began(key string) bool {
	p, there := t.from(key)
	return there && p.source == "" && t.first
}

// over is the source that a property is from in spite of the ConfigMap; "" for none.
func (t *taken) over(key string) string {
	p, _ := t.from(key)
	return p.source
}

// from is where a property is from, of the ways to spell it; false for nowhere.
func (t *taken) from(key string) (property, bool) {
	if t == nil {
		return property{}, false
	}
	p, there := t.wins[spelled(key)]
	if v, ok := t.wins[letters(key)]; ok && (!there || v.place < p.place) {
		return v, true
	}
	return p, there
}

// configured tells where a process has properties from: the first source, which is
// the one that wins, of each that a ConfigMap could have. Values need not be shown.
func (m *management) configured(ctx context.Context, config string) (map[string]property, error) {
	var answer struct {
		PropertySources []struct {
			Name       string         `json:"name"`
			Properties map[string]any `json:"properties"`
		} `json:"propertySources"`
	}
	// Variables of the environment are spelled in capitals.
	query := url.Values{"pattern": {`^(?i)(resilience4j|hystrix)[._].*$`}}
	if _, err := m.do(ctx, http.MethodGet, m.base+"/env?"+query.Encode(), nil, &answer); err != nil {
		return nil, err
	}
	wins := map[string]property{}
	for i, s := range answer.PropertySources {
		name := s.Name
		// Such as "bootstrapProperties-configmap.gifts.shop".
		if _, rest, ok := strings.Cut(name, "configmap."); ok && strings.Contains("."+rest+".", "."+config+".") {
			name = ""
		}
		for key := range s.Properties {
			spelling := spelled(key)
			if _, there := wins[spelling]; !there {
				wins[spelling] = property{name, i}
			}
		}
	}
	return wins, nil
}

// spelled is a property as Spring tells properties apart: case and dashes do not count,
// but in the name of an instance, which may stand in brackets. A variable of the
// environment has nothing but letters, digits and underscores, of which none count.
func spelled(key string) string {
	const instances = "instances"
	at := strings.Index(strings.ToLower(key), instances)
	if !strings.Contains(key, ".") || at < 0 {
		return letters(key)
	}
	before, rest := key[:at], key[at+len(instances):]
	last := strings.LastIndexByte(rest, '.')
	if last <= 0 {
		return letters(key)
	}
	name, after := rest[:last], rest[last:]
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	} else {
		name = strings.TrimPrefix(name, ".")
	}
	return letters(before) + "." + name + "." + letters(after)
}

// letters are those of a text, and digits, in lower case.
func letters(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// configLacks says what stands in the way of a ConfigMap; n.mu is held.
func (n *session) configLacks() []string {
	if n.service.Govern == nil {
		return nil
	}
	var out []string
	if problem := n.service.Govern.Problem; problem != "" {
		out = append(out, problem)
	}
	if n.service.Govern.Config == "" || n.engine == nil {
		return out
	}
	if doc := n.svc.docs.get(n.at, n.engine.name()); doc.trouble != "" {
		out = append(out, doc.trouble)
	}
	if n.blind {
		out = append(out, "it has no refresh: add refresh to management.endpoints.web.exposure.include; until then what is taken out of its ConfigMap goes on holding until it restarts")
	}
	return out
}
