package registry

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// App identifies an application: its name is at once the Kubernetes Service
// name, dubbo.application.name, spring.application.name and the service name of
// its spans. The zero Cluster is the cluster the process belongs to.
type App struct {
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns "namespace/name", the way an application is written everywhere.
func (a App) String() string { return a.Namespace + "/" + a.Name }

// Compare orders applications by cluster, namespace and name.
func (a App) Compare(b App) int {
	return cmp.Or(
		strings.Compare(a.Cluster, b.Cluster),
		strings.Compare(a.Namespace, b.Namespace),
		strings.Compare(a.Name, b.Name),
	)
}

// Validate reports, as an Error with code Invalid, a name or namespace that
// Kubernetes would not take as the name of a Service or Namespace.
func (a App) Validate() error {
	if err := checkLabel("namespace", a.Namespace, false); err != nil {
		return err
	}
	return checkLabel("application name", a.Name, true)
}

// ParseApp reads "namespace/name"; a bare name is completed with namespace.
func ParseApp(s, namespace string) (App, error) {
	app := App{Namespace: namespace, Name: s}
	if ns, name, ok := strings.Cut(s, "/"); ok {
		app.Namespace, app.Name = ns, name
	}
	if err := app.Validate(); err != nil {
		return App{}, err
	}
	return app, nil
}

// Interface identifies a Dubbo service: a fully qualified interface name, with
// the group and version under which it is offered where there are any.
type Interface struct {
	Name    string `json:"name"`
	Group   string `json:"group,omitempty"`
	Version string `json:"version,omitempty"`
}

// String returns Dubbo's own spelling, "group/name:version".
func (i Interface) String() string {
	s := i.Name
	if i.Group != "" {
		s = i.Group + "/" + s
	}
	if i.Version != "" {
		s += ":" + i.Version
	}
	return s
}

// Revision names one stored metadata document.
type Revision struct {
	Revision string    `json:"revision"`
	Stored   time.Time `json:"stored"`
}

// checkLabel holds names to DNS labels, since an application's name must serve
// as a Service name (which must also start with a letter, RFC 1035).
func checkLabel(what, s string, letterFirst bool) error {
	bad := func(why string) error {
		return &Error{Code: Invalid, Message: fmt.Sprintf("%s %q %s: use lower-case letters, digits and '-', as Kubernetes does for Services", what, s, why)}
	}
	switch {
	case s == "":
		return &Error{Code: Invalid, Message: what + " is empty"}
	case len(s) > 63:
		return bad("is longer than 63 characters")
	case letterFirst && (s[0] < 'a' || s[0] > 'z'):
		return bad("does not start with a lower-case letter")
	case s[0] == '-' || s[len(s)-1] == '-':
		return bad("starts or ends with '-'")
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return bad(fmt.Sprintf("holds %q", c))
		}
	}
	return nil
}
