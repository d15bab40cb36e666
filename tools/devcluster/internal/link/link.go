// Package link makes the network between the host and the node: a pair of
// interfaces, the addresses at both ends and the host's routes to pods and
// Services.
package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// nodeEnd is the interface's name inside the node.
const nodeEnd = "eth0"

// alias marks an interface as one cluster's own.
func alias(id string) string { return "weir devcluster " + id }

// Connect makes the pair whose one end lies in the network namespace of
// process pid and gives the host its address and routes. It fails if an
// interface of that name exists.
func Connect(id string, n cluster.Network, pid int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.Link
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: nodeEnd, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the interface %s: %w; the kernel needs the veth module (CONFIG_VETH)", n.Link, err)
	}
	l, err := netlink.LinkByName(n.Link)
	if err != nil {
		return fmt.Errorf("find the interface %s: %w", n.Link, err)
	}
	if err := netlink.LinkSetAlias(l, alias(id)); err != nil {
		return fmt.Errorf("mark the interface %s: %w", n.Link, err)
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(n.HostIP, n.NodeCIDR.Bits()))}); err != nil {
		return fmt.Errorf("give %s its address: %w", n.Link, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up %s: %w", n.Link, err)
	}
	for _, to := range []netip.Prefix{n.PodCIDR, n.ServiceCIDR} {
		r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to), Gw: n.NodeIP.AsSlice()}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("route %s to the node: %w", to, err)
		}
	}
	return nil
}

// ConfigureNode gives this process's network namespace, which Connect reached
// into, its address and its route to the host.
func ConfigureNode(n cluster.Network) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the node's loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up the node's loopback: %w", err)
	}
	l, err := netlink.LinkByName(nodeEnd)
	if err != nil {
		return fmt.Errorf("find the node's interface: %w", err)
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(n.NodeIP, n.NodeCIDR.Bits()))}); err != nil {
		return fmt.Errorf("give the node its address: %w", err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up the node's interface: %w", err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: n.HostIP.AsSlice()}); err != nil {
		return fmt.Errorf("route the node to the host: %w", err)
	}
	return nil
}

// Remove removes what is left of a cluster's interface. An interface of that
// name that is not the cluster's stays, and that is an error.
func Remove(id, name string) error {
	l, err := netlink.LinkByName(name)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the interface %s: %w", name, err)
	}
	if l.Attrs().Alias != alias(id) {
		return fmt.Errorf("the interface %s is not this cluster's (alias %q): choose another --slot", name, l.Attrs().Alias)
	}
	if err := netlink.LinkDel(l); err != nil {
		// Its namespace may be dying at this moment and take it along.
		if _, gone := netlink.LinkByName(name); errors.As(gone, new(netlink.LinkNotFoundError)) {
			return nil
		}
		return fmt.Errorf("remove the interface %s: %w", name, err)
	}
	return nil
}

// minShadow is the shortest route that counts as a conflict. Wider ones, such
// as a private network's 10.0.0.0/8, lose only the few addresses of the
// cluster.
const minShadow = 16

// Conflict names what on this host uses one of the ranges, or returns "". The
// cluster's own interface does not count.
func Conflict(n cluster.Network) (string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return "", fmt.Errorf("list the host's interfaces: %w", err)
	}
	for _, l := range links {
		if l.Attrs().Name == n.Link {
			continue
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return "", fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
		}
		routes, err := netlink.RouteList(l, netlink.FAMILY_V4)
		if err != nil {
			return "", fmt.Errorf("list the routes of %s: %w", l.Attrs().Name, err)
		}
		var used []*net.IPNet
		for _, a := range addrs {
			used = append(used, a.IPNet)
		}
		for _, r := range routes {
			if r.Dst != nil {
				used = append(used, r.Dst)
			}
		}
		if what := overlap(n.Prefixes(), used); what != "" {
			return what + " on " + l.Attrs().Name, nil
		}
	}
	return "", nil
}

func overlap(want []netip.Prefix, used []*net.IPNet) string {
	for _, u := range used {
		addr, ok := netip.AddrFromSlice(u.IP)
		ones, _ := u.Mask.Size()
		if !ok || ones < minShadow {
			continue
		}
		p := netip.PrefixFrom(addr.Unmap(), ones)
		if slices.ContainsFunc(want, p.Overlaps) {
			return strings.TrimSuffix(p.String(), "/32")
		}
	}
	return ""
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
