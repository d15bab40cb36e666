package proxy

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the headers of one connection, which never travel on.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// removeHopByHop takes out the headers of the connection, and those that the
// Connection header names.
func removeHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = textproto.TrimString(name); name != "" {
				delete(h, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// hasToken reports whether a header that is a list holds a token.
func hasToken(values []string, token string) bool {
	for _, list := range values {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}

// wantsWebSocket reports whether a request asks for the one upgrade there is.
// Any other is not passed on: an upstream that agreed to h2c, say, would take
// requests that no route was held against. A handshake has no body: what
// followed one would be read as both, the body and the WebSocket.
func wantsWebSocket(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ProtoMinor == 1 && r.Method == http.MethodGet && r.ContentLength == 0 &&
		len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header["Upgrade"][0], "websocket") &&
		hasToken(r.Header["Connection"], "upgrade")
}

// noUserAgent keeps net/http from inventing one.
var noUserAgent = []string{}

// outHeader returns the headers of the request that is sent on. Their values are
// shared with r's: they are replaced, not written to.
func (p *Proxy) outHeader(r *http.Request, upgrade bool) http.Header {
	h := make(http.Header, len(r.Header)+6)
	maps.Copy(h, r.Header)
	trailers := hasToken(h["Te"], "trailers")
	removeHopByHop(h)
	delete(h, "Proxy") // no header at all, but CGI programs would send their own requests by it ("httpoxy")
	if trailers {
		h["Te"] = []string{"trailers"} // gRPC asks for it; it says what the client reads, which we pass on
	}
	if upgrade {
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{"websocket"}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = noUserAgent
	}
	p.forwarded(r, h)
	version := "1.1 "
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		version = strings.TrimPrefix(r.Proto, "HTTP/") + " "
	}
	h["Via"] = append(slices.Clip(h["Via"]), version+p.config.Via)
	return h
}

// forwarded says for whom the request is sent. What a client says of that itself
// counts only from a trusted peer, since upstreams believe it.
func (p *Proxy) forwarded(r *http.Request, h http.Header) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	if p.trusts(client) {
		for name := range h { // no load balancer spells its own headers so: it let a client's pass
			if strings.Contains(name, "_") && saysForwarded(name) {
				delete(h, name)
			}
		}
		if before := h["X-Forwarded-For"]; len(before) > 0 {
			client = strings.Join(before, ", ") + ", " + client
		}
		h["X-Forwarded-For"] = []string{client}
		if len(h["X-Forwarded-Host"]) == 0 {
			h["X-Forwarded-Host"] = []string{r.Host}
		}
		if len(h["X-Forwarded-Proto"]) == 0 {
			h["X-Forwarded-Proto"] = []string{proto}
		}
		return
	}
	for name := range h {
		if saysForwarded(name) {
			delete(h, name)
		}
	}
	if client != "" {
		h["X-Forwarded-For"] = []string{client}
	}
	h["X-Forwarded-Host"] = []string{r.Host}
	h["X-Forwarded-Proto"] = []string{proto}
}

// saysForwarded reports whether a header tells for whom a request is sent. Servers
// that hand headers to programs as variables (CGI, WSGI, Rack, PHP) make a "-" and
// a "_" the same, so a client's X_Forwarded_For would stand beside the gateway's.
func saysForwarded(name string) bool {
	const prefix = "X-Forwarded-"
	if len(name) < len("Forwarded") || name[0] != 'X' && name[0] != 'F' {
		return false
	}
	if strings.Contains(name, "_") {
		name = strings.ReplaceAll(name, "_", "-")
	}
	return strings.EqualFold(name, "Forwarded") || strings.EqualFold(name, "X-Real-Ip") ||
		len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

func (p *Proxy) trusts(client string) bool {
	if len(p.config.TrustedPeers) == 0 {
		return false
	}
	address, err := netip.ParseAddr(client)
	if err != nil {
		return false
	}
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(p.config.TrustedPeers, func(n netip.Prefix) bool { return n.Contains(address) })
}

// maxPasses is how often one request may come through gateways of one name: an
// application that calls back through its gateway is no loop.
const maxPasses = 8

// loops reports whether a request has come by too often.
func (p *Proxy) loops(r *http.Request) bool {
	via := r.Header["Via"]
	if len(via) == 0 {
		return false
	}
	passes := 0
	for _, list := range via {
		for hop := range strings.SplitSeq(list, ",") {
			if f := strings.Fields(hop); len(f) >= 2 && f[1] == p.config.Via {
				passes++
			}
		}
	}
	return passes >= maxPasses
}
