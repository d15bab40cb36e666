package dubbo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/registry"
)

// reasonTimeout bounds what is spent on finding out why nothing is known.
const reasonTimeout = 500 * time.Millisecond

// maxReasons bounds the instances named in one sentence.
const maxReasons = 3

// reason says, in a user's words, why the reference has nothing to call. It is
// called from run.
func (s *subscription) reason() string {
	s.mu.Lock()
	mapped, apps := s.mapped, s.apps
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.b.ctx, reasonTimeout)
	defer cancel()
	if !mapped {
		if _, err := s.b.backend.Mapping.InterfaceApps(ctx, s.ref.word()); err != nil {
			return err.Error()
		}
		return "the registry has just answered"
	}
	if len(apps) == 0 {
		return fmt.Sprintf("no application in namespace %s says that it provides %s; is its provider deployed and registered? "+
			"A provider that does not write the mapping, such as Dubbo Java, is named with client.WithProvidedBy",
			s.b.cfg.Namespace, s.ref.iface)
	}
	var reasons []string
	for _, app := range apps {
		reasons = append(reasons, s.reasonOf(ctx, app))
	}
	return strings.Join(reasons, "; ")
}

// reasonOf says why one application's instances are not on the list.
func (s *subscription) reasonOf(ctx context.Context, app registry.App) string {
	w := s.watches[app]
	if w == nil {
		return app.String() + " is not followed"
	}
	v := w.view()
	if !v.known {
		if _, err := s.b.backend.Discoverer.Snapshot(ctx, app); err != nil {
			return err.Error()
		}
		return app.String() + " has just become known"
	}
	if len(v.snapshot.Instances) == 0 {
		if v.snapshot.Service.Host == "" {
			return app.String() + " has no Service and no instance"
		}
		return app.String() + " has no instance"
	}
	var why []string
	callable := 0
	for i := range v.snapshot.Instances {
		instance := &v.snapshot.Instances[i]
		if instance.Callable() {
			callable++
		} else if len(why) < maxReasons {
			why = append(why, instance.Name+" is "+strings.TrimPrefix(instance.Why(), "is "))
		}
	}
	if callable == 0 {
		return fmt.Sprintf("%s has %s, none of which can be called: %s",
			app, count(len(v.snapshot.Instances), "instance"), strings.Join(why, ", "))
	}
	return s.notOffered(app, v, callable)
}

// notOffered says why callable instances do not offer what the reference wants.
func (s *subscription) notOffered(app registry.App, v view, callable int) string {
	var fetching error
	protocols := map[string]struct{}{}
	offers := map[string]struct{}{}
	for _, rev := range v.documents {
		if rev.doc == nil {
			if rev.err != nil {
				fetching = rev.err
			}
			continue
		}
		for _, sv := range rev.doc.services[s.ref.iface] {
			if s.ref.speaksOf(sv) {
				protocols[sv.protocol] = struct{}{}
			}
			offers[registry.Interface{Name: sv.name, Group: sv.group, Version: sv.version}.String()] = struct{}{}
		}
	}
	switch {
	case len(protocols) > 0:
		if _, ok := protocols[s.ref.protocol]; ok {
			return fmt.Sprintf("%s offers %s over %s, but its instances name no port for it", app, s.ref.iface, s.ref.protocol)
		}
		return fmt.Sprintf("%s offers it over %s, and this reference asks for %s; choose the protocol with client.WithProtocol",
			app, join(protocols), s.ref.protocol)
	case len(offers) > 0:
		return fmt.Sprintf("%s offers %s; group and version must be those of the provider", app, join(offers))
	case fetching != nil:
		return fmt.Sprintf("what the instances of %s offer could not be read: %v", app, fetching)
	}
	return fmt.Sprintf("%s has %s, but does not offer %s", app, count(callable, "callable instance"), s.ref.iface)
}

func join(set map[string]struct{}) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), " and ")
}
