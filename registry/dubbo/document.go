package dubbo

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"

	"github.com/weirmesh/weir/registry"
)

// noServices is the revision Dubbo gives to an instance that offers nothing.
const noServices = "0"

// document tells what all instances of one revision of an application offer. It
// is immutable.
type document struct {
	info *info.MetadataInfo
	// services are those offered, by interface name.
	services map[string][]*service
}

// service is one interface as offered over one protocol.
type service struct {
	name, group, version, protocol string
	// port is the port the document names, 0 if it names none. Ports are the
	// instance's to say; this one only chooses among several of a protocol.
	port    uint16
	methods []string
	params  url.Values
}

// describe builds the document of what the URLs export, with its bytes and its
// revision. Two processes that export the same get the same revision and bytes:
// dubbo-go's own revision depends on when the process started.
func describe(app string, exported []*common.URL) (doc *document, encoded []byte, err error) {
	services := make(map[string]*info.ServiceInfo, len(exported))
	for _, u := range exported {
		s := info.NewServiceInfoWithURL(u)
		s.URL = nil
		delete(s.Params, constant.TimestampKey)
		methods := strings.Split(s.Params[constant.MethodsKey], ",")
		slices.Sort(methods)
		s.Params[constant.MethodsKey] = strings.Join(slices.Compact(methods), ",")
		services[s.GetMatchKey()] = s
	}
	m := info.NewMetadataInfo(app, "")
	m.Services = services
	m.Revision = info.CalRevision(app, services)
	encoded, err = json.Marshal(m)
	if err != nil {
		return nil, nil, fmt.Errorf("encode metadata of %s: %w", app, err)
	}
	doc, err = newDocument(m)
	return doc, encoded, err
}

// decodeDocument reads a stored metadata document, as written by Weir, dubbo-go
// or Dubbo Java.
func decodeDocument(b []byte) (*document, error) {
	if len(b) > registry.MaxDocument {
		return nil, fmt.Errorf("metadata document has %d bytes, more than %d", len(b), registry.MaxDocument)
	}
	m := &info.MetadataInfo{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("metadata document is not readable: %w", err)
	}
	return newDocument(m)
}

// newDocument indexes m, which it takes over. What came from another process is
// checked, since dubbo-go's types trust it.
func newDocument(m *info.MetadataInfo) (*document, error) {
	if m == nil {
		return nil, errors.New("metadata document is empty")
	}
	d := &document{info: m, services: make(map[string][]*service, len(m.Services))}
	for _, key := range slices.Sorted(maps.Keys(m.Services)) {
		s := m.Services[key]
		if s == nil || s.Name == "" {
			return nil, fmt.Errorf("metadata document names no interface under %q", key)
		}
		if s.Port < 0 || s.Port > 65535 {
			return nil, fmt.Errorf("metadata document names port %d for %s, which is none", s.Port, s.Name)
		}
		// Lazily computed by dubbo-go otherwise, unsynchronised.
		s.GetMatchKey()
		sv := &service{
			name:     s.Name,
			group:    s.Group,
			version:  s.Version,
			protocol: s.Protocol,
			port:     uint16(s.Port),
			params:   s.GetParams(),
		}
		if names := s.Params[constant.MethodsKey]; names != "" {
			sv.methods = strings.Split(names, ",")
		}
		if sv.protocol == "" {
			// Java leaves it out where there is only one: the key still has it.
			sv.protocol = key[strings.LastIndexByte(key, ':')+1:]
		}
		d.services[sv.name] = append(d.services[sv.name], sv)
	}
	return d, nil
}

// interfaces returns the names of the interfaces offered, sorted.
func (d *document) interfaces() []string { return slices.Sorted(maps.Keys(d.services)) }
