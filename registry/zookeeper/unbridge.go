package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/weirmesh/weir/registry"
)

// bridgesNode is the node below which bridges of one name take turns.
const bridgesNode = "/weir/bridge"

// Written is what bridges of a name have in ZooKeeper.
type Written struct {
	Name      string
	Providers int
	Runs      bool
	Node      string // the process that writes, while one does
}

// Bridges lists the bridges that have written, by name.
func (c *Client) Bridges(ctx context.Context) ([]Written, error) {
	names, err := c.children(ctx, bridgesNode)
	if err != nil {
		return nil, err
	}
	out := map[string]*Written{}
	for _, name := range names {
		node, runs, err := c.content(ctx, path.Join(bridgesNode, name, "leader"))
		if err != nil {
			return nil, err
		}
		out[name] = &Written{Name: name, Runs: runs, Node: string(node)}
	}
	err = c.eachBridged(ctx, func(_ string, p Provider) error {
		if out[p.Bridge] == nil {
			out[p.Bridge] = &Written{Name: p.Bridge}
		}
		out[p.Bridge].Providers++
		return nil
	})
	var list []Written
	for _, w := range out {
		list = append(list, *w)
	}
	slices.SortFunc(list, func(a, b Written) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// eachBridged calls do with each node that a bridge has written.
func (c *Client) eachBridged(ctx context.Context, do func(node string, p Provider) error) error {
	interfaces, err := c.children(ctx, c.cfg.Interfaces)
	if err != nil {
		return err
	}
	for _, iface := range interfaces {
		at := path.Join(c.cfg.Interfaces, iface, "providers")
		children, err := c.children(ctx, at)
		if err != nil {
			return err
		}
		for _, child := range children {
			if p, err := decodeProvider(child); err == nil && p.Bridge != "" {
				if err := do(at+"/"+child, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Unbridge removes what bridges of a name have written, which nobody does for a bridge
// that is not run any more. It fails with Conflict while one runs.
func (c *Client) Unbridge(ctx context.Context, name string) (removed int, err error) {
	node, runs, err := c.content(ctx, path.Join(bridgesNode, name, "leader"))
	if err != nil {
		return 0, err
	}
	if runs {
		return 0, &registry.Error{
			Code: registry.Conflict, Message: fmt.Sprintf("the bridge %q runs in %s and would write them again", name, node),
			Fix: "take --zookeeper-bridge from the control planes first",
		}
	}
	err = c.eachBridged(ctx, func(node string, p Provider) error {
		if p.Bridge != name {
			return nil
		}
		if err := c.conn.Delete(node, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return c.explain("remove", node, err)
		}
		removed++
		return nil
	})
	if err != nil {
		return removed, err
	}
	if err := c.conn.Delete(path.Join(bridgesNode, name), -1); err != nil && !errors.Is(err, zk.ErrNoNode) && !errors.Is(err, zk.ErrNotEmpty) {
		return removed, c.explain("remove", path.Join(bridgesNode, name), err)
	}
	return removed, nil
}
