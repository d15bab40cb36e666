package dubbo

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/common"

	"github.com/weirmesh/weir/registry"
)

// whole is an application in Service mode: one address that leads to any of its
// instances, and what can be asked of whichever it is.
type whole struct {
	app      registry.App
	host     string
	services []offered
	// lanes tell apart the connections to the address. The cluster chooses an
	// instance for each connection, not for each call.
	lanes []int
}

// offered is a service at a port of the Service.
type offered struct {
	service *service
	port    uint16
}

// serviceKey is by which services of different documents are the same.
type serviceKey struct{ name, group, version, protocol string }

func (s *service) key() serviceKey {
	return serviceKey{s.name, s.group, normalVersion(s.version), s.protocol}
}

// newWhole returns what every one of the entries offers at the application's
// Service, which leads to the others, too. why says why there is no such thing; it
// is empty where there is nobody to call at all.
func newWhole(v view, entries []entry, others int) (w *whole, why string) {
	at := v.snapshot.Service
	switch {
	case len(entries) == 0:
		return nil, ""
	case at.Host == "":
		return nil, "it has no Service"
	case at.Headless:
		return nil, "its Service is headless: the name leads to the instances"
	case others > 0:
		return nil, "not all of its instances offer it, and its Service leads to those, too"
	}
	w = &whole{app: v.snapshot.App, host: at.Host}
	for _, s := range entries[0].services {
		port := servicePort(at, entries[0].instance, s)
		if port == 0 {
			why = fmt.Sprintf("its Service has no port that leads to where it serves %s", s.protocol)
			continue
		}
		everywhere := true
		for _, e := range entries[1:] {
			i := slices.IndexFunc(e.services, func(o *service) bool { return o.key() == s.key() })
			if i < 0 || servicePort(at, e.instance, e.services[i]) != port {
				everywhere = false
				break
			}
		}
		if !everywhere {
			if why == "" {
				why = "not all of its instances offer it at one port of its Service"
			}
			continue
		}
		w.services = append(w.services, offered{service: s, port: port})
	}
	if len(w.services) == 0 {
		return nil, why
	}
	return w, ""
}

// servicePort returns the port of a Service that leads to where the instance
// serves s; 0 for none.
func servicePort(at registry.Service, i *registry.Instance, s *service) uint16 {
	for _, t := range targets(i, s) {
		for _, p := range at.Ports {
			// A named port that differs between instances is told by its name alone.
			if p.Target == t.port || p.Target == 0 && portSpeaks(p.Name, s.protocol) {
				return p.Port
			}
		}
	}
	return 0
}

// portSpeaks reports whether a port's name is that of a protocol, as in "tri" or
// "tri-orders".
func portSpeaks(name, protocol string) bool {
	return name == protocol || strings.HasPrefix(name, protocol+"-")
}

// anyone stands for the instance that the cluster chooses: nothing is known of it.
var anyone = &registry.Instance{Details: registry.Details{Weight: registry.DefaultWeight}}

// urls returns a URL for each service and lane.
func (w *whole) urls() []*common.URL {
	out := make([]*common.URL, 0, len(w.services)*len(w.lanes))
	for _, o := range w.services {
		for _, lane := range w.lanes {
			out = append(out, newURL(target{host: w.host, port: o.port, lane: lane}, anyone, o.service))
		}
	}
	return out
}

// mark sums up all that the URLs are made from.
func (w *whole) mark() uint64 {
	var h maphash.Hash
	h.SetSeed(markSeed)
	maphash.WriteComparable(&h, w.app)
	maphash.WriteComparable(&h, w.host)
	for _, o := range w.services {
		maphash.WriteComparable(&h, o) // a document is never changed: its services are their own mark
	}
	for _, lane := range w.lanes {
		maphash.WriteComparable(&h, lane)
	}
	return h.Sum64()
}

// addresses are where connections go to.
func (w *whole) addresses() []string {
	var out []string
	for _, o := range w.services {
		if a := fmt.Sprintf("%s:%d", strings.ToLower(w.host), o.port); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
