package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(of *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	of.SerialNumber, of.NotBefore, of.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = of, key
	}
	der, err := x509.CreateCertificate(rand.Reader, of, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// secured is an HTTPS server with a certificate for names and addresses, and the
// names that it was asked for.
type secured struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func (a *authority) server(names []string, addresses ...net.IP) *secured {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{DNSNames: names, IPAddresses: addresses})
	s := &secured{Server: httptest.NewUnstartedServer(http.HandlerFunc(echo))}
	s.Config.ErrorLog = quiet
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, hello.ServerName)
			return nil, nil
		},
	}
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

func (s *secured) wasAsked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Clone(s.asked))
}

// A certificate is for the name of the Service, as an operator has it issued: the
// addresses of pods come and go. A route may name another, and whom it believes.
func TestCertificatesOfUpstreams(t *testing.T) {
	believed, other := newAuthority(t), newAuthority(t)
	local := net.IPv4(127, 0, 0, 1)
	roots := x509.NewCertPool()
	roots.AddCert(believed.cert)
	mark := func(u gateway.Upstream) string {
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	f := start(t, func(c *Config) { c.TLS = &tls.Config{RootCAs: roots} })
	for name, c := range map[string]struct {
		server *secured
		url    bool
		tls    *gateway.UpstreamTLS
		status int
		asked  string
	}{
		"for-the-service":       {believed.server([]string{"for-the-service.shop.svc"}), false, nil, 200, "for-the-service.shop.svc"},
		"for-its-address":       {believed.server(nil, local), false, nil, 502, "for-its-address.shop.svc"},
		"for-its-address-named": {believed.server(nil, local), false, &gateway.UpstreamTLS{ServerName: "127.0.0.1"}, 200, ""},
		"for-another":           {believed.server([]string{"pay.example.com"}), false, nil, 502, "for-another.shop.svc"},
		"for-another-named":     {believed.server([]string{"pay.example.com"}), false, &gateway.UpstreamTLS{ServerName: "pay.example.com"}, 200, "pay.example.com"},
		"of-another":            {other.server([]string{"of-another.shop.svc"}), false, nil, 502, "of-another.shop.svc"},
		"of-another-believed":   {other.server([]string{"of-another-believed.shop.svc"}), false, &gateway.UpstreamTLS{CA: other.pem()}, 200, "of-another-believed.shop.svc"},
		"of-the-other":          {believed.server([]string{"of-the-other.shop.svc"}), false, &gateway.UpstreamTLS{CA: other.pem()}, 502, "of-the-other.shop.svc"},
		"unmarked":              {other.server([]string{"unmarked.shop.svc"}), false, &gateway.UpstreamTLS{CA: other.pem()}, 200, "unmarked.shop.svc"},
		"at-a-url":              {believed.server(nil, local), true, nil, 200, ""},
		"at-a-url-named":        {other.server([]string{"api.example.com"}), true, &gateway.UpstreamTLS{ServerName: "api.example.com", CA: other.pem()}, 200, "api.example.com"},
	} {
		upstream := gateway.Upstream{App: "shop/" + name, TLS: c.tls}
		if c.url {
			upstream = gateway.Upstream{URL: c.server.URL, TLS: c.tls}
		} else {
			f.instance(name, name, c.server.Listener.Addr().String())
			port := c.server.Listener.Addr().(*net.TCPAddr).Port
			f.registry.PutService(registry.App{Namespace: "shop", Name: name}, registry.Service{Ports: []registry.ServicePort{{Name: "https", Port: 443, Target: uint16(port), Secured: name != "unmarked"}}})
		}
		f.routes(fmt.Sprintf(`{"name":%q,"match":{"path":%q},"upstream":%s}`, name, "/"+name, mark(upstream)))
		r := f.get("/" + name)
		if r.status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, r.status, r.body, c.status)
		}
		if r.status == 502 && r.problem().Code != codeConnect {
			t.Errorf("%s: %+v", name, r.problem())
		}
		if got := c.server.wasAsked(); len(got) != 1 || got[0] != c.asked {
			t.Errorf("%s: the server was asked for %q, want %q", name, got, c.asked)
		}
	}
	// An edit of whom to believe holds for requests that come after it.
	server := other.server([]string{"edited.shop.svc"})
	f.instance("edited", "edited", server.Listener.Addr().String())
	for _, c := range []struct {
		tls  *gateway.UpstreamTLS
		want int
	}{{nil, 502}, {&gateway.UpstreamTLS{CA: other.pem()}, 200}, {&gateway.UpstreamTLS{CA: believed.pem()}, 502}} {
		f.routes(fmt.Sprintf(`{"name":"edited","match":{"path":"/edited"},"upstream":%s}`, mark(gateway.Upstream{App: "shop/edited", Protocol: "https", TLS: c.tls})))
		if r := f.get("/edited"); r.status != c.want {
			t.Errorf("edited to %+v: got %d, want %d", c.tls, r.status, c.want)
		}
	}
}
