package dubbo

import (
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"sync"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
)

// target is one address under which an instance, or later a whole application
// in Service mode, is called.
type target struct {
	host string
	port uint16
	// lane tells apart several connections to one address; 0 is the only one.
	lane int
}

// targets returns where the instance serves the service. A document without ports
// (Dubbo's MetadataServiceV2) leaves it to the instance.
func targets(i *registry.Instance, s *service) []target {
	if !i.Host.IsValid() {
		return nil
	}
	var found []target
	host := i.Host.Unmap().String()
	if i.Host.Unmap().Is6() {
		host = "[" + host + "]" // dubbo-go joins host and port by a colon
	}
	for _, port := range i.PortsOf(s.protocol, s.port) {
		found = append(found, target{host: host, port: port})
	}
	return found
}

// urls returns the service's URLs at the instance: what the document says, with
// what the instance says of itself (weight, tag, zone, start) laid over it.
func urls(i *registry.Instance, s *service) []*common.URL {
	ts := targets(i, s)
	out := make([]*common.URL, 0, len(ts))
	for _, t := range ts {
		out = append(out, newURL(t, i, s))
	}
	return out
}

func newURL(t target, i *registry.Instance, s *service) *common.URL {
	port := strconv.Itoa(int(t.port))
	u := common.NewURLWithOptions(
		common.WithProtocol(s.protocol),
		common.WithIp(t.host),
		common.WithPort(port),
		common.WithPath(s.name),
		common.WithParams(s.params),
		common.WithInterface(s.name),
		common.WithMethods(s.methods),
	)
	if s.group != "" {
		u.SetParam(paramGroup, s.group)
	}
	if s.version != "" {
		u.SetParam(paramVersion, s.version)
	}
	// The default says nothing against a service's own weight. A weight of 0 is
	// Java's word for no calls, but dubbo-go's for none configured.
	silent := u.GetParam(paramWeight, "") == "" || byWeir(i) && u.GetParamInt(paramWeight, 0) <= 0
	if w := i.Details.Weight; w > 0 && (w != registry.DefaultWeight || silent) {
		u.SetParam(paramWeight, strconv.Itoa(w))
	}
	tag := i.Details.Tag
	if tag == "" {
		tag = i.Metadata[registry.KeyTag]
	}
	if tag != "" {
		u.SetParam(paramTag, tag)
	}
	if i.Zone != "" {
		u.SetParam(paramZone, i.Zone)
	}
	if i.Cluster != "" {
		u.SetParam(paramCluster, i.Cluster)
	}
	if env := i.Metadata[constant.EnvironmentKey]; env != "" {
		u.SetParam(paramEnvironment, env)
	} else {
		u.DelParam(paramEnvironment)
	}
	if byWeir(i) {
		// dubbo-go's load balancers warm up by remote.timestamp, and its URL merge
		// keeps it only where there is a timestamp too.
		started := strconv.FormatInt(i.Details.Started.Unix(), 10)
		u.SetParam(paramTimestamp, started)
		u.SetParam(paramRemoteTimestamp, started)
	}
	if s.protocol == constant.DubboProtocol && u.GetParam(paramSerialization, "") == "" {
		// dubbo-go adds it on the first call; the next list would then look
		// changed and the connection be referred again.
		u.SetParam(paramSerialization, constant.Hessian2Serialization)
	}
	if t.lane > 0 {
		u.SetParam(paramLane, strconv.Itoa(t.lane))
	}
	return u
}

// byWeir reports whether the instance registered through Weir, so that its
// Details are its own words and not defaults.
func byWeir(i *registry.Instance) bool { return !i.Details.Started.IsZero() }

// serviceInstance shows a registry.Instance to dubbo-go's service discovery.
type serviceInstance struct {
	app      string
	instance *registry.Instance
	metadata map[string]string

	mu      sync.Mutex
	service *info.MetadataInfo
}

var _ goregistry.ServiceInstance = (*serviceInstance)(nil)

// newServiceInstance shows i under the name by which dubbo-go asked for it.
func newServiceInstance(app string, i *registry.Instance) *serviceInstance {
	s := &serviceInstance{app: app, instance: i, metadata: maps.Clone(i.Metadata)}
	if s.metadata == nil {
		s.metadata = map[string]string{}
	}
	if i.Revision == "" {
		s.metadata[constant.ExportedServicesRevisionPropertyName] = noServices
	}
	return s
}

// stored returns the instance with the word that its metadata is in the store,
// which makes dubbo-go read it there before it asks the instance.
func (s *serviceInstance) stored() *serviceInstance {
	s.metadata[constant.MetadataStorageTypePropertyName] = constant.RemoteMetadataStorageType
	return s
}

func (s *serviceInstance) GetID() string          { return s.instance.ID }
func (s *serviceInstance) GetServiceName() string { return s.app }
func (s *serviceInstance) GetHost() string        { return s.instance.Host.Unmap().String() }

// GetPort returns the first port the instance names, 0 if it names none.
func (s *serviceInstance) GetPort() int {
	if len(s.instance.Endpoints) == 0 {
		return 0
	}
	return int(s.instance.Endpoints[0].Port)
}

func (s *serviceInstance) IsEnable() bool { return s.instance.Details.State != registry.Draining }
func (s *serviceInstance) IsHealthy() bool {
	return s.instance.Health == registry.Ready || s.instance.Kept != nil
}
func (s *serviceInstance) GetMetadata() map[string]string { return s.metadata }

func (s *serviceInstance) GetAddress() string {
	return net.JoinHostPort(s.GetHost(), strconv.Itoa(s.GetPort()))
}

func (s *serviceInstance) GetTag() string {
	if s.instance.Details.Tag != "" {
		return s.instance.Details.Tag
	}
	return s.instance.Metadata[registry.KeyTag]
}

func (s *serviceInstance) GetWeight() int64 {
	if s.instance.Details.Weight > 0 {
		return int64(s.instance.Details.Weight)
	}
	return constant.DefaultWeight
}

func (s *serviceInstance) GetEndPoints() []*goregistry.Endpoint {
	out := make([]*goregistry.Endpoint, 0, len(s.instance.Endpoints))
	for _, e := range s.instance.Endpoints {
		out = append(out, &goregistry.Endpoint{Port: int(e.Port), Protocol: e.Protocol})
	}
	return out
}

// ToURLs returns the service's URLs at this instance.
func (s *serviceInstance) ToURLs(si *info.ServiceInfo) []*common.URL {
	doc, err := newDocument(&info.MetadataInfo{Services: map[string]*info.ServiceInfo{si.GetMatchKey(): si}})
	if err != nil {
		return nil // an interface without a name, which nobody asks for
	}
	var out []*common.URL
	for _, list := range doc.services {
		for _, sv := range list {
			out = append(out, urls(s.instance, sv)...)
		}
	}
	return out
}

// Copy returns the instance with endpoint as its only one.
func (s *serviceInstance) Copy(endpoint *goregistry.Endpoint) goregistry.ServiceInstance {
	i := *s.instance
	i.Endpoints = []registry.Endpoint{{Protocol: endpoint.Protocol, Port: uint16(endpoint.Port)}}
	i.Metadata = maps.Clone(i.Metadata)
	if b, err := json.Marshal([]goregistry.Endpoint{*endpoint}); err == nil && i.Metadata != nil {
		i.Metadata[constant.ServiceInstanceEndpoints] = string(b)
	}
	return newServiceInstance(s.app, &i)
}

func (s *serviceInstance) SetServiceMetadata(m *info.MetadataInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.service = m
}

func (s *serviceInstance) GetServiceMetadata() *info.MetadataInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.service
}
