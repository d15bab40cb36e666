package gateway

import (
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
	roots, count := x509.NewCertPool(), 0
	for block, rest := pem.Decode([]byte(t.CA)); block != nil; block, rest = pem.Decode(rest) {
		count++
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %q in PEM where only certificates belong", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", count, err)
		}
		roots.AddCert(c)
	}
	if count == 0 {
		return nil, errors.New("holds no certificate in PEM")
	}
	return roots, nil
}
