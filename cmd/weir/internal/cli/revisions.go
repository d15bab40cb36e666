package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/registry/kube"
)

// revisionQuery says which revisions are asked for.
type revisionQuery struct {
	namespace string // empty for all
	unused    bool   // only those that no pod runs
	grace     time.Duration
}

// revision is one in the answer.
type revision struct {
	kube.StoredRevision
	// DeletedAfter is when a control plane deletes it; zero where none does.
	DeletedAfter time.Time `json:"deletedAfter,omitzero"`
}

// revisions lists the stored revisions and what becomes of them.
func (r *opened) revisions(ctx context.Context, w io.Writer, q revisionQuery, format view.Format) error {
	first, cancel := r.first(ctx)
	defer cancel()
	names := r.clusters
	switch {
	case r.cluster != "":
		names = []string{r.cluster}
	case len(names) == 0:
		names = []string{""}
	}
	var stored []kube.StoredRevision
	for _, name := range names {
		// Each cluster keeps its own, and none stands in for another's.
		of, err := r.hub(name).StoredRevisions(first, q.namespace)
		if err != nil {
			return explain(ctx, err)
		}
		for i := range of {
			of[i].App.Cluster = name
		}
		stored = append(stored, of...)
	}
	if q.unused {
		stored = slices.DeleteFunc(stored, func(s kube.StoredRevision) bool { return s.Instances > 0 })
	}
	all := make([]revision, 0, len(stored))
	for _, s := range stored {
		v := revision{StoredRevision: s}
		if !s.UnusedSince.IsZero() && s.Held == "" && q.grace > 0 {
			v.DeletedAfter = s.UnusedSince.Add(q.grace)
		}
		all = append(all, v)
	}
	if format != view.Table {
		return view.Encode(w, format, all)
	}
	if len(all) == 0 {
		what := "no metadata of revisions is stored"
		if q.unused {
			what = "every stored revision is run by a pod"
		}
		where := "any namespace"
		if q.namespace != "" {
			where = "namespace " + q.namespace
		}
		_, err := fmt.Fprintf(w, "%s in %s of %s\n", what, where, r.target)
		return err
	}
	rows := make([]view.Row, 0, len(all))
	header := view.Row{"APPLICATION", "REVISION", "PODS", "SIZE", "STORED", "WHAT BECOMES OF IT"}
	if len(r.clusters) > 0 {
		header = append(view.Row{"CLUSTER"}, header...)
	}
	for i := range all {
		row := all[i].row(time.Now())
		if len(r.clusters) > 0 {
			row = append(view.Row{all[i].App.Cluster}, row...)
		}
		rows = append(rows, row)
	}
	return view.WriteTable(w, header, rows)
}

func (v *revision) row(now time.Time) view.Row {
	id := v.Revision
	if len(id) > 16 { // those of dubbo-go have 128 digits
		id = id[:16] + "…"
	}
	return view.Row{v.App.String(), id, fmt.Sprint(v.Instances), view.Bytes(v.Bytes), v.Stored.UTC().Format(time.DateTime), v.fate(now)}
}

// fate says what becomes of a revision.
func (v *revision) fate(now time.Time) string {
	since := v.UnusedSince.UTC().Format(time.DateTime)
	switch {
	case v.Instances > 0 && v.Held != "":
		return "is run, but " + v.Held
	case v.Instances > 0:
		return "stays: it is run"
	case v.Held != "":
		return "stays: " + v.Held
	case v.UnusedSince.IsZero():
		return "stays until a control plane has seen that no pod runs it"
	case v.DeletedAfter.IsZero():
		return "stays, unused since " + since
	case v.DeletedAfter.After(now):
		return fmt.Sprintf("unused since %s, deleted after %s", since, v.DeletedAfter.UTC().Format(time.DateTime))
	}
	return fmt.Sprintf("unused since %s, deleted when a control plane looks next", since)
}
