package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

// mapping is what an InterfaceMapping says.
type mapping struct {
	iface registry.Interface
	apps  []registry.App // sorted
}

// mappingEntry is the value of an entry of spec.apps: the format's version.
const mappingEntry = "v1"

// mappingName names the object of an interface: readable, and unique by a hash,
// since interface names are not names of Kubernetes.
func mappingName(i registry.Interface) string {
	sum := sha256.Sum256([]byte(i.Name + "\x00" + i.Group + "\x00" + i.Version))
	simple := i.Name[strings.LastIndexByte(i.Name, '.')+1:]
	return label(simple, 40) + "-" + hex.EncodeToString(sum[:8])
}

// ownMappingName names the object that an application has to itself where
// somebody else holds the shared one.
func ownMappingName(i registry.Interface, app registry.App) string {
	return mappingName(registry.Interface{Name: i.Name, Group: i.Group, Version: i.Version + "\x00" + app.Name})
}

// label makes a readable part of an object name: lower-case letters, digits and
// '-', beginning with a letter, at most limit bytes.
func label(s string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if b.Len() == limit {
			break
		}
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0:
			b.WriteByte('-')
		}
	}
	if b.Len() == 0 {
		return "x"
	}
	return strings.Trim(b.String(), "-")
}

// MapInterface implements registry.Mapping, by an entry of an InterfaceMapping
// in the application's namespace that is this application's own. One that is there
// is read, not written. While this process is registered as the application, an entry
// that got lost is written again.
func (h *Hub) MapInterface(ctx context.Context, iface registry.Interface, name registry.App) error {
	_, err := h.writeMapping(ctx, iface, name, true)
	if err == nil {
		h.records.addMapping(mapped{iface, name})
	}
	return err
}

// UnmapInterface implements registry.Mapping.
func (h *Hub) UnmapInterface(ctx context.Context, iface registry.Interface, name registry.App) error {
	h.records.dropMapping(mapped{iface, name})
	_, err := h.writeMapping(ctx, iface, name, false)
	return err
}

// writeMapping has an application's entry be there or not be there, and reports whether
// that took a write.
func (h *Hub) writeMapping(ctx context.Context, iface registry.Interface, name registry.App, provides bool) (wrote bool, err error) {
	if err := iface.Validate(); err != nil {
		return false, err
	}
	if err := name.Validate(); err != nil {
		return false, err
	}
	// Readers ignore names, so an object that stands under the first one and says
	// something else keeps nobody from the interface.
	names := []string{mappingName(iface), ownMappingName(iface, name)}
	for _, objectName := range names {
		found, err := h.mappingAt(ctx, name.Namespace, objectName)
		if err != nil && (!provides || registry.CodeOf(err) != registry.Forbidden) {
			return false, err // who may not read may write all the same, or is told so
		}
		has := found != nil && found.iface == iface && slices.Contains(found.apps, name)
		switch {
		case provides && has:
			return false, nil
		case provides && found != nil && found.iface != iface:
			h.log.WarnContext(ctx, "an InterfaceMapping stands for another interface than its name; using a second name",
				"namespace", name.Namespace, "name", objectName, "interface", iface.String(), "says", quote(found.iface.String()))
		case provides:
			return true, h.applyMapping(ctx, iface, name, objectName, map[string]string{name.Name: mappingEntry})
		case has:
			// Applying where nothing is would make an object.
			if err := h.applyMapping(ctx, iface, name, objectName, nil); err != nil {
				return wrote, err
			}
			wrote = true
		}
	}
	if !provides {
		return wrote, nil
	}
	return false, &registry.Error{
		Code:    registry.Invalid,
		Message: fmt.Sprintf("the InterfaceMappings that %s needs to provide %s stand for other interfaces", name, iface),
		Fix:     fmt.Sprintf("find out who made them, and run: kubectl delete -n %s interfacemapping %s", name.Namespace, strings.Join(names, " ")),
	}
}

// applyMapping writes what an application says in an InterfaceMapping, and
// takes away what it said before.
func (h *Hub) applyMapping(ctx context.Context, iface registry.Interface, name registry.App, objectName string, apps map[string]string) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": groupVersion.String(),
		"kind":       kindMapping,
		"metadata":   map[string]any{"name": objectName, "namespace": name.Namespace, "labels": map[string]string{"app.kubernetes.io/managed-by": "weir"}},
		"spec":       mappingSpec{Interface: iface.Name, Group: iface.Group, Version: iface.Version, Apps: apps},
	})
	if err != nil {
		return fmt.Errorf("registry: encode mapping of %s: %w", iface, err)
	}
	try := attempt{verb: "patch", resource: mappingsResource, namespace: name.Namespace, name: objectName, role: roleProvider}
	return h.write(ctx, try, func(ctx context.Context) error {
		// One field manager per application: the API server merges the entries.
		return h.client.apply(ctx, mappingsResource, name.Namespace, objectName, "weir-app-"+name.Name, body, &interfaceMapping{})
	})
}

// mappingAt reads one InterfaceMapping; nil when there is none.
func (h *Hub) mappingAt(ctx context.Context, namespace, objectName string) (*mapping, error) {
	var o interfaceMapping
	try := attempt{verb: "get", resource: mappingsResource, namespace: namespace, name: objectName, role: roleProvider}
	err := h.write(ctx, try, func(ctx context.Context) error {
		return h.client.get(ctx, mappingsResource, namespace, objectName, &o)
	})
	if registry.CodeOf(err) == registry.NotFound {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, err
	}
	_, kept := mappingTable{}.slim(&o)
	m, _ := kept.(*mapping)
	return m, nil
}

