package dubbo

// What only the tests here need of dubbo-go.
import (
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/zoneaware"
	_ "dubbo.apache.org/dubbo-go/v3/metadata/mapping/metadata"
	_ "dubbo.apache.org/dubbo-go/v3/registry/servicediscovery"

	_ "github.com/weirmesh/weir/registry/dubbo/dubbotest"
)
