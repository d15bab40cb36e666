package zookeeper

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

// offers are what a revision of an application offers, with all that URLs say of it.
type offers struct {
	mu   sync.Mutex
	list []offer
	ok   bool
	said string // why it is not known, as it was told last

	next  time.Time // no attempt to know it before
	delay time.Duration
}

// due reports whether it is time for another attempt, and counts it.
func (o *offers) due(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.next) {
		return false
	}
	o.delay = min(max(lookForApps, 2*o.delay), lastRelearn)
	o.next = now.Add(o.delay - lookForApps/2) // looked at every lookForApps
	return true
}

type offer struct {
	registry.Interface
	Protocol string
	Port     uint16 // 0 if the document names none
	Path     string
	Params   map[string]string
	Weight   *int // that it names itself
}

// known reports whether it is known; of nothing it is not.
func (o *offers) known() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ok
}

// why says why it is not known.
func (o *offers) why() string {
	if o == nil {
		return "it was not read yet"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return cmp.Or(o.said, "it was not read yet")
}

// complain reports whether an error is new.
func (o *offers) complain(err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	fresh := o.said != err.Error()
	o.said = err.Error()
	return fresh
}

// decode reads a metadata document, as Weir, dubbo-go or Dubbo Java write it.
func (o *offers) decode(document []byte) error {
	if len(document) > registry.MaxDocument {
		return fmt.Errorf("its metadata has %d bytes, more than %d", len(document), registry.MaxDocument)
	}
	var d struct {
		Services map[string]struct {
			Name     string            `json:"name"`
			Group    string            `json:"group"`
			Version  string            `json:"version"`
			Protocol string            `json:"protocol"`
			Port     int               `json:"port"`
			Path     string            `json:"path"`
			Params   map[string]string `json:"params"`
		} `json:"services"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return fmt.Errorf("its metadata is not readable: %w", err)
	}
	var list []offer
	for _, key := range slices.Sorted(maps.Keys(d.Services)) {
		s := d.Services[key]
		if s.Name == "" || slices.Contains(ownInterfaces, s.Name) {
			continue
		}
		if s.Protocol == "" {
			// Java leaves it out where there is only one: the key still has it.
			s.Protocol = key[strings.LastIndexByte(key, ':')+1:]
		}
		out := offer{
			Interface: registry.Interface{Name: s.Name, Group: s.Group, Version: plainVersion(s.Version)},
			Protocol:  s.Protocol, Path: strings.TrimPrefix(s.Path, "/"), Params: s.Params,
		}
		if weight, named := registry.DubboWeight(s.Params); named {
			out.Weight = &weight
		}
		if s.Port > 0 && s.Port <= 65535 {
			out.Port = uint16(s.Port)
		}
		list = append(list, out)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list, o.ok, o.said = list, true, ""
	return nil
}

// provider is a node that is to be there.
type provider struct {
	Provider
	instance string // as instanceParam has it
	stale    bool   // known by a registry that is out of touch
}

// providers returns what of an instance is to be in ZooKeeper.
func (o *offers) providers(bridge string, app registry.App, i *registry.Instance, protocols []string) []provider {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []provider
	for n := range o.list {
		offer := &o.list[n]
		if !slices.Contains(protocols, offer.Protocol) || !i.Host.IsValid() {
			continue
		}
		for _, port := range i.PortsOf(offer.Protocol, offer.Port) {
			p := provider{
				Provider: Provider{
					Interface: offer.Interface,
					Address:   Address{Protocol: offer.Protocol, Host: i.Host.Unmap().String(), Port: port},
					App:       app.Name, Weight: i.WeightOf(offer.Weight), Bridge: bridge, Path: cmp.Or(offer.Path, offer.Name),
				},
				instance: app.String() + "/" + i.ID,
			}
			p.Params = offer.parameters(&p, i)
			out = append(out, p)
		}
	}
	return out
}

// parameters are those of a provider's URL: what its document says, and over it what
// the instance does.
func (o *offer) parameters(p *provider, i *registry.Instance) map[string]string {
	params := map[string]string{}
	for k, v := range o.Params {
		// Values are not escaped by themselves, and hidden ones are nobody's.
		if v != "" && !strings.HasPrefix(k, ".") && !strings.HasPrefix(strings.ToLower(k), "registry") && !strings.ContainsAny(k+v, "&=?") {
			params[k] = v
		}
	}
	for k, v := range map[string]string{
		"anyhost": "true", "dubbo": "2.0.2", paramSide: "provider", "category": "providers",
		paramApplication: p.App, paramInterface: p.Name, paramGroup: p.Group, paramVersion: p.Version,
		paramWeight: strconv.Itoa(p.Weight), bridgeParam: p.Bridge, instanceParam: p.instance,
	} {
		if v != "" {
			params[k] = v
		} else {
			delete(params, k)
		}
	}
	if tag := i.Details.Tag; tag != "" {
		params[registry.KeyTag] = tag
	}
	// Consumers let providers warm up from then on, in milliseconds.
	delete(params, "timestamp")
	if !i.Details.Started.IsZero() {
		params["timestamp"] = strconv.FormatInt(i.Details.Started.UnixMilli(), 10)
	}
	return params
}

// level returns the nodes that are to be there beside those that providers have
// written themselves. Where all of these have no weight, neither have those that have
// the default, so that consumers call all alike. Weights that somebody wants hold.
func level(want map[string]provider, weightless map[registry.Interface]bool) map[string]provider {
	uneven := map[registry.Interface]bool{}
	for _, p := range want {
		if p.Weight != registry.DefaultWeight {
			uneven[p.Interface] = true
		}
	}
	out := make(map[string]provider, len(want))
	for node, p := range want {
		if weightless[p.Interface] && !uneven[p.Interface] {
			p.Params = maps.Clone(p.Params)
			p.Params[paramWeight] = "0"
			node = p.node()
		}
		out[node] = p
	}
	return out
}

// node returns the name of the provider's node, the same from whoever writes it.
func (p *provider) node() string {
	var query strings.Builder
	for n, k := range slices.Sorted(maps.Keys(p.Params)) {
		if n > 0 {
			query.WriteByte('&')
		}
		query.WriteString(k + "=" + p.Params[k])
	}
	return url.QueryEscape(p.Protocol + "://" + net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) + "/" + p.Path + "?" + query.String())
}
