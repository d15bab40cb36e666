package kube

import (
	"testing"

	"github.com/weirmesh/weir/registry"
)

// What Spring Cloud Kubernetes reads of a Service is read the same here.
func TestPortsAsSpringHasThem(t *testing.T) {
	t.Parallel()
	type said = map[string]string
	port := func(name string, n uint16) registry.ServicePort {
		return registry.ServicePort{Name: name, Port: n, Target: n}
	}
	for name, c := range map[string]struct {
		ports               []registry.ServicePort
		labels, annotations said
		primary, secured    string // by name
	}{
		"nothing said":                   {ports: []registry.ServicePort{port("web", 80), port("admin", 81)}},
		"primary by label":               {ports: []registry.ServicePort{port("web", 80), port("admin", 81)}, labels: said{"primary-port-name": "admin"}, primary: "admin"},
		"primary by annotation":          {ports: []registry.ServicePort{port("web", 80), port("admin", 81)}, annotations: said{"primary-port-name": "web"}, primary: "web"},
		"primary that there is not":      {ports: []registry.ServicePort{port("web", 80), port("admin", 81)}, labels: said{"primary-port-name": "x"}},
		"secured, the only port":         {ports: []registry.ServicePort{port("web", 80)}, labels: said{"secured": "true"}, secured: "web"},
		"secured by annotation":          {ports: []registry.ServicePort{port("web", 80)}, annotations: said{"secured": "on"}, secured: "web"},
		"secured is meant of primary":    {ports: []registry.ServicePort{port("web", 80), port("admin", 81)}, labels: said{"secured": "1", "primary-port-name": "admin"}, primary: "admin", secured: "admin"},
		"secured is meant of http":       {ports: []registry.ServicePort{port("admin", 81), port("http", 80)}, labels: said{"secured": "yes"}, secured: "http"},
		"by name":                        {ports: []registry.ServicePort{port("https", 80), port("http", 81)}, secured: "https"},
		"by number":                      {ports: []registry.ServicePort{port("web", 8443), port("http", 81)}, secured: "web"},
		"by the instances' number":       {ports: []registry.ServicePort{{Name: "web", Port: 443, Target: 8080}, {Name: "tls", Port: 80, Target: 8443}}, secured: "tls"},
		"by a number that is not known":  {ports: []registry.ServicePort{{Name: "web", Port: 443}}},
		"neither name nor number counts": {ports: []registry.ServicePort{port("https", 8443)}, labels: said{"secured": "false"}},
	} {
		saysOf(c.labels, c.annotations).mark(c.ports)
		for _, p := range c.ports {
			if p.Primary != (p.Name == c.primary) || p.Secured != (p.Name == c.secured) {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}
