package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
)

func (u Upstream) validateTLS(v *validation) {
	const field = "upstream.tls"
	switch {
	case u.Dubbo != nil:
		v.bad(field, "is for app and url; a Dubbo provider says what it speaks")
	case u.URL != "" && isPlain(u.URL):
		v.bad(field, "is for https, but the URL says http")
	case u.App != "" && u.Protocol != "" && u.Protocol != "https":
		v.bad(field, "is for https, but upstream.protocol is %s", u.Protocol)
	case *u.TLS == UpstreamTLS{}:
		v.bad(field, "is empty: give serverName or ca")
	}
	if name := u.TLS.ServerName; name != "" && !isHost(name) {
		if _, err := netip.ParseAddr(name); err != nil {
			v.bad(field+".serverName", "%q is no host", name)
		}
	}
	if _, err := u.TLS.Roots(); err != nil {
		v.bad(field+".ca", "%s", err)
	}
}

func isPlain(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && parsed.Scheme == "http"
}

// MaxCA is how long an UpstreamTLS's CA may be, in bytes.
const MaxCA = 64 << 10

// Roots returns the certificates of CA; nil where it is empty.
func (t *UpstreamTLS) Roots() (*x509.CertPool, error) {
	if t == nil || t.CA == "" {
		return nil, nil
	}
	if len(t.CA) > MaxCA {
		return nil, fmt.Errorf("is longer than %d bytes", MaxCA)
	}
	certificates, err := ReadCertificates([]byte(t.CA))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, c := range certificates {
		roots.AddCert(c)
	}
	return roots, nil
}

// ReadCertificates reads certificates in PEM: all that text holds, or an error. One
// that was left out would be missed when what it signed is called.
func ReadCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %q in PEM where only certificates belong", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	// Decode passes over a block that is damaged.
	if begun := bytes.Count(text, []byte("-----BEGIN ")); begun > len(all) {
		return nil, fmt.Errorf("%d of its %d blocks in PEM cannot be read: one is cut short or damaged", begun-len(all), begun)
	}
	if len(all) == 0 {
		return nil, errors.New("holds no certificate in PEM")
	}
	return all, nil
}
