package dubbo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/metadata"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	tripleapi "dubbo.apache.org/dubbo-go/v3/metadata/triple_api/proto"
	"dubbo.apache.org/dubbo-go/v3/protocol/protocolwrapper"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	gohessian "github.com/apache/dubbo-go-hessian2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weirmesh/weir/registry"
)

// MetadataService answers other processes about what this one offers:
// org.apache.dubbo.metadata.MetadataService, which Dubbo Java needs, since it
// has no metadata centre on Kubernetes. dubbo-go's own is exported on a port of
// its own, a random one unless configured; this one shares the port of the
// application's services, so that no further port need be opened. It is exported
// for dubbo-go, which calls it by reflection; it is no API.
type MetadataService struct {
	mu        sync.RWMutex
	documents map[string]*document // by revision
}

// keptDocuments bounds how many revisions of itself a process answers for: the
// newest, and those before it that a slow consumer may still ask for.
const keptDocuments = 8

// Reference names the service to dubbo-go.
func (s *MetadataService) Reference() string { return constant.SimpleMetadataServiceName }

// MethodMapper tells dubbo-go how Java spells the methods.
func (s *MetadataService) MethodMapper() map[string]string {
	return map[string]string{"GetMetadataInfo": "getMetadataInfo"}
}

// GetMetadataInfo returns the document of a revision, nil if it is not known.
func (s *MetadataService) GetMetadataInfo(revision string) (*info.MetadataInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if d := s.documents[revision]; d != nil {
		return d.info, nil
	}
	return nil, nil
}

func (s *MetadataService) put(d *document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.documents == nil || len(s.documents) >= keptDocuments {
		s.documents = map[string]*document{}
	}
	s.documents[d.info.Revision] = d
}

// tripleV1 and tripleV2 serve it over Triple, in the two shapes that exist.
type tripleV1 struct{ service *MetadataService }

func (t tripleV1) GetMetadataInfo(_ context.Context, revision string) (*info.MetadataInfo, error) {
	return t.service.GetMetadataInfo(revision)
}

type tripleV2 struct{ service *MetadataService }

func (t tripleV2) GetMetadataInfo(_ context.Context, req *tripleapi.MetadataRequest) (*tripleapi.MetadataInfoV2, error) {
	m, err := t.service.GetMetadataInfo(req.GetRevision())
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("no metadata of revision %q; this process has another by now", req.GetRevision())
	}
	out := &tripleapi.MetadataInfoV2{App: m.App, Version: m.Revision, Tag: m.Tag, Services: map[string]*tripleapi.ServiceInfoV2{}}
	for key, s := range m.Services {
		out.Services[key] = &tripleapi.ServiceInfoV2{
			Name: s.Name, Group: s.Group, Version: s.Version, Protocol: s.Protocol,
			Port: int32(s.Port), Path: s.Path, Params: s.Params,
		}
	}
	return out, nil
}

var (
	_ metadata.MetadataServiceHandler   = tripleV1{}
	_ metadata.MetadataServiceV2Handler = tripleV2{}
)

// tripleV1Info describes the first shape as dubbo-go does, with an answer that Dubbo
// Java can read: before 3.3 it knows no other shape, and dubbo-go 3.3.2 fails to
// write the message in which Triple puts what has no proto.
func tripleV1Info() *common.ServiceInfo {
	return &common.ServiceInfo{
		InterfaceName: constant.MetadataServiceName,
		ServiceType:   (*metadata.MetadataServiceHandler)(nil),
		Methods: []common.MethodInfo{{
			Name: "getMetadataInfo", Type: constant.CallUnary, ReqInitFunc: func() any { return new(string) },
			MethodFunc: func(ctx context.Context, args []any, handler any) (any, error) {
				revision, service := args[0].(*string), handler.(metadata.MetadataServiceHandler) //nolint:forcetypeassert,errcheck // as the fields above say
				m, err := service.GetMetadataInfo(ctx, *revision)
				if err != nil || !byProto(ctx) {
					return m, err
				}
				return wrapped(m)
			},
		}},
	}
}

// byProto reports whether a call over Triple is in protobuf, as Dubbo Java's are.
func byProto(ctx context.Context) bool {
	attachments, _ := ctx.Value(constant.AttachmentKey).(map[string]any)
	types, _ := attachments["content-type"].([]string)
	return slices.Equal(types, []string{"application/grpc+proto"}) || slices.Equal(types, []string{"application/grpc"})
}

// wrapped puts an answer in Hessian into Triple's TripleResponseWrapper, whose Go
// type is dubbo-go's own: a message that consists of fields it does not know.
func wrapped(m *info.MetadataInfo) (*triple_protocol.Response, error) {
	encoder := gohessian.NewEncoder()
	var answer any // null for what is not known, and not an empty object
	if m != nil {
		answer = m
	}
	if err := encoder.Encode(answer); err != nil {
		return nil, fmt.Errorf("write the metadata in Hessian: %w", err)
	}
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "hessian4")
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), encoder.Buffer())
	message := new(emptypb.Empty)
	message.ProtoReflect().SetUnknown(b)
	return triple_protocol.NewResponse(message), nil
}

// metadataServer exports the MetadataService of one application, once.
type metadataServer struct {
	app      string
	service  *MetadataService
	at       metadataEndpoint
	exported bool
}

