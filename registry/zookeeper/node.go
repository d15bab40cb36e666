package zookeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/weirmesh/weir/registry"
)

// Address is a port of an instance and what it speaks there.
type Address struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Port     uint16 `json:"port"`
}

// String returns "dubbo://10.0.0.1:20880".
func (a Address) String() string {
	return a.Protocol + "://" + net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

// Provider is an interface at an address, as a node below its interface says.
type Provider struct {
	registry.Interface
	Address
	App    string
	Path   string // of the URL, which its server goes by
	Weight int    // as an instance has it: DefaultWeight where the URL says nothing
	// Disabled is set where consumers are not to call it.
	Disabled bool
	// Bridge names the bridge that wrote the node; empty where a provider did.
	Bridge string
	// Params are all parameters of the URL.
	Params map[string]string
}

// Consumer is who says that it looks in ZooKeeper for an interface.
type Consumer struct {
	registry.Interface
	App  string
	Host string
}

// Instance is an address of an instance, as a node below its application says.
// dubbo-go writes a node for each of an instance's addresses.
type Instance struct {
	App       string
	Host      string
	Endpoints []registry.Endpoint // of the instance, all of them
	Revision  string
	Tag       string
}

// Parameters of URLs, as Dubbo names them.
const (
	paramApplication = "application"
	paramDisabled    = "disabled"
	paramEnabled     = "enabled"
	paramGroup       = "group"
	paramInterface   = "interface"
	paramMethods     = "methods"
	paramSide        = "side"
	paramVersion     = "version"
	paramWeight      = "weight"
)

// Parameters by which a bridge knows its own nodes again. Nobody else writes them,
// and a node without them is never touched.
const (
	bridgeParam   = "weir.bridge"   // the bridge's name
	instanceParam = "weir.instance" // namespace/app/id
)

const maxNode = 64 << 10 // bytes of a URL; real ones have one or two thousand

// decodeURL takes an encoded URL apart, as Dubbo Java and dubbo-go write them: values
// are not escaped by themselves.
func decodeURL(node string) (scheme, host, path string, params map[string]string, err error) {
	if len(node) > maxNode {
		return "", "", "", nil, fmt.Errorf("it has %d bytes", len(node))
	}
	text, err := url.QueryUnescape(node)
	if err != nil {
		return "", "", "", nil, errors.New("it is not encoded as URLs are")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme == "" {
		return "", "", "", nil, errors.New("it is no URL")
	}
	rest, query, _ := strings.Cut(rest, "?")
	host, path, _ = strings.Cut(rest, "/")
	params = map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key != "" {
			if _, ours := params[key]; !ours {
				params[key] = value
			}
		}
	}
	return scheme, host, path, params, nil
}

// decodeProvider reads the name of a node below an interface's providers.
func decodeProvider(node string) (Provider, error) {
	scheme, at, path, params, err := decodeURL(node)
	if err != nil {
		return Provider{}, err
	}
	host, port, err := splitAddress(at)
	if err != nil {
		return Provider{}, err
	}
	p := Provider{
		Interface: interfaceOf(path, params),
		Address:   Address{Protocol: scheme, Host: host, Port: port},
		Path:      strings.TrimPrefix(path, "/"),
		App:       params[paramApplication], Disabled: disabled(params), Bridge: params[bridgeParam], Params: params,
	}
	p.Weight, _ = registry.DubboWeight(params)
	if p.Name == "" {
		return Provider{}, errors.New("it names no interface")
	}
	return p, nil
}

// weightless reports whether a provider has the weight 0 since it names none, as
// dubbo-go has it. Consumers call such ones, and only where all are so.
func (p *Provider) weightless() bool {
	_, named := registry.DubboWeight(p.Params)
	return !named && p.Params[paramWeight] == "0"
}

// decodeConsumer reads the name of a node below an interface's consumers.
func decodeConsumer(node string) (Consumer, error) {
	scheme, host, path, params, err := decodeURL(node)
	if err != nil {
		return Consumer{}, err
	}
	// Dubbo Java 3 writes in its place the protocol that the reference names.
	if scheme != "consumer" && params[paramSide] != "consumer" {
		return Consumer{}, fmt.Errorf("it is of a %s", scheme)
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return Consumer{Interface: interfaceOf(path, params), App: params[paramApplication], Host: plainHost(host)}, nil
}

func interfaceOf(path string, params map[string]string) registry.Interface {
	name := params[paramInterface]
	if name == "" {
		name = path // what else may stand before the name is the owner's wish
	}
	return registry.Interface{Name: name, Group: params[paramGroup], Version: plainVersion(params[paramVersion])}
}

// plainVersion makes Dubbo's two ways to say "no version" one.
func plainVersion(v string) string {
	if v == "0.0.0" {
		return ""
	}
	return v
}

// splitAddress takes apart what stands before a URL's path: credentials, which are
// nobody's here, a host, which Java writes without brackets where it is one of IPv6,
// and a port.
func splitAddress(at string) (host string, port uint16, err error) {
	bare := at
	if _, after, with := cutLast(at, '@'); with {
		bare = after
	}
	host, text, _ := cutLast(bare, ':')
	host = plainHost(host)
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%q is no host and port", at)
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":[]") {
		return "", 0, fmt.Errorf("%q is no host and port", at)
	}
	return host, uint16(n), nil
}

// plainHost writes an address as Kubernetes does; a name stays one.
func plainHost(host string) string {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.Unmap().String()
	}
	return host
}

// disabled reports whether consumers leave a provider out, by either of Dubbo's words.
func disabled(params map[string]string) bool {
	if text, said := params[paramDisabled]; said {
		return text == "true"
	}
	return params[paramEnabled] == "false"
}

// decodeInstance reads the content of a node below an application.
func decodeInstance(app string, content []byte) (Instance, error) {
	var node struct {
		Address string `json:"address"`
		Port    int    `json:"port"`
		Payload struct {
			Metadata map[string]any `json:"metadata"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(content, &node); err != nil {
		return Instance{}, errors.New("it is no JSON of Curator's service discovery")
	}
	metadata := make(map[string]string, len(node.Payload.Metadata))
	for k, v := range node.Payload.Metadata {
		if text, ok := v.(string); ok {
			metadata[k] = text
		}
	}
	endpoints, err := registry.DubboEndpoints(metadata)
	if err != nil {
		return Instance{}, err
	}
	if node.Address == "" {
		return Instance{}, errors.New("it names no address")
	}
	if len(endpoints) == 0 && node.Port > 0 && node.Port <= 65535 {
		endpoints = []registry.Endpoint{{Port: uint16(node.Port)}}
	}
	return Instance{App: app, Host: plainHost(node.Address), Endpoints: endpoints, Revision: metadata[registry.KeyRevision], Tag: metadata[registry.KeyTag]}, nil
}
