package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

const (
	metadataManager = "weir-metadata"
	// labelApp, on an AppMetadata, holds the name of its application, by which all
	// revisions of one are found.
	labelApp = "weirmesh.io/app"
	// annotationRevision, on an AppMetadata, holds the revision that it describes, whose
	// name may be longer than that of an object.
	annotationRevision = "weirmesh.io/revision"
	// annotationStored, on an AppMetadata, holds when an instance last found it marked as
	// unused and asked for it to be kept, RFC 3339 in UTC; providers write it.
	annotationStored = "weirmesh.io/stored"

	// gzipAbove is where a document is worth compressing.
	gzipAbove = 8 << 10
	// maxStored is what an object holds, well under etcd's 1.5 MiB a request.
	maxStored = 1 << 20
	// maxDocument bounds what is unpacked again.
	maxDocument = 32 << 20
)

// metadataName names the object of a revision. Revisions are longer than names
// may be.
func metadataName(app registry.App, revision string) string {
	sum := sha256.Sum256([]byte(revision))
	return app.Name + "-" + hex.EncodeToString(sum[:8])
}

// PutMetadata implements registry.MetadataStore, by an AppMetadata object in the
// application's namespace. A document that is too large even when compressed is
// Invalid. While this process is registered as the application, the document that it
// stored last is stored again when it got lost.
func (h *Hub) PutMetadata(ctx context.Context, app registry.App, revision string, document []byte) error {
	_, err := h.putMetadata(ctx, app, revision, document)
	if err == nil {
		h.records.setDocument(app, revision, document)
	}
	return err
}

// putMetadata is PutMetadata; it reports whether that took a write.
func (h *Hub) putMetadata(ctx context.Context, app registry.App, revision string, document []byte) (wrote bool, err error) {
	if err := validateMetadata(app, revision); err != nil {
		return false, err
	}
	spec, err := packMetadata(app, revision, document)
	if err != nil {
		return false, err
	}
	name := metadataName(app, revision)
	var old appMetadata
	try := attempt{verb: "get", resource: metadatasResource, namespace: app.Namespace, name: name, role: roleProvider}
	err = h.write(ctx, try, func(ctx context.Context) error {
		return h.client.get(ctx, metadatasResource, app.Namespace, name, &old)
	})
	annotations := map[string]string{annotationRevision: revision}
	switch {
	case err == nil && old.Spec.SHA256 == spec.SHA256 && old.Spec.App == app.Name && old.Spec.Revision == revision:
		if old.Status.UnusedSince == nil {
			return false, nil
		}
		// It may be about to be deleted, and this instance is not known to need it before
		// it has registered. A write makes it another version than the one to delete.
		annotations[annotationStored] = time.Now().UTC().Format(time.RFC3339Nano)
	case err != nil && registry.CodeOf(err) != registry.NotFound:
		return false, err
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": groupVersion.String(),
		"kind":       kindMetadata,
		"metadata": map[string]any{
			"name": name, "namespace": app.Namespace,
			"labels":      map[string]string{labelApp: app.Name, "app.kubernetes.io/managed-by": "weir"},
			"annotations": annotations,
		},
		"spec": spec,
	})
	if err != nil {
		return false, fmt.Errorf("registry: encode metadata of %s: %w", app, err)
	}
	try.verb = "patch"
	return true, h.write(ctx, try, func(ctx context.Context) error {
		return h.client.apply(ctx, metadatasResource, app.Namespace, name, metadataManager, body, &appMetadata{})
	})
}

// Metadata implements registry.MetadataStore.
func (h *Hub) Metadata(ctx context.Context, app registry.App, revision string) ([]byte, error) {
	if err := validateMetadata(app, revision); err != nil {
		return nil, err
	}
	name := metadataName(app, revision)
	h.mu.Lock()
	old, lost := h.keeper.document(app, revision), !h.reachable(app.Namespace)
	h.mu.Unlock()
	if old != nil && lost {
		return slices.Clone(old), nil
	}
	var stored appMetadata
	try := attempt{verb: "get", resource: metadatasResource, namespace: app.Namespace, name: name, role: roleConsumer}
	err := h.write(ctx, try, func(ctx context.Context) error {
		return h.client.get(ctx, metadatasResource, app.Namespace, name, &stored)
	})
	switch {
	case registry.CodeOf(err) == registry.NotFound:
		return nil, noMetadata(app, revision)
	case registry.CodeOf(err) == registry.Unavailable && old != nil:
		return slices.Clone(old), nil
	case err != nil:
		return nil, err
	}
	if stored.Spec.App != app.Name || stored.Spec.Revision != revision {
		// Whoever could write it had no say in what this application offers.
		return nil, noMetadata(app, revision)
	}
	document, err := unpackMetadata(&stored.Spec)
	if err != nil {
		return nil, &registry.Error{
			Code:    registry.Internal,
			Message: fmt.Sprintf("the stored metadata of revision %s of %s is damaged", revision, app),
			Err:     err,
			Fix:     fmt.Sprintf("delete AppMetadata %s in namespace %s; its provider writes it again when it starts", name, app.Namespace),
		}
	}
	h.mu.Lock()
	h.keeper.learnedDocument(app, revision, document)
	h.mu.Unlock()
	return document, nil
}

