package dubbo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
)

// release is what instances say of the software behind them.
const release = "dubbo-golang-" + constant.Version

// protocolVersion is the version of Dubbo's wire protocol, as Java writes it.
const protocolVersion = "2.0.2"

// endpointJSON and metadataServiceJSON have their fields in the order in which
// Dubbo Java writes them, so that both write the same bytes.
type endpointJSON struct {
	Port     uint16 `json:"port"`
	Protocol string `json:"protocol"`
}

type metadataServiceJSON struct {
	Version  string `json:"version"`
	Dubbo    string `json:"dubbo"`
	Release  string `json:"release"`
	Side     string `json:"side"`
	Port     string `json:"port"`
	Protocol string `json:"protocol"`
}

// metadataEndpoint is where an instance answers for its metadata by call. The
// zero value means nowhere.
type metadataEndpoint struct {
	protocol string
	port     uint16
}

// instanceMetadata returns what an instance that exports these URLs publishes of
// itself: Dubbo Java's map, whose values are strings and whose lists are JSON
// inside them.
func instanceMetadata(doc *document, exported []*common.URL, service metadataEndpoint) (map[string]string, error) {
	endpoints, err := exportedEndpoints(exported)
	if err != nil {
		return nil, err
	}
	list := make([]endpointJSON, len(endpoints))
	for i, e := range endpoints {
		list[i] = endpointJSON{Port: e.Port, Protocol: e.Protocol}
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode endpoints: %w", err)
	}
	m := map[string]string{
		constant.ServiceInstanceEndpoints:             string(encoded),
		constant.ExportedServicesRevisionPropertyName: doc.info.Revision,
		constant.MetadataStorageTypePropertyName:      constant.RemoteMetadataStorageType,
	}
	if service.port != 0 {
		params, err := json.Marshal(metadataServiceJSON{
			Version:  constant.MetadataServiceV1Version,
			Dubbo:    protocolVersion,
			Release:  release,
			Side:     constant.SideProvider,
			Port:     strconv.Itoa(int(service.port)),
			Protocol: service.protocol,
		})
		if err != nil {
			return nil, fmt.Errorf("encode metadata service: %w", err)
		}
		m[constant.MetadataServiceURLParamsPropertyName] = string(params)
		// Java has no metadata centre on Kubernetes: it must be able to ask.
		m[constant.MetadataStorageTypePropertyName] = constant.DefaultMetadataStorageType
		m[constant.MetadataVersion] = constant.MetadataServiceV1Version
		if service.protocol == constant.TriProtocol {
			m[constant.MetadataVersion] = constant.MetadataServiceV2Version
		}
	}
	if tag := exportedTag(exported); tag != "" {
		m[constant.Tagkey] = tag
	}
	if env := exported[0].GetParam(constant.EnvironmentKey, ""); env != "" {
		m[constant.EnvironmentKey] = env
	}
	customize(m, doc, exported)
	return m, nil
}

// exportedEndpoints returns the protocols and ports of the URLs, as
// registry.Instance.Endpoints has them.
func exportedEndpoints(exported []*common.URL) ([]registry.Endpoint, error) {
	out := make([]registry.Endpoint, 0, len(exported))
	for _, u := range exported {
		port, err := strconv.ParseUint(u.Port, 10, 16)
		if err != nil || port == 0 {
			return nil, &registry.Error{
				Code:    registry.Invalid,
				Message: fmt.Sprintf("%s is exported over %s on port %q, which is none", u.Service(), u.Protocol, u.Port),
				Fix:     "give the protocol a port",
			}
		}
		out = append(out, registry.Endpoint{Protocol: u.Protocol, Port: uint16(port)})
	}
	slices.SortFunc(out, func(a, b registry.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Protocol, b.Protocol))
	})
	return slices.Compact(out), nil
}

// exportedDetails returns what the URLs say of the instance beyond its metadata.
func exportedDetails(exported []*common.URL, started time.Time) registry.Details {
	d := registry.Details{State: registry.Up, Tag: exportedTag(exported), Started: started, Weight: exportedWeight(exported[0])}
	for _, u := range exported[1:] {
		if exportedWeight(u) != d.Weight {
			d.Weight = registry.DefaultWeight // the document has each service's own
			break
		}
	}
	return d
}

// exportedWeight returns the weight of one service. dubbo-go writes 0 for none.
func exportedWeight(u *common.URL) int {
	if w := u.GetParamInt(constant.WeightKey, 0); w > 0 {
		return int(min(w, registry.MaxWeight))
	}
	return registry.DefaultWeight
}

// exportedTag returns the traffic tag of the application, or of its services
// where it has none of its own.
func exportedTag(exported []*common.URL) string {
	for _, key := range []string{constant.ApplicationTagKey, constant.Tagkey} {
		for _, u := range exported {
			if tag := u.GetParam(key, ""); tag != "" {
				return tag
			}
		}
	}
	return ""
}

// customizerPackage is where dubbo-go's own customizers live. They compute what
// is computed here, from global state that knows nothing of this registry.
const customizerPackage = "dubbo.apache.org/dubbo-go/v3/registry/servicediscovery/customizer"

// customize lets the customizers that a user registered with dubbo-go add keys.
// What this package wrote stays.
func customize(m map[string]string, doc *document, exported []*common.URL) {
	var instance *goregistry.DefaultServiceInstance
	for _, c := range extension.GetCustomizers() {
		t := reflect.TypeOf(c)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.PkgPath() == customizerPackage {
			continue
		}
		if instance == nil {
			port, _ := strconv.Atoi(exported[0].Port)
			instance = &goregistry.DefaultServiceInstance{
				ID: exported[0].Address(), Host: exported[0].Ip, Port: port,
				ServiceName: doc.info.App, Enable: true, Healthy: true,
				Metadata: map[string]string{}, ServiceMetadata: doc.info, Tag: exportedTag(exported),
			}
			maps.Copy(instance.Metadata, m)
		}
		c.Customize(instance)
	}
	if instance == nil {
		return
	}
	for k, v := range instance.Metadata {
		if _, ours := m[k]; !ours && k != constant.RegistryIdKey {
			m[k] = v
		}
	}
}
