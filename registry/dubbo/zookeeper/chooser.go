package zookeeper

import (
	"context"

	"dubbo.apache.org/dubbo-go/v3/cluster/cluster"
	"dubbo.apache.org/dubbo-go/v3/cluster/directory"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
)

// chooser stands before dubbo-go's cluster over registries, which knows nothing of
// registries that are out of touch: it would go on calling what a list of ZooKeeper's
// has, of which nobody can say any more who ended.
type chooser struct {
	between cluster.Cluster
	link    *link
}

// Join returns the invoker that chooses between registries.
func (c chooser) Join(registries directory.Directory) base.Invoker {
	return &choosing{Invoker: c.between.Join(registries), registries: registries, link: c.link}
}

type choosing struct {
	base.Invoker
	registries directory.Directory
	link       *link
}

// Invoke calls by dubbo-go's choice; by another registry than ZooKeeper while that is
// out of touch and the other has somebody to call.
func (c *choosing) Invoke(ctx context.Context, call base.Invocation) result.Result {
	if c.link.doubtful.Load() {
		if other := c.other(call); other != nil {
			return other.Invoke(ctx, call)
		}
	}
	return c.Invoker.Invoke(ctx, call)
}

func (c *choosing) other(call base.Invocation) base.Invoker {
	var found base.Invoker
	for _, i := range c.registries.List(call) {
		u := i.GetURL()
		if u.GetParam(constant.RegistryKey, "") == outer || !i.IsAvailable() {
			continue
		}
		if u.GetParamBool(constant.RegistryKey+"."+constant.PreferredKey, false) {
			return i
		}
		if found == nil {
			found = i
		}
	}
	return found
}