func noMetadata(app registry.App, revision string) error {
	return &registry.Error{
		Code:    registry.NotFound,
		Message: fmt.Sprintf("no metadata is stored for revision %s of %s", revision, app),
	}
}

// Revisions implements registry.MetadataStore.
func (h *Hub) Revisions(ctx context.Context, app registry.App) ([]registry.Revision, error) {
	if err := app.Validate(); err != nil {
		return nil, err
	}
	revisions := []registry.Revision{}
	opts := metav1.ListOptions{LabelSelector: labelApp + "=" + app.Name, Limit: pageSize}
	try := attempt{verb: "list", resource: metadatasResource, namespace: app.Namespace, role: roleControl}
	for {
		var page *metav1.PartialObjectMetadataList
		err := h.write(ctx, try, func(ctx context.Context) error {
			obj, err := h.client.list(ctx, metadatasResource, app.Namespace, opts)
			if err != nil {
				return err
			}
			var ok bool
			if page, ok = obj.(*metav1.PartialObjectMetadataList); !ok {
				return fmt.Errorf("unexpected answer %T", obj)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if revision := page.Items[i].Annotations[annotationRevision]; revision != "" {
				revisions = append(revisions, registry.Revision{Revision: revision, Stored: page.Items[i].CreationTimestamp.Time})
			}
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	slices.SortFunc(revisions, func(a, b registry.Revision) int { return strings.Compare(a.Revision, b.Revision) })
	return revisions, nil
}

// DeleteMetadata implements registry.MetadataStore.
func (h *Hub) DeleteMetadata(ctx context.Context, app registry.App, revision string) error {
	if err := validateMetadata(app, revision); err != nil {
		return err
	}
	h.records.dropDocument(app, revision)
	name := metadataName(app, revision)
	try := attempt{verb: "delete", resource: metadatasResource, namespace: app.Namespace, name: name, role: roleControl}
	err := h.write(ctx, try, func(ctx context.Context) error {
		return h.client.delete(ctx, metadatasResource, app.Namespace, name)
	})
	if registry.CodeOf(err) == registry.NotFound {
		return nil
	}
	return err
}

func validateMetadata(app registry.App, revision string) error {
	if err := app.Validate(); err != nil {
		return err
	}
	return registry.ValidateRevision(revision)
}

// packMetadata makes the stored form: text while it is small, gzip otherwise.
func packMetadata(app registry.App, revision string, document []byte) (metadataSpec, error) {
	sum := sha256.Sum256(document)
	spec := metadataSpec{App: app.Name, Revision: revision, Size: int64(len(document)), SHA256: hex.EncodeToString(sum[:])}
	tooLarge := func(size int, what string) error {
		return &registry.Error{
			Code:    registry.Invalid,
			Message: fmt.Sprintf("the metadata of revision %s of %s has %d bytes%s, and the registry holds %d", revision, app, size, what, maxStored),
			Fix:     "split the application, or offer fewer interfaces in one",
		}
	}
	if len(document) > maxDocument {
		return metadataSpec{}, tooLarge(len(document), "")
	}
	if len(document) <= gzipAbove && utf8.Valid(document) && !bytes.ContainsRune(document, 0) {
		spec.Document = string(document)
		return spec, nil
	}
	var packed bytes.Buffer
	// The bytes must not depend on when they were written: equal is no change.
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return metadataSpec{}, fmt.Errorf("registry: compress metadata: %w", err)
	}
	if _, err := w.Write(document); err != nil {
		return metadataSpec{}, fmt.Errorf("registry: compress metadata: %w", err)
	}
	if err := w.Close(); err != nil {
		return metadataSpec{}, fmt.Errorf("registry: compress metadata: %w", err)
	}
	// An object carries bytes in base64.
	if size := (packed.Len() + 2) / 3 * 4; size > maxStored {
		return metadataSpec{}, tooLarge(size, " when compressed")
	}
	spec.Gzip = packed.Bytes()
	return spec, nil
}

// unpackMetadata reads the stored form, whoever wrote it.
func unpackMetadata(spec *metadataSpec) ([]byte, error) {
	document := []byte(spec.Document)
	if len(spec.Gzip) > 0 {
		r, err := gzip.NewReader(bytes.NewReader(spec.Gzip))
		if err != nil {
			return nil, err
		}
		document, err = io.ReadAll(io.LimitReader(r, maxDocument+1))
		if err != nil {
			return nil, err
		}
		if len(document) > maxDocument {
			return nil, fmt.Errorf("it unpacks to more than %d bytes", maxDocument)
		}
	}
	if sum := sha256.Sum256(document); hex.EncodeToString(sum[:]) != spec.SHA256 {
		return nil, fmt.Errorf("it has SHA-256 %x, not %s", sum, quote(spec.SHA256))
	}
	return document, nil
}
