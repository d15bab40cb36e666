package trace

import (
	"net/http"
	"strings"
)

// Carrier is the metadata of one call: a request's headers, a Dubbo invocation's
// attachments. The types Header, Strings and Attachments are carriers.
type Carrier interface {
	// Each calls f for every entry, in any order.
	Each(f func(key, value string))
	// Set adds or replaces the entry of exactly this key.
	Set(key, value string)
	// Delete removes the entry of exactly this key.
	Delete(key string)
}

// Header makes a carrier of the headers of an HTTP request.
type Header http.Header

// Each implements Carrier. Headers that are sent more than once are joined by
// commas, as RFC 9110 reads them.
func (h Header) Each(f func(key, value string)) {
	for k, v := range h {
		if len(v) == 1 {
			f(k, v[0])
		} else if len(v) > 1 {
			f(k, strings.Join(v, ","))
		}
	}
}

// Set implements Carrier.
func (h Header) Set(key, value string) { http.Header(h).Set(key, value) }

// Delete implements Carrier.
func (h Header) Delete(key string) { delete(h, key) }

// Strings makes a carrier of a map, such as the metadata of a message.
type Strings map[string]string

// Each implements Carrier.
func (m Strings) Each(f func(key, value string)) {
	for k, v := range m {
		f(k, v)
	}
}

// Set implements Carrier.
func (m Strings) Set(key, value string) { m[key] = value }

// Delete implements Carrier.
func (m Strings) Delete(key string) { delete(m, key) }

// Attachments makes a carrier of the attachments of a Dubbo invocation, whose
// values are strings or, where dubbo-go's Triple made them, slices of strings.
// It writes plain strings, since Java's Dubbo reads nothing else.
type Attachments map[string]any

// Each implements Carrier. Entries that are no text are left out.
func (m Attachments) Each(f func(key, value string)) {
	for k, v := range m {
		switch v := v.(type) {
		case string:
			f(k, v)
		case []string:
			if len(v) > 0 {
				f(k, strings.Join(v, ","))
			}
		}
	}
}

// Set implements Carrier.
func (m Attachments) Set(key, value string) { m[key] = value }

// Delete implements Carrier.
func (m Attachments) Delete(key string) { delete(m, key) }
