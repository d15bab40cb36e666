package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	componentbase "k8s.io/component-base/config/v1alpha1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/weirmesh/weir/tools/devcluster/internal/cgroup"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// Inside is where the node's processes find the cluster's directory. It is
// short, for the sockets in it, and lies on the node's own /run.
const Inside cluster.Dir = "/run/weir"

// Paths and ports inside the node's namespaces.
const (
	ContainerdSocket = "/run/containerd/containerd.sock"
	DNSReadyURL      = "http://127.0.0.1:18181/ready"
	KubeletHealthURL = "http://127.0.0.1:10248/healthz"
	ProxyHealthURL   = "http://127.0.0.1:10256/healthz"
	dnsHealthAddress = "127.0.0.1:18080"
	dnsReadyAddress  = "127.0.0.1:18181"
)

// PauseImage is the name of the sandbox image. It is never pulled.
const PauseImage = "devcluster.weirmesh.io/pause:1"

// maxPods leaves addresses of the pod range to pods that are on their way out.
const maxPods = 200

// Node is what the node's configuration derives from.
type Node struct {
	ID      string
	Network cluster.Network
	// CNIDir holds the CNI plugins, Snapshotter names containerd's.
	CNIDir      string
	Snapshotter string
	// ProxyMode is how kube-proxy leads connections to a Service to its pods, one
	// of ProxyModes; empty means the first.
	ProxyMode string
}

// ProxyModes are those of kube-proxy that a node can have.
var ProxyModes = []string{ProxyIPTables, ProxyNFTables}

// What kube-proxy calls them.
const (
	ProxyIPTables = "iptables"
	ProxyNFTables = "nftables"
)

// NodeFiles returns the node's configuration files by name; they belong in
// EtcDir.
func NodeFiles(n Node) (map[string][]byte, error) {
	kubeletFile, err := kubeletConfig(n)
	if err != nil {
		return nil, err
	}
	proxyFile, err := proxyConfig(n)
	if err != nil {
		return nil, err
	}
	cni, err := cniConfig(n)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"containerd.toml":      containerdConfig(n),
		"kubelet.json":         kubeletFile,
		"kube-proxy.json":      proxyFile,
		"cni/10-weir.conflist": cni,
		"Corefile":             corefile(),
		"resolv.conf":          []byte("nameserver " + n.Network.DNSIP.String() + "\n"),
	}, nil
}

// EtcDir is where the node's configuration lies in a cluster's directory.
func EtcDir(d cluster.Dir) string { return filepath.Join(d.Node(), "etc") }

func etc(name string) string { return filepath.Join(EtcDir(Inside), name) }
func pki(name string) string { return filepath.Join(Inside.PKI(), name) }

func containerdConfig(n Node) []byte {
	// Plugins that would look for devices or file systems, or send telemetry.
	disabled := []string{
		"io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
		"io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
	}
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("version = 2")
	line("root = %q", filepath.Join(Inside.Node(), "containerd"))
	line("state = %q", "/run/containerd/state")
	line("disabled_plugins = [%s]", quoted(disabled))
	line("[grpc]")
	line("address = %q", ContainerdSocket)
	line(`[plugins."io.containerd.internal.v1.opt"]`)
	line("path = %q", "/run/containerd/opt")
	line(`[plugins."io.containerd.grpc.v1.cri"]`)
	line("sandbox_image = %q", PauseImage)
	// Without CAP_SYS_RESOURCE a score below one's own cannot be set, and runc
	// would refuse every pod.
	line("restrict_oom_score_adj = true")
	line(`[plugins."io.containerd.grpc.v1.cri".containerd]`)
	line("snapshotter = %q", n.Snapshotter)
	line(`[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]`)
	line("runtime_type = %q", "io.containerd.runc.v2")
	line(`[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]`)
	line("SystemdCgroup = false")
	line(`[plugins."io.containerd.grpc.v1.cri".cni]`)
	line("bin_dir = %q", n.CNIDir)
	line("conf_dir = %q", etc("cni"))
	return []byte(b.String())
}

func quoted(s []string) string {
	q := make([]string, len(s))
	for i := range s {
		q[i] = fmt.Sprintf("%q", s[i])
	}
	return strings.Join(q, ", ")
}

