// Package plan says what is registered during a run: the same applications,
// interfaces and addresses for every registry measured, known to every process
// from a few numbers.
package plan

import (
	"fmt"
	"net/netip"
)

// Port is where every instance says it serves.
const Port = 20880

// Protocol is what every instance says it speaks.
const Protocol = "tri"

// base lies in the range set aside for benchmarks (RFC 2544): nothing real
// answers there, and Kubernetes takes it for a pod address.
var base = netip.MustParseAddr("198.18.0.0").As4()

// MaxInstances is how many addresses the range has for a plan.
const MaxInstances = 512 * 250

// Plan is the shape of what is registered. Instance i belongs to application
// i modulo Apps.
type Plan struct {
	Instances int `json:"instances"`
	Apps      int `json:"apps"`
	// OwnRevisions gives each instance a metadata revision of its own, as
	// dubbo-go does for replicas that started in different seconds; without it
	// the instances of an application share one.
	OwnRevisions bool `json:"ownRevisions,omitempty"`
	// Upgrade gives each instance another that takes its place: instance i and
	// instance i plus Instances, with addresses of their own.
	Upgrade bool `json:"upgrade,omitempty"`
}

// Validate reports numbers that make no plan.
func (p Plan) Validate() error {
	switch {
	case p.Apps < 1 || p.Instances < p.Apps:
		return fmt.Errorf("%d instances over %d applications: give at least one application, and at least one instance to each", p.Instances, p.Apps)
	case p.Total() > MaxInstances:
		return fmt.Errorf("%d instances: there are addresses for %d", p.Total(), MaxInstances)
	case p.Upgrade && p.Instances%p.Apps != 0:
		return fmt.Errorf("%d instances over %d applications: for an upgrade give each as many", p.Instances, p.Apps)
	case p.Apps > 1000:
		return fmt.Errorf("%d applications: names go up to 1000", p.Apps)
	}
	return nil
}

// Total returns the number of instances there ever are.
func (p Plan) Total() int {
	if p.Upgrade {
		return 2 * p.Instances
	}
	return p.Instances
}

// App returns the application of an instance.
func (p Plan) App(instance int) int { return instance % p.Apps }

// Size returns the number of instances of an application that there are at a time.
func (p Plan) Size(app int) int { return (p.Instances - app + p.Apps - 1) / p.Apps }

// Slots returns the number of instances of an application that there ever are.
func (p Plan) Slots(app int) int { return p.Size(app) * p.Total() / p.Instances }

// Slot returns an instance's place among those of its application.
func (p Plan) Slot(instance int) int { return instance / p.Apps }

// AppName names an application: a Kubernetes Service and a dubbo application.
func AppName(app int) string { return fmt.Sprintf("bench-%03d", app) }

// InterfaceName names the one interface that an application provides.
func InterfaceName(app int) string { return fmt.Sprintf("org.weirmesh.bench.Service%03d", app) }

// Methods are those of every interface.
func Methods() []string { return []string{"query", "release", "reserve"} }

// Host returns an instance's address.
func Host(instance int) string {
	a := base
	a[1] += byte(instance / 250 >> 8)
	a[2] = byte(instance / 250)
	a[3] = byte(instance%250 + 1)
	return netip.AddrFrom4(a).String()
}

// Index is the inverse of Host; ok is false for an address of no instance.
func (p Plan) Index(host string) (instance int, ok bool) {
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is4() {
		return 0, false
	}
	a := addr.As4()
	if a[0] != base[0] || a[1] < base[1] || a[1] > base[1]+1 || a[3] == 0 || a[3] > 250 {
		return 0, false
	}
	instance = (int(a[1]-base[1])<<8+int(a[2]))*250 + int(a[3]) - 1
	return instance, instance < p.Total()
}
