package cluster

import (
	"fmt"
	"net/netip"
)

// Slots are numbered from MinSlot to MaxSlot; every address range of a cluster
// with a node derives from its slot, so that clusters on one machine do not
// collide.
const (
	MinSlot = 1
	MaxSlot = 254
)

// NodeName is the name of a cluster's one node.
const NodeName = "node1"

// Domain is the cluster's DNS domain.
const Domain = "cluster.local"

// controlPlaneServices is the Service range of a cluster without a node. No
// packet is ever sent there, so it need not be unique, only large.
var controlPlaneServices = netip.MustParsePrefix("10.96.0.0/16")

// Network is the address plan of one cluster. The zero Prefix and Addr stand
// for what a cluster without a node does not have.
type Network struct {
	// Slot is 0 for a cluster without a node.
	Slot int `json:"slot,omitempty"`
	// Link is the host's end of the pair that leads into the node.
	Link string `json:"link,omitempty"`
	// NodeCIDR holds HostIP (the host as pods and the node see it) and NodeIP.
	NodeCIDR netip.Prefix `json:"nodeCIDR,omitzero"`
	HostIP   netip.Addr   `json:"hostIP,omitzero"`
	NodeIP   netip.Addr   `json:"nodeIP,omitzero"`
	PodCIDR  netip.Prefix `json:"podCIDR,omitzero"`
	// ServiceCIDR holds the ClusterIPs: the API server's Service is its first
	// address, DNSIP its tenth.
	ServiceCIDR  netip.Prefix `json:"serviceCIDR,omitzero"`
	APIServiceIP netip.Addr   `json:"apiServiceIP,omitzero"`
	DNSIP        netip.Addr   `json:"dnsIP,omitzero"`
}

// SlotNetwork returns the address plan of a cluster with a node in slot. It
// fails outside MinSlot to MaxSlot.
func SlotNetwork(slot int) (Network, error) {
	if slot < MinSlot || slot > MaxSlot {
		return Network{}, fmt.Errorf("slot %d does not exist: use --slot %d to %d, or auto", slot, MinSlot, MaxSlot)
	}
	s := byte(slot)
	return Network{
		Slot:         slot,
		Link:         fmt.Sprintf("weir%d", slot),
		NodeCIDR:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 231, s, 0}), 24),
		HostIP:       netip.AddrFrom4([4]byte{10, 231, s, 1}),
		NodeIP:       netip.AddrFrom4([4]byte{10, 231, s, 2}),
		PodCIDR:      netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 232, s, 0}), 24),
		ServiceCIDR:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 233, s, 0}), 24),
		APIServiceIP: netip.AddrFrom4([4]byte{10, 233, s, 1}),
		DNSIP:        netip.AddrFrom4([4]byte{10, 233, s, 10}),
	}, nil
}

// ControlPlaneNetwork returns the address plan of a cluster without a node:
// the API server listens on loopback, ClusterIPs exist only as data.
func ControlPlaneNetwork() Network {
	return Network{ServiceCIDR: controlPlaneServices, APIServiceIP: controlPlaneServices.Addr().Next()}
}

// Prefixes returns the ranges that must be free on the host.
func (n Network) Prefixes() []netip.Prefix {
	if n.Slot == 0 {
		return nil
	}
	return []netip.Prefix{n.NodeCIDR, n.PodCIDR, n.ServiceCIDR}
}
