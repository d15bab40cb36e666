package zookeeper

import (
	"context"
	"math/rand/v2"
	"slices"

	"dubbo.apache.org/dubbo-go/v3/cluster/cluster"
	"dubbo.apache.org/dubbo-go/v3/cluster/directory"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/dubbo"
)

// chooser stands before dubbo-go's cluster over registries, which knows two things not:
// registries that are out of touch, of whose lists nobody can say any more who ended;
// and that which registry is preferred may be said from outside, at any time.
type chooser struct {
	between cluster.Cluster
	link    *link
}

// Join returns the invoker that chooses between registries.
func (c chooser) Join(registries directory.Directory) base.Invoker {
	return &choosing{Invoker: c.between.Join(registries), registries: registries, link: c.link, chosen: dubbo.ChosenOf(registries.GetURL())}
}

type choosing struct {
	base.Invoker
	registries directory.Directory
	link       *link
	chosen     *dubbo.Chosen
}

// Invoke calls by another registry than ZooKeeper while that is out of touch and the
// other has somebody to call; else by the registry that a DiscoveryPolicy chooses,
// where that has somebody; else by dubbo-go's choice.
func (c *choosing) Invoke(ctx context.Context, call base.Invocation) result.Result {
	if by := c.choose(call); by != nil {
		return by.Invoke(ctx, call)
	}
	return c.Invoker.Invoke(ctx, call)
}

// choose returns what to call by; nil to leave it to dubbo-go.
func (c *choosing) choose(call base.Invocation) base.Invoker {
	choice := c.chosen.Load()
	if c.link.doubtful.Load() {
		choice = registry.ChooseKubernetes
	}
	if choice == "" {
		return nil
	}
	var zookeeper, other []base.Invoker // that have somebody to call
	for _, i := range c.registries.List(call) {
		switch {
		case !i.IsAvailable():
		case i.GetURL().GetParam(constant.RegistryKey, "") == outer:
			zookeeper = append(zookeeper, i)
		default:
			other = append(other, i)
		}
	}
	switch choice {
	case registry.ChooseKubernetes:
		return first(other, zookeeper)
	case registry.ChooseZooKeeper:
		return first(zookeeper, other)
	}
	if all := slices.Concat(zookeeper, other); len(all) > 0 {
		return all[rand.IntN(len(all))]
	}
	return nil
}

// first returns the one of the first list that the process prefers, or else its first
// one; the same of the second list where the first is empty.
func first(lists ...[]base.Invoker) base.Invoker {
	for _, list := range lists {
		for _, i := range list {
			if i.GetURL().GetParamBool(constant.RegistryKey+"."+constant.PreferredKey, false) {
				return i
			}
		}
		if len(list) > 0 {
			return list[0]
		}
	}
	return nil
}
