package dubbo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	"dubbo.apache.org/dubbo-go/v3/metadata/mapping"
	"dubbo.apache.org/dubbo-go/v3/metadata/report"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	gxset "github.com/dubbogo/gost/container/set"

	"github.com/weirmesh/weir/registry"
)

type reportFactory struct{ name string }

// CreateMetadataReport returns a handle; nothing is opened.
func (f reportFactory) CreateMetadataReport(u *common.URL) report.MetadataReport {
	return &metadataReport{name: f.name, url: u}
}

// metadataReport is the metadata centre and the interface mapping, for
// configurations that use dubbo-go's service discovery (registry-type: service).
type metadataReport struct {
	name string
	url  *common.URL
}

var _ report.MetadataReport = (*metadataReport)(nil)

// URL returns the URL the report was made from.
func (r *metadataReport) URL() *common.URL { return r.url }

// GetAppMetadata returns the document of a revision: the one at hand where the
// application is followed, so that nothing is read twice.
func (r *metadataReport) GetAppMetadata(name, revision string) (*info.MetadataInfo, error) {
	b, app, err := r.resolve(name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	w := b.watches[app]
	b.mu.Unlock()
	if w != nil {
		if doc := w.view().documents[revision].doc; doc != nil {
			return doc.info, nil
		}
	}
	doc, err := b.storedDocument(b.ctx, app, revision)
	if err != nil {
		return nil, err
	}
	return doc.info, nil
}

// PublishAppMetadata stores the document of a revision. What this process itself
// exports is published with its registration instead: dubbo-go would give each
// process a revision of its own, since its revisions depend on the start time.
func (r *metadataReport) PublishAppMetadata(name, revision string, m *info.MetadataInfo) error {
	b, app, err := r.resolve(name)
	if err != nil {
		return err
	}
	if len(m.GetExportedServiceURLs()) > 0 {
		return nil
	}
	snapshot := info.NewMetadataInfoWithParams(m.App, revision, m.GetServices())
	snapshot.Tag = m.Tag
	encoded, err := json.Marshal(snapshot)
	if err != nil {
		return fmt.Errorf("encode metadata of %s: %w", app, err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.WriteTimeout)
	defer cancel()
	return b.backend.Metadata.PutMetadata(ctx, app, revision, encoded)
}

// UnPublishAppMetadata removes the document of a revision.
func (r *metadataReport) UnPublishAppMetadata(name, revision string) error {
	b, app, err := r.resolve(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.WriteTimeout)
	defer cancel()
	return b.backend.Metadata.DeleteMetadata(ctx, app, revision)
}

// ListAppRevisions lists the stored revisions.
func (r *metadataReport) ListAppRevisions(name string) ([]report.AppRevision, error) {
	b, app, err := r.resolve(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, storeTimeout)
	defer cancel()
	revisions, err := b.backend.Metadata.Revisions(ctx, app)
	if err != nil {
		return nil, err
	}
	out := make([]report.AppRevision, len(revisions))
	for i, rev := range revisions {
		out[i] = report.AppRevision{Revision: rev.Revision, ModifyTime: rev.Stored.UnixMilli()}
	}
	return out, nil
}

// RegisterServiceAppMapping is called while services are exported, where dubbo-go
// swallows errors; Binding.publish writes the same once more and reports.
func (r *metadataReport) RegisterServiceAppMapping(iface, _, name string) error {
	b, app, err := r.resolve(name)
	if err == nil {
		ctx, cancel := context.WithTimeout(b.ctx, b.cfg.WriteTimeout)
		defer cancel()
		err = b.backend.Mapping.MapInterface(ctx, registry.Interface{Name: iface}, app)
	}
	if err != nil && b != nil {
		// Not the mapping's to refuse: with several reports it would stop the
		// export to the others, and this registry says it better from Serve.
		b.log.Warn("an interface could not be mapped yet", slog.String("interface", iface), slog.String("app", name), slog.Any("error", err))
	}
	return nil
}

// GetServiceAppMapping returns the applications that provide an interface, and
// tells the listener when others do. It waits until Config.SyncTimeout.
func (r *metadataReport) GetServiceAppMapping(iface, _ string, listener mapping.MappingListener) (*gxset.HashSet, error) {
	b, err := lookup(r.name)
	if err != nil {
		return nil, err
	}
	word := registry.Interface{Name: iface}
	if listener != nil {
		if err := b.listenMapping(word, listener); err != nil {
			return nil, err
		}
	}
	apps, err := b.interfaceApps(word)
	if err != nil {
		b.log.Warn("nobody knows yet who provides an interface", slog.String("interface", iface), slog.Any("error", err))
		return gxset.NewSet(), nil
	}
	return b.names(apps), nil
}

// interfaceApps asks who provides an interface.
func (b *Binding) interfaceApps(word registry.Interface) (apps []registry.App, err error) {
	b.waitFor(func(patience time.Duration) bool {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		apps, err = b.backend.Mapping.InterfaceApps(ctx, word)
		return err == nil
	})
	return apps, err
}

// RemoveServiceAppMappingListener ends what GetServiceAppMapping began for one
// reference. dubbo-go does not say for which, of two groups or versions of an
// interface for example: it is one whose directory has begun to end.
func (r *metadataReport) RemoveServiceAppMappingListener(iface, _ string) error {
	if b, err := lookup(r.name); err == nil {
		b.unlistenMapping(iface)
	}
	return nil
}

func (b *Binding) unlistenMapping(iface string) {
	var gone []mappingListener
	b.mu.Lock()
	list := b.mappings[iface]
	strangers := 0
	for n, m := range list {
		over, known := ended(m.listener)
		if over {
			gone, list = list[n:n+1:n+1], slices.Concat(list[:n], list[n+1:])
			break
		}
		if !known {
			strangers++
		}
	}
	if len(gone) == 0 && strangers == len(list) {
		// Nothing is known of them: all end with the last.
		if b.unmapped[iface]++; b.unmapped[iface] >= len(list) {
			gone, list = list, nil
		}
	}
	if b.mappings[iface] = list; len(list) == 0 {
		delete(b.mappings, iface)
		delete(b.unmapped, iface)
	}
	b.mu.Unlock()
	for _, m := range gone {
		m.stop()
	}
}

// ended reports whether the directory that is behind a listener of dubbo-go's has
// begun to end; known is unset where there is none to be found, as in a version of
// dubbo-go that keeps it elsewhere. It is written once, as the listener is made.
func ended(l mapping.MappingListener) (over, known bool) {
	v := reflect.ValueOf(l)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return false, false
	}
	directory, known := behind(v.Elem().FieldByName("listener")).(interface{ IsDestroyed() bool })
	return known && directory.IsDestroyed(), known
}

func (r *metadataReport) resolve(name string) (*Binding, registry.App, error) {
	b, err := lookup(r.name)
	if err != nil {
		return nil, registry.App{}, err
	}
	app, err := registry.ParseApp(name, b.cfg.Namespace)
	return b, app, err
}

type mappingListener struct {
	listener mapping.MappingListener
	stop     func()
}

func (b *Binding) listenMapping(word registry.Interface, listener mapping.MappingListener) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	if slices.ContainsFunc(b.mappings[word.Name], func(m mappingListener) bool { return m.listener == listener }) {
		return nil
	}
	var all []registry.App // ever named: an entry may be lost, and dubbo-go asks the instances
	stop, err := b.backend.Mapping.SubscribeInterface(word, func(apps []registry.App) {
		if len(apps) == 0 {
			return
		}
		all = append(all, apps...)
		slices.SortFunc(all, registry.App.Compare)
		all = slices.Compact(all)
		if err := listener.OnEvent(goregistry.NewServiceMappingChangedEvent(word.Name, b.names(all))); err != nil && !errors.Is(err, errClosed) {
			b.log.Warn("dubbo-go refused an interface mapping", slog.String("interface", word.Name), slog.Any("error", err))
		}
	})
	if err != nil {
		return err
	}
	b.mappings[word.Name] = append(b.mappings[word.Name], mappingListener{listener: listener, stop: stop})
	return nil
}

func (b *Binding) names(apps []registry.App) *gxset.HashSet {
	set := gxset.NewSet()
	for _, app := range apps {
		if name := b.spell(app); !strings.Contains(name, ",") {
			set.Add(name)
		}
	}
	return set
}
