package registry

import (
	"context"
	"time"
)

// Govern is the wish of a Service to have its instances governed from outside,
// without code of Weir's in them, and what it says of where they tell of
// themselves. A Service without one is left alone.
type Govern struct {
	// Actuator is the annotation boot.spring.io/actuator as it is written, such as
	// "http://:9090/manage".
	Actuator string `json:"actuator,omitempty"`
	// PrometheusPort and PrometheusPath are the annotations prometheus.io/port and
	// prometheus.io/path as they are written.
	PrometheusPort string `json:"prometheusPort,omitempty"`
	PrometheusPath string `json:"prometheusPath,omitempty"`
	// Config is the name of a ConfigMap that the instances read their settings from,
	// into which policies may be written too; empty for none.
	Config string `json:"config,omitempty"`
	// Problem says what is wrong with the name of the ConfigMap, which then counts as
	// none; empty for nothing.
	Problem string `json:"problem,omitempty"`
}

// Config is what a ConfigMap holds, by document, and when SetConfig changed it
// last; zero for never.
type Config struct {
	// ID is another one for each ConfigMap that is made.
	ID        string
	Documents map[string]string
	Written   time.Time
}

// Inspector tells what governing applications from outside takes beyond their
// snapshots. Implementations are safe for concurrent use.
type Inspector interface {
	// Governed lists the applications whose Service has a Govern, sorted. Errors as
	// for Discoverer.Snapshot.
	Governed(ctx context.Context) ([]App, error)

	// Pod reads what runs in an instance, by its namespace and name, from the
	// registry itself. Errors: NotFound, Forbidden, Unavailable.
	Pod(ctx context.Context, namespace, name string) (Pod, error)

	// Config reads a ConfigMap. Errors: as for Pod.
	Config(ctx context.Context, namespace, name string) (Config, error)

	// SetConfig makes text one document of the ConfigMap that Config read with this
	// ID, or takes the document away if text is empty, and leaves its others alone. It
	// makes no ConfigMap. Errors: NotFound if that one is gone, also if there is another
	// in its place; Forbidden, Invalid, Unavailable.
	SetConfig(ctx context.Context, namespace, name, id, document, text string) error
}

// Pod is what runs in one instance.
type Pod struct {
	// ID is the pod's UID, the ID of its instance.
	ID string
	// PrometheusPort and PrometheusPath are its annotations of these names.
	PrometheusPort, PrometheusPath string
	Containers                     []Container
}

// Container is one of a pod's.
type Container struct {
	Name string
	// Image names what it runs, by digest where that is known.
	Image string
	// Process is another one each time that the container is started; empty while it
	// is not.
	Process string
	Started time.Time
	Ports   []ServicePort // by name, where they have one; Port is the container's
}
