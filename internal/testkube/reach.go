package testkube

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// HostAddress returns an address of this machine that EndpointSlices take, which
// refuse those of the loopback interface.
func HostAddress(tb testing.TB) netip.Addr {
	tb.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		tb.Fatal(err)
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			return prefix.Addr()
		}
	}
	tb.Fatal("this machine has no IPv4 address but the loopback's, and pods cannot have that")
	return netip.Addr{}
}

// Kubeconfig writes credentials, such as those of As, to a file as a user has them,
// with the namespace as the present one.
func (n *Namespace) Kubeconfig(tb testing.TB, cfg *rest.Config) (file string) {
	tb.Helper()
	file = filepath.Join(tb.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {
			Server: cfg.Host, CertificateAuthority: cfg.CAFile, CertificateAuthorityData: cfg.CAData,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: cfg.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u", Namespace: n.Name}},
		CurrentContext: "x",
	}, file)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}
