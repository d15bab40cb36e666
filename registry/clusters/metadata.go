package clusters

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/weirmesh/weir/registry"
)

func equalApps(a, b []registry.App) bool { return slices.Equal(a, b) }

// store returns where an application's documents are written: in the cluster that it
// names, else the first.
func (r *Registry) store(app registry.App) (*Member, registry.App, error) {
	m := &r.members[0]
	if app.Cluster != "" {
		var err error
		if m, err = r.member(app.Cluster); err != nil {
			return nil, app, err
		}
	}
	if m.Metadata == nil {
		return nil, app, lacks("MetadataStore")
	}
	app.Cluster = ""
	return m, app, nil
}

// PutMetadata implements registry.MetadataStore, in the first cluster.
func (r *Registry) PutMetadata(ctx context.Context, app registry.App, revision string, document []byte) error {
	m, app, err := r.store(app)
	if err != nil {
		return err
	}
	return r.at(m, m.Metadata.PutMetadata(ctx, app, revision, document))
}

// DeleteMetadata implements registry.MetadataStore, in the first cluster.
func (r *Registry) DeleteMetadata(ctx context.Context, app registry.App, revision string) error {
	m, app, err := r.store(app)
	if err != nil {
		return err
	}
	return r.at(m, m.Metadata.DeleteMetadata(ctx, app, revision))
}

// Metadata implements registry.MetadataStore: the document of the first cluster that
// has it. A revision is the same everywhere.
func (r *Registry) Metadata(ctx context.Context, app registry.App, revision string) ([]byte, error) {
	if app.Cluster != "" || len(r.members) == 1 {
		m, app, err := r.store(app)
		if err != nil {
			return nil, err
		}
		document, err := m.Metadata.Metadata(ctx, app, revision)
		return document, r.at(m, err)
	}
	all := ask(ctx, r, func(ctx context.Context, m *Member) ([]byte, error) {
		if m.Metadata == nil {
			return nil, &registry.Error{Code: registry.NotFound, Message: "it was given without a MetadataStore"}
		}
		return m.Metadata.Metadata(ctx, app, revision)
	}, func(all []answer[[]byte], _ bool) bool {
		return slices.ContainsFunc(all, func(a answer[[]byte]) bool { return a.err == nil })
	})
	for _, a := range all {
		if a.err == nil {
			return a.value, nil
		}
	}
	// That one has none says little while another cannot be asked.
	for _, a := range all {
		if registry.CodeOf(a.err) != registry.NotFound {
			return nil, a.err
		}
	}
	return nil, all[0].err
}

// Revisions implements registry.MetadataStore: those of all clusters, each once.
func (r *Registry) Revisions(ctx context.Context, app registry.App) ([]registry.Revision, error) {
	if app.Cluster != "" || len(r.members) == 1 {
		m, app, err := r.store(app)
		if err != nil {
			return nil, err
		}
		found, err := m.Metadata.Revisions(ctx, app)
		return found, r.at(m, err)
	}
	all := ask(ctx, r, func(ctx context.Context, m *Member) ([]registry.Revision, error) {
		if m.Metadata == nil {
			return nil, nil
		}
		return m.Metadata.Revisions(ctx, app)
	}, func([]answer[[]registry.Revision], bool) bool { return false })
	if err := worst(all); err != nil {
		return nil, err
	}
	found := []registry.Revision{}
	for _, a := range all {
		found = append(found, a.value...)
	}
	slices.SortFunc(found, func(a, b registry.Revision) int {
		return cmp.Or(strings.Compare(a.Revision, b.Revision), a.Stored.Compare(b.Stored))
	})
	return slices.CompactFunc(found, func(a, b registry.Revision) bool { return a.Revision == b.Revision }), nil
}
