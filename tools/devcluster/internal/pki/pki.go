// Package pki keeps a cluster's authorities, certificates, keys and
// kubeconfigs in one directory.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is replaced at the
	// next start.
	renewBefore = 30 * 24 * time.Hour
	// skew tolerates clocks that were set back a little.
	skew = time.Hour
)

const (
	clusterAuthority    = "ca"
	frontProxyAuthority = "front-proxy-ca"
	serviceAccountKey   = "sa.key"
)

// Plan is what the certificates must say.
type Plan struct {
	// Server is the API server's URL, for the kubeconfigs.
	Server string
	// Name names the cluster, the user and the context of the kubeconfigs.
	Name string
	// APIServerSANs are the DNS names and addresses of the API server.
	APIServerSANs []string
	// NodeName and NodeIP are empty in a cluster without a node.
	NodeName, NodeIP string
}

type leaf struct {
	name       string
	cn         string
	orgs       []string
	sans       []string
	authority  string
	kubeconfig bool
}

func (p Plan) leaves() []leaf {
	l := []leaf{
		{name: "apiserver", cn: "kube-apiserver", sans: p.APIServerSANs},
		{name: "kubelet-client", cn: "kube-apiserver-kubelet-client", orgs: []string{"system:masters"}},
		{name: "front-proxy", cn: "front-proxy", authority: frontProxyAuthority},
		{name: "admin", cn: "devcluster-admin", orgs: []string{"system:masters"}, kubeconfig: true},
		{name: "kube-controller-manager", cn: "system:kube-controller-manager", kubeconfig: true},
		{name: "kube-scheduler", cn: "system:kube-scheduler", kubeconfig: true},
	}
	if p.NodeName != "" {
		l = append(l,
			leaf{name: "kubelet", cn: "system:node:" + p.NodeName, orgs: []string{"system:nodes"}, sans: []string{p.NodeName, p.NodeIP}, kubeconfig: true},
			leaf{name: "kube-proxy", cn: "system:kube-proxy", kubeconfig: true},
			leaf{name: "coredns", cn: "system:coredns", kubeconfig: true},
		)
	}
	return l
}

// Ensure makes dir hold what the plan says: it keeps what is good at the time
// now and renews what is missing, unreadable, near its end or says otherwise.
// It returns the names it renewed. A renewed authority renews all it signed;
// the service accounts' key is never replaced, for their tokens outlive a
// start.
func Ensure(dir string, p Plan, now time.Time) (renewed []string, err error) {
	authorities := map[string]*pair{}
	for _, name := range []string{clusterAuthority, frontProxyAuthority} {
		a, fresh, err := ensureAuthority(dir, name, now)
		if err != nil {
			return nil, err
		}
		if fresh {
			renewed = append(renewed, name)
		}
		authorities[name] = a
	}
	if _, err := readKey(filepath.Join(dir, serviceAccountKey)); errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make the service accounts' key: %w", err)
		}
		if err := writeKey(filepath.Join(dir, serviceAccountKey), key); err != nil {
			return nil, err
		}
		renewed = append(renewed, serviceAccountKey)
	} else if err != nil {
		return nil, fmt.Errorf("read the service accounts' key: %w", err)
	}
	for _, l := range p.leaves() {
		authority := authorities[clusterAuthority]
		if l.authority != "" {
			authority = authorities[l.authority]
		}
		current, err := load(dir, l.name)
		if err != nil || !l.good(current.cert, authority.cert, now) {
			current, err = authority.issue(l, leafLife, now)
			if err != nil {
				return nil, err
			}
			if err := current.write(dir, l.name); err != nil {
				return nil, err
			}
			renewed = append(renewed, l.name)
		}
		if l.kubeconfig {
			// The server's address may have changed though the certificate has not.
			config, err := p.kubeconfig(l.name, authorities[clusterAuthority], current)
			if err != nil {
				return nil, err
			}
			if err := cluster.WriteFile(filepath.Join(dir, l.name+".kubeconfig"), config, 0o600); err != nil {
				return nil, err
			}
		}
	}
	return renewed, nil
}

// User returns a kubeconfig for a user of the given name and groups, valid for
// life from now, signed by the authority in dir.
func User(dir string, p Plan, name string, groups []string, life time.Duration, now time.Time) ([]byte, error) {
	authority, err := load(dir, clusterAuthority)
	if err != nil {
		return nil, fmt.Errorf("load the cluster's authority: %w; start the cluster once with `devcluster up`", err)
	}
	user, err := authority.issue(leaf{cn: name, orgs: groups}, life, now)
	if err != nil {
		return nil, err
	}
	return p.kubeconfig(name, authority, user)
}

// good says whether the certificate still serves as l.
func (l leaf) good(c, authority *x509.Certificate, now time.Time) bool {
	if now.Before(c.NotBefore) || now.Add(renewBefore).After(c.NotAfter) || c.CheckSignatureFrom(authority) != nil {
		return false
	}
	ips, names := split(l.sans)
	return c.Subject.CommonName == l.cn && slices.Equal(sorted(c.Subject.Organization), sorted(l.orgs)) &&
		slices.Equal(sorted(c.DNSNames), sorted(names)) &&
		slices.EqualFunc(c.IPAddresses, ips, net.IP.Equal)
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func split(sans []string) (ips []net.IP, names []string) {
	for _, s := range sans {
		if ip := net.ParseIP(s); ip != nil {
			ips = append(ips, ip)
		} else {
			names = append(names, s)
		}
	}
	return ips, names
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func ensureAuthority(dir, name string, now time.Time) (a *pair, fresh bool, err error) {
	if a, err := load(dir, name); err == nil && !now.Before(a.cert.NotBefore) && now.Add(renewBefore).Before(a.cert.NotAfter) {
		return a, false, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, false, fmt.Errorf("make the authority %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "devcluster-" + name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, false, fmt.Errorf("make the authority %s: %w", name, err)
	}
	a = &pair{cert: cert, key: key}
	if err := a.write(dir, name); err != nil {
		return nil, false, err
	}
	return a, true, nil
}

func (p *pair) issue(l leaf, life time.Duration, now time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for %s: %w", l.cn, err)
	}
	ips, names := split(l.sans)
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: l.cn, Organization: l.orgs},
		NotBefore:   now.Add(-skew),
		NotAfter:    now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		IPAddresses: ips,
		DNSNames:    names,
	}
	if len(l.sans) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	cert, err := sign(template, p.cert, key, p.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for %s: %w", l.cn, err)
	}
	return &pair{cert: cert, key: key}, nil
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (p *pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

// keyPEM writes SEC1: the API server reads the public half of the service
// accounts' key out of it, which it cannot do with PKCS 8.
func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	b, err := keyPEM(key)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return cluster.WriteFile(path, b, 0o600)
}

func (p *pair) write(dir, name string) error {
	if err := writeKey(filepath.Join(dir, name+".key"), p.key); err != nil {
		return err
	}
	return cluster.WriteFile(filepath.Join(dir, name+".crt"), p.certPEM(), 0o600)
}

func load(dir, name string) (*pair, error) {
	b, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("no certificate in %s.crt", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		// A crash came between the two files.
		return nil, fmt.Errorf("%s.key does not belong to %s.crt", name, name)
	}
	return &pair{cert: cert, key: key}, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("no key in %s", path)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
