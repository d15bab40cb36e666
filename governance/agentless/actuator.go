package agentless

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bounds of what a management port may answer, and how long it may take to.
const (
	maxAnswer      = 8 << 20
	answerPatience = 10 * time.Second
)

// markerKey is a property that this package writes beside those of a policy: the
// keys that it has written. It lives exactly as long as they do, in the pod, so
// that any control plane can take them back, and leaves alone what a person wrote.
const markerKey = "weirmesh.governed"

// management is one pod's management port.
type management struct {
	client *http.Client
	base   string // such as "http://10.0.0.7:8081/actuator"
	// What it says it has: the address of the Hystrix stream, and those of what
	// Resilience4j and Micrometer tell; empty where there is none.
	stream, circuits, prometheus string
	env, refresh                 bool
	holds                        bool // circuit breakers are taken by name, which is how they are held open
	// writes is whether POST is taken at env; only known if asked is set.
	writes, asked bool

	// metrics is where Dubbo tells what it counts, in place of all of these (qos.go), and
	// mute why it does not, in a sentence.
	metrics, mute string
	early         bool // an actuator may yet come, as the process has begun lately
}

// governs reports whether it has something to govern by, or to tell.
func (m *management) governs() bool { return m.stream != "" || m.circuits != "" }

// refusalError is an answer other than wanted, in words that say what to do.
type refusalError struct {
	status int
	text   string
}

// Error returns the sentence.
func (e *refusalError) Error() string { return e.text }

func status(err error) int {
	var r *refusalError
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// do asks, and reads a JSON answer into out unless that is nil.
func (m *management) do(ctx context.Context, method, address string, body, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return resp.Header, &refusalError{resp.StatusCode, fmt.Sprintf("%s %s asks for credentials (%d), which Weir has none of: let the management port be reached without, and by the control plane alone", method, path(address), resp.StatusCode)}
	case resp.StatusCode/100 != 2:
		return resp.Header, &refusalError{resp.StatusCode, fmt.Sprintf("%s %s answers %d", method, path(address), resp.StatusCode)}
	case err != nil:
		return resp.Header, err
	case len(data) > maxAnswer:
		return resp.Header, &refusalError{resp.StatusCode, fmt.Sprintf("%s %s answers more than %d MiB", method, path(address), maxAnswer>>20)}
	case out == nil:
		return resp.Header, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return resp.Header, &refusalError{resp.StatusCode, fmt.Sprintf("%s %s answers something that is no actuator's", method, path(address))}
	}
	return resp.Header, nil
}

// path is what a person knows an address by.
func path(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return ":" + u.Port() + u.Path
}

// look finds out what a port has. It fails if the port is no actuator's.
func (m *management) look(ctx context.Context) error {
	var index struct {
		Links map[string]struct {
			Href string `json:"href"`
		} `json:"_links"`
	}
	_, err := m.do(ctx, http.MethodGet, m.base, nil, &index)
	if err != nil {
		return err
	}
	if index.Links == nil {
		return &refusalError{http.StatusOK, fmt.Sprintf("GET %s is no actuator's index", path(m.base))}
	}
	_, m.env = index.Links["env"]
	_, m.refresh = index.Links["refresh"]
	address := func(endpoint string) string {
		if _, ok := index.Links[endpoint]; ok {
			return m.base + "/" + endpoint
		}
		return ""
	}
	m.stream, m.circuits, m.prometheus = address("hystrix.stream"), address("circuitbreakers"), address("prometheus")
	_, m.holds = index.Links["circuitbreakers-name"]
	m.writes, m.asked = false, false
	if m.env {
		// Nothing is written to find out whether something could be.
		header, err := m.do(ctx, http.MethodOptions, m.base+"/env", nil, nil)
		if allow := header.Get("Allow"); err == nil && allow != "" {
			m.asked = true
			m.writes = slices.Contains(strings.FieldsFunc(allow, func(r rune) bool { return r == ',' || r == ' ' }), http.MethodPost)
		}
	}
	return nil
}

// again asks once more whether settings can be written.
func (m *management) again(ctx context.Context) error {
	now := &management{client: m.client, base: m.base}
	if err := now.look(ctx); err != nil {
		return err
	}
	m.env, m.refresh, m.writes, m.asked = now.env, now.refresh, now.writes, now.asked
	return nil
}

func cannotWrite(base string) string {
	return fmt.Sprintf("%s/env cannot be written: set management.endpoint.env.post.enabled=true; until then no policy is applied", path(base))
}

// overrides is what was written into a pod, and what would hold without.
type overrides struct {
	// ours are the keys that this package wrote; values are what holds now by writing.
	ours   []string
	values map[string]string
	below  map[string]string // from other sources, such as application.properties
}

// read tells what was written.
func (m *management) read(ctx context.Context) (*overrides, error) {
	var answer struct {
		PropertySources []struct {
			Name       string `json:"name"`
			Properties map[string]struct {
				Value any `json:"value"`
			} `json:"properties"`
		} `json:"propertySources"`
	}
	query := url.Values{"pattern": {`^(hystrix\.(command|threadpool)\..*|` + markerKey + ")$"}}
	if _, err := m.do(ctx, http.MethodGet, m.base+"/env?"+query.Encode(), nil, &answer); err != nil {
		return nil, err
	}
	o := &overrides{values: map[string]string{}, below: map[string]string{}}
	for _, s := range answer.PropertySources {
		for key, p := range s.Properties {
			text := fmt.Sprint(p.Value)
			if s.Name == "manager" {
				o.values[key] = text
			} else if _, ok := o.below[key]; !ok {
				o.below[key] = text
			}
		}
	}
	if text := o.values[markerKey]; text != "" {
		// What cannot be read is nobody's, and is left alone.
		_ = json.Unmarshal([]byte(text), &o.ours)
	}
	delete(o.values, markerKey)
	return o, nil
}

// have is what this package wrote and still holds.
func (o *overrides) have() map[string]string {
	out := make(map[string]string, len(o.ours))
	for _, key := range o.ours {
		if v, ok := o.values[key]; ok {
			out[key] = v
		}
	}
	return out
}

// write sets one property. The pod's beans hear of it before the answer comes.
func (m *management) write(ctx context.Context, key, value string) error {
	_, err := m.do(ctx, http.MethodPost, m.base+"/env", map[string]string{"name": key, "value": value}, nil)
	if s := status(err); s == http.StatusMethodNotAllowed || s == http.StatusNotFound {
		m.asked, m.writes = true, false
		return &refusalError{s, cannotWrite(m.base)}
	}
	return err
}

// mark writes down which keys are ours.
func (m *management) mark(ctx context.Context, keys []string) error {
	if keys == nil {
		keys = []string{}
	}
	slices.Sort(keys)
	data, err := json.Marshal(slices.Compact(keys))
	if err != nil {
		return err
	}
	return m.write(ctx, markerKey, string(data))
}