// write repeats f while it may help: the API server cannot be reached, or two
// were about to make the same object. It ends with ctx.
func (h *Hub) write(ctx context.Context, try attempt, f func(context.Context) error) error {
	wait := firstWait
	for {
		if h.ctx.Err() != nil {
			return errClosed()
		}
		err := f(ctx)
		why := h.client.explain(err, try)
		if h.premature(err) {
			why = provisional(why)
		}
		if why == nil {
			return nil
		}
		h.metrics.countError(why)
		mayHelp := why.Code == registry.Conflict || why.Code == registry.Unavailable && !unknownKind(why)
		if !mayHelp || ctx.Err() != nil {
			return why
		}
		select {
		case <-time.After(h.pause(wait, err)):
			wait = min(2*wait, h.cfg.MaxBackoff)
		case <-ctx.Done():
			return why
		case <-h.ctx.Done():
			return errClosed()
		}
	}
}

// unknownKind tells that the cluster lacks Weir's definitions: no repetition
// brings them.
func unknownKind(e *registry.Error) bool {
	return strings.HasPrefix(e.Message, "the cluster does not know")
}

// InterfaceApps implements registry.Mapping. It reads the namespaces that the
// hub covers (Config.Namespaces).
func (h *Hub) InterfaceApps(ctx context.Context, iface registry.Interface) ([]registry.App, error) {
	if err := iface.Validate(); err != nil {
		return nil, err
	}
	var apps []registry.App
	err := h.awaitOr(ctx, "interface "+iface.String(), h.needMappings, func() {
		apps = h.providers(iface)
		h.keeper.learnedInterface(iface, apps)
	}, func() bool {
		old, ok := h.keeper.providers(iface)
		apps = slices.Clone(old)
		return ok
	})
	if err != nil {
		h.metrics.countError(err)
		return nil, err
	}
	return apps, nil
}

// SubscribeInterface implements registry.Mapping.
func (h *Hub) SubscribeInterface(iface registry.Interface, notify func([]registry.App)) (func(), error) {
	if err := iface.Validate(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed()
	}
	h.needMappings()
	f := h.interfaces[iface]
	if f == nil {
		f = &followedInterface{topic: feed.NewTopic(slices.Equal[[]registry.App])}
		h.interfaces[iface] = f
	}
	f.followers++
	stop := f.topic.Subscribe(func(apps []registry.App) { notify(slices.Clone(apps)) })
	h.publishInterface(iface)
	var once sync.Once
	return func() {
		once.Do(func() {
			stop()
			h.mu.Lock()
			defer h.mu.Unlock()
			if f.followers--; f.followers == 0 && h.interfaces[iface] == f {
				delete(h.interfaces, iface)
			}
		})
	}, nil
}

// publishInterface tells the followers of an interface who provides it, once
// that is known. mu is held.
func (h *Hub) publishInterface(iface registry.Interface) {
	f := h.interfaces[iface]
	if f == nil {
		return
	}
	if synced, _ := heard(h.needMappings()); synced {
		apps := h.providers(iface)
		f.topic.Set(apps)
		h.keeper.learnedInterface(iface, apps)
	} else if apps, ok := h.keeper.providers(iface); ok {
		f.topic.Set(apps)
	}
}

// providers returns the applications that provide an interface, sorted. mu is
// held.
func (h *Hub) providers(iface registry.Interface) []registry.App {
	all := map[registry.App]struct{}{}
	for _, namespace := range h.base {
		for _, m := range h.spaceOf(namespace).mappings {
			if m.iface == iface {
				for _, a := range m.apps {
					all[a] = struct{}{}
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), registry.App.Compare)
}

// mappingTable holds the InterfaceMappings of a space.
type mappingTable struct{ *space }

func (t mappingTable) slim(obj runtime.Object) (string, any) {
	o, ok := obj.(*interfaceMapping)
	if !ok {
		return "", &mapping{}
	}
	m := &mapping{iface: registry.Interface{Name: o.Spec.Interface, Group: o.Spec.Group, Version: o.Spec.Version}}
	for name := range o.Spec.Apps {
		if a := (registry.App{Namespace: o.Namespace, Name: name}); a.Validate() == nil {
			m.apps = append(m.apps, a)
		}
	}
	slices.SortFunc(m.apps, registry.App.Compare)
	return objectKey(o), m
}

func (t mappingTable) put(key string, kept any, _ time.Time) {
	m, ok := kept.(*mapping)
	if !ok {
		return
	}
	old := t.mappings[key]
	if old != nil && old.iface == m.iface && slices.Equal(old.apps, m.apps) {
		return
	}
	t.mappings[key] = m
	if old != nil && old.iface != m.iface {
		t.hub.publishInterface(old.iface)
	}
	t.hub.publishInterface(m.iface)
	t.hub.records.wake()
}

func (t mappingTable) remove(key string, _ time.Time) {
	if m := t.mappings[key]; m != nil {
		delete(t.mappings, key)
		t.hub.publishInterface(m.iface)
		t.hub.records.wake()
	}
}

func (t mappingTable) replace(all map[string]any, now time.Time) {
	sweep(t, t.mappings, all, now)
	t.hub.records.wake()
}