// cniConfig connects each pod to the node by a pair of its own and routes
// between them: there is no bridge, so kube-proxy's rules see every packet
// without the kernel's bridge filter, which is not everywhere.
func cniConfig(n Node) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "weir",
		"plugins": []object{
			{
				"type":   "ptp",
				"ipMasq": false,
				"ipam": object{
					"type": "host-local",
					// With the rest of /run it is gone at a restart, as the pods are.
					"dataDir": "/run/cni",
					"ranges":  [][]object{{{"subnet": n.Network.PodCIDR.String()}}},
					"routes":  []object{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}

func kubeletConfig(n Node) ([]byte, error) {
	c := kubelet.KubeletConfiguration{
		TypeMeta:                 metav1.TypeMeta{APIVersion: kubelet.SchemeGroupVersion.String(), Kind: "KubeletConfiguration"},
		Address:                  n.Network.NodeIP.String(),
		ContainerRuntimeEndpoint: "unix://" + ContainerdSocket,
		Authentication: kubelet.KubeletAuthentication{
			Anonymous: kubelet.KubeletAnonymousAuthentication{Enabled: new(false)},
			Webhook:   kubelet.KubeletWebhookAuthentication{Enabled: new(true)},
			X509:      kubelet.KubeletX509Authentication{ClientCAFile: pki("ca.crt")},
		},
		Authorization:     kubelet.KubeletAuthorization{Mode: kubelet.KubeletAuthorizationModeWebhook},
		TLSCertFile:       pki("kubelet.crt"),
		TLSPrivateKeyFile: pki("kubelet.key"),

		ClusterDNS:     []string{n.Network.DNSIP.String()},
		ClusterDomain:  cluster.Domain,
		ResolverConfig: new(etc("resolv.conf")),

		CgroupDriver: "cgroupfs",
		CgroupRoot:   cgroup.Root(n.ID),
		// Version 1 is deprecated, but it is what some machines have.
		FailCgroupV1: new(false),
		FailSwapOn:   new(false),
		// Below its own score a process without CAP_SYS_RESOURCE cannot go.
		OOMScoreAdj: new(int32(0)),
		MaxPods:     maxPods,

		PodLogsDir:           filepath.Join(Inside.Logs(), "pods"),
		ContainerLogMaxSize:  "5Mi",
		ContainerLogMaxFiles: new(int32(2)),
		VolumePluginDir:      "/run/kubelet/volume-plugins",

		// Images cannot be pulled again: never collect them. Evict only when the
		// machine is really out of something, whatever its size.
		ImageGCHighThresholdPercent: new(int32(100)),
		ImageGCLowThresholdPercent:  new(int32(99)),
		EvictionHard: map[string]string{
			"memory.available": "100Mi", "nodefs.available": "100Mi", "imagefs.available": "100Mi", "nodefs.inodesFree": "1%",
		},
		SerializeImagePulls: new(false),
		// The default limits are for clusters of thousands of nodes.
		KubeAPIQPS:             new(int32(500)),
		KubeAPIBurst:           1000,
		EventRecordQPS:         new(int32(0)),
		EnableProfilingHandler: new(false),
	}
	return encode("kubelet", c)
}

func proxyConfig(n Node) ([]byte, error) {
	const soon = 100 * time.Millisecond
	c := kubeproxy.KubeProxyConfiguration{
		TypeMeta:         metav1.TypeMeta{APIVersion: kubeproxy.SchemeGroupVersion.String(), Kind: "KubeProxyConfiguration"},
		ClientConnection: componentbase.ClientConnectionConfiguration{Kubeconfig: pki("kube-proxy.kubeconfig"), QPS: 500, Burst: 1000},
		HostnameOverride: cluster.NodeName,
		BindAddress:      "0.0.0.0",
		Mode:             kubeproxy.ProxyMode(cmp.Or(n.ProxyMode, ProxyIPTables)),
		ClusterCIDR:      n.Network.PodCIDR.String(),
		DetectLocalMode:  "ClusterCIDR",
		// The default of one second is what a caller would notice.
		IPTables: kubeproxy.KubeProxyIPTablesConfiguration{MinSyncPeriod: metav1.Duration{Duration: soon}},
		NFTables: kubeproxy.KubeProxyNFTablesConfiguration{MinSyncPeriod: metav1.Duration{Duration: soon}},
		// Zero leaves alone what is the machine's and not this namespace's.
		Conntrack: kubeproxy.KubeProxyConntrackConfiguration{
			MaxPerCore: new(int32(0)), Min: new(int32(0)),
			TCPEstablishedTimeout: &metav1.Duration{}, TCPCloseWaitTimeout: &metav1.Duration{},
		},
		OOMScoreAdj: new(int32(0)),
	}
	return encode("kube-proxy", c)
}

// corefile serves the cluster's zones and refuses all others, at once: there
// is no way out of the node for a pod's query.
func corefile() []byte {
	zones := cluster.Domain + " in-addr.arpa ip6.arpa"
	return []byte(strings.Join([]string{
		zones + " {",
		"    errors",
		"    health " + dnsHealthAddress,
		"    ready " + dnsReadyAddress,
		"    kubernetes " + zones + " {",
		"        kubeconfig " + pki("coredns.kubeconfig"),
		"        pods insecure",
		"        ttl 5",
		"    }",
		"    cache 5",
		"}",
		"",
	}, "\n"))
}

func encode(what string, v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the configuration of %s: %w", what, err)
	}
	return append(b, '\n'), nil
}

// KubeletArgs and ProxyArgs are the flags that the files cannot hold.
func KubeletArgs(n Node) []string {
	return []string{
		"--config=" + etc("kubelet.json"),
		"--kubeconfig=" + pki("kubelet.kubeconfig"),
		"--root-dir=" + filepath.Join(Inside.Node(), "kubelet"),
		"--hostname-override=" + cluster.NodeName,
		"--node-ip=" + n.Network.NodeIP.String(),
		"--v=1",
	}
}

// ProxyArgs returns kube-proxy's flags.
func ProxyArgs() []string { return []string{"--config=" + etc("kube-proxy.json"), "--v=1"} }

// ContainerdArgs returns containerd's flags.
func ContainerdArgs() []string { return []string{"--config", etc("containerd.toml")} }

// CorefilePath is the DNS server's configuration as the node sees it.
func CorefilePath() string { return etc("Corefile") }
