// Package config writes the configuration of every component: what Kubernetes
// would take as flags and files. It computes; it starts nothing.
package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// ControlPlane is what the control plane's process needs. Paths are as that
// process sees them.
type ControlPlane struct {
	EtcdDir    string
	EtcdSocket string
	EtcdFsync  bool

	// Server is the API server's URL; the files are those of an administrator.
	Server                    string
	CAFile, CertFile, KeyFile string

	// The components' flags, without --etcd-servers.
	APIServer, ControllerManager, Scheduler []string
}

// LoadControlPlane reads a file that ControlPlane.Write wrote.
func LoadControlPlane(path string) (ControlPlane, error) {
	var c ControlPlane
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read the control plane's configuration: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("read the control plane's configuration: %w", err)
	}
	return c, nil
}

// Write replaces the file at path.
func (c ControlPlane) Write(path string) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("write the control plane's configuration: %w", err)
	}
	return cluster.WriteFile(path, b, 0o600)
}

// ControlPlaneOptions is what NewControlPlane derives the flags from.
type ControlPlaneOptions struct {
	// Dir is the cluster's directory as the control plane sees it.
	Dir     cluster.Dir
	Mode    cluster.Mode
	Network cluster.Network
	Port    int
	Fsync   bool
}

// ServerURL returns the API server's address as clients use it.
func ServerURL(mode cluster.Mode, n cluster.Network, port int) string {
	host := "127.0.0.1"
	if mode == cluster.WithNode {
		host = n.NodeIP.String()
	}
	return "https://" + host + ":" + strconv.Itoa(port)
}

// NewControlPlane returns the configuration of a control plane.
func NewControlPlane(o ControlPlaneOptions) ControlPlane {
	pki := func(name string) string { return filepath.Join(o.Dir.PKI(), name) }
	return ControlPlane{
		EtcdDir:           o.Dir.Etcd(),
		EtcdSocket:        filepath.Join(o.Dir.Run(), "etcd.sock"),
		EtcdFsync:         o.Fsync,
		Server:            ServerURL(o.Mode, o.Network, o.Port),
		CAFile:            pki("ca.crt"),
		CertFile:          pki("admin.crt"),
		KeyFile:           pki("admin.key"),
		APIServer:         apiServerFlags(o, pki),
		ControllerManager: controllerManagerFlags(o, pki),
		Scheduler:         schedulerFlags(pki),
	}
}

func apiServerFlags(o ControlPlaneOptions, pki func(string) string) []string {
	flags := []string{
		"--secure-port=" + strconv.Itoa(o.Port),
		"--service-cluster-ip-range=" + o.Network.ServiceCIDR.String(),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
		"--v=1",
		// etcd lives in the same process: a missing count costs less than a poll.
		"--etcd-count-metric-poll-period=0",

		"--client-ca-file=" + pki("ca.crt"),
		"--tls-cert-file=" + pki("apiserver.crt"),
		"--tls-private-key-file=" + pki("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc." + cluster.Domain,
		"--service-account-key-file=" + pki("sa.key"),
		"--service-account-signing-key-file=" + pki("sa.key"),
		"--kubelet-client-certificate=" + pki("kubelet-client.crt"),
		"--kubelet-client-key=" + pki("kubelet-client.key"),
		"--requestheader-client-ca-file=" + pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki("front-proxy.crt"),
		"--proxy-client-key-file=" + pki("front-proxy.key"),
	}
	if o.Mode == cluster.WithNode {
		return append(flags,
			"--bind-address="+o.Network.NodeIP.String(),
			"--advertise-address="+o.Network.NodeIP.String(),
			// exec, logs and port-forward would otherwise look up the node's name.
			"--kubelet-preferred-address-types=InternalIP,Hostname",
		)
	}
	return append(flags,
		"--bind-address=127.0.0.1",
		// The parent holds the port bound, so that nobody takes it while the
		// API server is away.
		"--permit-port-sharing=true",
		// A loopback address may not stand in an EndpointSlice: the Service
		// "kubernetes" stays without one.
		"--endpoint-reconciler-type=none",
		"--advertise-address=192.0.2.1",
		// Nodes are data here, and no controller takes the taint off again.
		"--disable-admission-plugins=TaintNodesByCondition",
	)
}

// unusedControllers serve volumes, devices and clouds that this cluster
// cannot have; each would cost its informers.
var unusedControllers = []string{
	"node-ipam-controller",
	"persistentvolume-attach-detach-controller",
	"persistentvolume-expander-controller",
	"resourceclaim-controller",
	"device-taint-eviction-controller",
	"legacy-serviceaccount-token-cleaner-controller",
	"storageversion-garbage-collector-controller",
	"ttl-controller",
}

// nodeControllers mark the pods of silent nodes as lost. Without a kubelet
// every node is silent, and tests write their pods' status themselves.
var nodeControllers = []string{"node-lifecycle-controller", "taint-eviction-controller"}

func controllerManagerFlags(o ControlPlaneOptions, pki func(string) string) []string {
	controllers := "*"
	off := unusedControllers
	if o.Mode == cluster.ControlPlaneOnly {
		off = append(append([]string{}, off...), nodeControllers...)
	}
	controllers += ",-" + strings.Join(off, ",-")
	kubeconfig := pki("kube-controller-manager.kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--secure-port=0",
		"--controllers=" + controllers,
		"--service-account-private-key-file=" + pki("sa.key"),
		"--root-ca-file=" + pki("ca.crt"),
		"--cluster-signing-cert-file=" + pki("ca.crt"),
		"--cluster-signing-key-file=" + pki("ca.key"),
		"--service-cluster-ip-range=" + o.Network.ServiceCIDR.String(),
		// The default limits of 20 a second double the time to a first pod.
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
		"--profiling=false",
		"--v=1",
	}
}

func schedulerFlags(pki func(string) string) []string {
	kubeconfig := pki("kube-scheduler.kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
		"--profiling=false",
		"--v=1",
	}
}
