// Package dubbo makes the URLs with which dubbo-go's own application-level
// registry is driven, as its server and client would make them, and keeps its
// log from being what is measured.
package dubbo

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/metadata"
	"dubbo.apache.org/dubbo-go/v3/registry"
	"github.com/dubbogo/gost/log/logger"

	// The registry under measurement and what it needs: the mapping of
	// interfaces to applications.
	_ "dubbo.apache.org/dubbo-go/v3/metadata/mapping/metadata"
	_ "dubbo.apache.org/dubbo-go/v3/registry/servicediscovery"

	"github.com/weirmesh/weir/test/bench/plan"
)

// Timeout is dubbo-go's own default for registries; ZooKeeper takes it for the
// time after which a silent session is dead.
const Timeout = "5s"

// Quiet keeps dubbo-go to errors. At its default level it writes several lines
// for every instance of every change, which would be much of its cost.
func Quiet() error {
	if !logger.SetLoggerLevel("error") {
		return fmt.Errorf("dubbo-go's logger takes no level")
	}
	return nil
}

// Registry describes one registry as dubbo-go's configuration would.
type Registry struct {
	ID       string            // as in dubbo.WithRegistry(registry.WithID(…))
	Protocol string            // zookeeper, kubernetes
	Address  string            // where it is
	Params   map[string]string // what else it wants to know
}

// Open makes a fresh application-level registry.
func (r Registry) Open() (registry.Registry, error) {
	u, err := common.NewURL(constant.ServiceRegistryProtocol+"://"+r.Address,
		common.WithParamsValue(constant.RegistryKey, r.Protocol),
		common.WithParamsValue(constant.RegistryTypeKey, constant.RegistryTypeService),
		common.WithParamsValue(constant.RegistryTimeoutKey, Timeout),
		common.WithParamsValue(constant.RegistryTTLKey, "15m"),
		common.WithParamsValue(constant.RegistryIdKey, r.ID),
		common.WithLocation(r.Address),
	)
	if err != nil {
		return nil, err
	}
	for k, v := range r.Params {
		u.SetParam(k, v)
	}
	return extension.GetRegistry(constant.ServiceRegistryProtocol, u)
}

// ReportMetadata has this process keep metadata and mappings where r is, under
// the id that every registry without a report of its own falls back to.
func (r Registry) ReportMetadata() error {
	return metadata.NewReportOptions(
		metadata.WithRegistryId(constant.DefaultKey),
		metadata.WithProtocol(r.Protocol),
		metadata.WithAddress(r.Address),
		metadata.WithParams(r.Params),
	).Init()
}

// StoreMetadata has providers of this process put their metadata into the
// report; the other way, to ask each provider for it, would measure providers.
func StoreMetadata() error {
	return metadata.NewOptions(metadata.WithMetadataType(constant.RemoteMetadataStorageType)).Init()
}

// ProviderURL is what instance i exports. started stands for the time of the
// process's start in seconds, which dubbo-go makes part of the metadata's
// revision.
func ProviderURL(p plan.Plan, i int, started int64) *common.URL {
	if p.OwnRevisions {
		started += int64(i)
	}
	app := p.App(i)
	name := plan.InterfaceName(app)
	return common.NewURLWithOptions(
		common.WithProtocol(plan.Protocol),
		common.WithIp(plan.Host(i)),
		common.WithPort(strconv.Itoa(plan.Port)),
		common.WithPath(name),
		common.WithInterface(name),
		common.WithMethods(plan.Methods()),
		common.WithParams(url.Values{
			constant.InterfaceKey:     {name},
			constant.ApplicationKey:   {plan.AppName(app)},
			constant.SideKey:          {(common.RoleType(common.PROVIDER)).Role()},
			constant.RegistryRoleKey:  {strconv.Itoa(common.PROVIDER)},
			constant.TimestampKey:     {strconv.FormatInt(started, 10)},
			constant.ClusterKey:       {constant.ClusterKeyFailover},
			constant.LoadbalanceKey:   {constant.LoadBalanceKeyRandom},
			constant.SerializationKey: {"protobuf"},
			constant.ReleaseKey:       {"dubbo-golang-" + constant.Version},
			constant.MethodsKey:       {strings.Join(plan.Methods(), ",")},
			constant.TimeoutKey:       {"3s"},
		}),
	)
}

// ConsumerURL is what a reference to an application's interface subscribes with.
func ConsumerURL(app int) *common.URL {
	name := plan.InterfaceName(app)
	return common.NewURLWithOptions(
		common.WithProtocol(plan.Protocol),
		common.WithPath(name),
		common.WithInterface(name),
		common.WithParams(url.Values{
			constant.InterfaceKey:   {name},
			constant.ApplicationKey: {"bench-consumer"},
			constant.SideKey:        {(common.RoleType(common.CONSUMER)).Role()},
		}),
	)
}
