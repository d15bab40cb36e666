package dubbo

import (
	"encoding/json"
	"fmt"
	"strconv"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	"dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/test/bench/plan"
)

// Offer is what the instances of one application say of themselves.
type Offer struct {
	Revision string
	Document []byte            // dubbo-go's MetadataInfo as JSON
	Metadata map[string]string // of an instance, as Dubbo's Kubernetes registries write it
}

// NewOffer describes an application of the plan. Its instances are identical but
// for their addresses, which neither document nor metadata hold.
func NewOffer(p plan.Plan, app int) (Offer, error) {
	s := info.NewServiceInfoWithURL(ProviderURL(plan.Plan{Instances: p.Instances, Apps: p.Apps}, app, 0))
	s.URL = nil
	delete(s.Params, constant.TimestampKey)
	m := info.NewMetadataInfo(plan.AppName(app), "")
	m.Services = map[string]*info.ServiceInfo{s.GetMatchKey(): s}
	m.Revision = info.CalRevision(m.App, m.Services)
	document, err := json.Marshal(m)
	if err != nil {
		return Offer{}, fmt.Errorf("encode metadata of %s: %w", m.App, err)
	}
	endpoints, err := json.Marshal([]registry.Endpoint{{Port: plan.Port, Protocol: plan.Protocol}})
	if err != nil {
		return Offer{}, fmt.Errorf("encode endpoints of %s: %w", m.App, err)
	}
	service, err := json.Marshal(map[string]string{
		"version": "1.0.0", "dubbo": "2.0.2", "release": "dubbo-golang-" + constant.Version,
		"side": "provider", "port": strconv.Itoa(plan.Port), "protocol": plan.Protocol,
	})
	if err != nil {
		return Offer{}, fmt.Errorf("encode metadata service of %s: %w", m.App, err)
	}
	return Offer{
		Revision: m.Revision,
		Document: document,
		Metadata: map[string]string{
			constant.ServiceInstanceEndpoints:             string(endpoints),
			constant.ExportedServicesRevisionPropertyName: m.Revision,
			constant.MetadataStorageTypePropertyName:      constant.DefaultMetadataStorageType,
			constant.MetadataServiceURLParamsPropertyName: string(service),
			constant.MetadataVersion:                      constant.MetadataServiceV2Version,
		},
	}, nil
}