// serve makes the documents of d and later ones answerable and returns where.
// Where dubbo-go exports a MetadataService of its own, that one is used.
func (m *metadataServer) serve(d *document, exported []*common.URL) (at metadataEndpoint, err error) {
	m.service.put(d)
	if own, _ := metadata.GetMetadataService().GetMetadataServiceURL(); own != nil {
		if port, err := strconv.ParseUint(own.Port, 10, 16); err == nil && port != 0 {
			m.mirror(d, exported)
			return metadataEndpoint{protocol: own.Protocol, port: uint16(port)}, nil
		}
	}
	if m.exported {
		return m.at, nil
	}
	carrier := metadataCarrier(exported)
	if carrier == nil {
		return metadataEndpoint{}, nil // a protocol that cannot carry it; the document is in the store
	}
	port, err := strconv.ParseUint(carrier.Port, 10, 16)
	if err != nil {
		return metadataEndpoint{}, fmt.Errorf("port %q of %s: %w", carrier.Port, carrier.Service(), err)
	}
	// dubbo-go's protocols panic when they cannot export.
	defer func() {
		if r := recover(); r != nil {
			err = &registry.Error{
				Code:    registry.Internal,
				Message: fmt.Sprintf("export the metadata service of %s on port %d: %v", m.app, port, r),
			}
		}
	}()
	if carrier.Protocol == constant.DubboProtocol {
		err = m.exportDubbo(carrier)
	} else {
		m.exportTriple(carrier)
	}
	if err != nil {
		return metadataEndpoint{}, err
	}
	m.exported = true
	m.at = metadataEndpoint{protocol: carrier.Protocol, port: uint16(port)}
	return m.at, nil
}

// metadataCarrier chooses the exported URL whose server also answers for
// metadata: the application's configured metadata port if it is among them, else
// the first that speaks Triple or the Dubbo protocol.
func metadataCarrier(exported []*common.URL) *common.URL {
	carriers := slices.DeleteFunc(slices.Clone(exported), func(u *common.URL) bool {
		return u.Protocol != constant.TriProtocol && u.Protocol != constant.DubboProtocol
	})
	if len(carriers) == 0 {
		return nil
	}
	wanted := ""
	if raw, ok := carriers[0].GetAttribute(constant.ApplicationKey); ok {
		if app, ok := raw.(*global.ApplicationConfig); ok && app != nil {
			wanted = app.MetadataServicePort
		}
	}
	return slices.MinFunc(carriers, func(a, b *common.URL) int {
		return cmp.Or(
			-cmp.Compare(truth(a.Port == wanted), truth(b.Port == wanted)),
			-cmp.Compare(truth(a.Protocol == constant.TriProtocol), truth(b.Protocol == constant.TriProtocol)),
			strings.Compare(a.Port, b.Port),
		)
	})
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mirror puts the document where dubbo-go's own MetadataService finds it, under
// an id that no registry has. It is written once: dubbo-go reads it unlocked.
func (m *metadataServer) mirror(d *document, exported []*common.URL) {
	id := "weir/" + m.app + "/" + d.info.Revision
	if metadata.GetMetadataInfo(id) != nil {
		return
	}
	for _, u := range exported {
		metadata.AddService(id, u)
	}
	metadata.GetMetadataInfo(id).Revision = d.info.Revision
}

func (m *metadataServer) exportDubbo(carrier *common.URL) error {
	u := m.url(carrier, constant.MetadataServiceName, constant.MetadataServiceV1Version)
	u.SetParam(constant.SerializationKey, constant.Hessian2Serialization)
	u.SetParam(constant.BeanNameKey, constant.SimpleMetadataServiceName)
	methods, err := common.ServiceMap.Register(u.Interface(), u.Protocol, u.Group(), u.Version(), m.service)
	if err != nil {
		return fmt.Errorf("export the metadata service of %s: %w", m.app, err)
	}
	u.Methods = strings.Split(methods, ",")
	export(u, u.Protocol)
	return nil
}

func (m *metadataServer) exportTriple(carrier *common.URL) {
	methods := []string{"getMetadataInfo", "GetMetadataInfo"}

	v1 := m.url(carrier, constant.MetadataServiceName, constant.MetadataServiceV1Version)
	v1.SetParam(constant.SerializationKey, constant.Hessian2Serialization)
	v1.Methods = methods
	v1.SetAttribute(constant.ServiceInfoKey, tripleV1Info())
	v1.SetAttribute(constant.RpcServiceKey, tripleV1{m.service})
	export(v1, protocolwrapper.FILTER)

	v2 := m.url(carrier, constant.MetadataServiceV2Name, constant.MetadataServiceV2Version)
	v2.Methods = methods
	v2.SetAttribute(constant.ServiceInfoKey, &metadata.MetadataServiceV2_ServiceInfo)
	v2.SetAttribute(constant.RpcServiceKey, tripleV2{m.service})
	export(v2, protocolwrapper.FILTER)
}

// url returns the URL of a metadata service on carrier's listener.
func (m *metadataServer) url(carrier *common.URL, iface, version string) *common.URL {
	u := common.NewURLWithOptions(
		common.WithProtocol(carrier.Protocol),
		common.WithIp(carrier.Ip),
		common.WithPort(carrier.Port),
		common.WithPath(iface),
		common.WithInterface(iface),
		common.WithParamsValue(constant.GroupKey, m.app),
		common.WithParamsValue(constant.VersionKey, version),
		common.WithParamsValue(constant.ReleaseKey, release),
		common.WithParamsValue(constant.SideKey, constant.SideProvider),
	)
	u.Location = carrier.Location
	// The listener is shared, so its settings must be the same.
	for _, key := range []string{constant.TLSConfigKey, constant.TripleConfigKey, constant.ProtocolConfigKey, constant.ApplicationKey} {
		if v, ok := carrier.GetAttribute(key); ok {
			u.SetAttribute(key, v)
		}
	}
	return u
}

func export(u *common.URL, protocol string) {
	extension.GetProtocol(protocol).Export(extension.GetProxyFactory("").GetInvoker(u))
}
