package dubbo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/metadata"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"

	"github.com/weirmesh/weir/registry"
)

const (
	// storeTimeout bounds one read from the MetadataStore.
	storeTimeout = 5 * time.Second
	// maxAsked bounds how many instances of a revision are asked in one attempt.
	maxAsked = 3
)

// fetchDocument returns the document of a revision: from the store, which works
// while instances start and die, else from one of the instances. The error names
// both failures.
func (b *Binding) fetchDocument(ctx context.Context, app registry.App, revision string, instances []registry.Instance) (*document, error) {
	doc, storeErr := b.storedDocument(ctx, app, revision)
	b.metrics.documents.WithLabelValues("store", result(storeErr)).Inc()
	if storeErr == nil {
		return doc, nil
	}
	var errs []error
	for i := range instances {
		if i == maxAsked || ctx.Err() != nil {
			break
		}
		doc, err := askInstance(ctx, app, revision, &instances[i])
		b.metrics.documents.WithLabelValues("instance", result(err)).Inc()
		if err == nil {
			return doc, nil
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", instances[i].Name, err))
	}
	if len(errs) == 0 {
		return nil, storeErr
	}
	return nil, errors.Join(append([]error{storeErr}, errs...)...)
}

func (b *Binding) storedDocument(ctx context.Context, app registry.App, revision string) (*document, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	encoded, err := b.backend.Metadata.Metadata(ctx, app, revision)
	if err != nil {
		return nil, err
	}
	return decodeDocument(encoded)
}

// askInstance calls the instance's MetadataService. dubbo-go offers no way to
// cancel the call, which ends by its own timeout (5 s) at the latest.
func askInstance(ctx context.Context, app registry.App, revision string, i *registry.Instance) (*document, error) {
	if i.Metadata[constant.MetadataServiceURLParamsPropertyName] == "" {
		return nil, errors.New("the instance names no metadata service")
	}
	type answer struct {
		doc *document
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		m, err := callMetadataService(app, revision, i)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		doc, err := newDocument(m)
		answers <- answer{doc: doc, err: err}
	}()
	select {
	case a := <-answers:
		return a.doc, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func callMetadataService(app registry.App, revision string, i *registry.Instance) (m *info.MetadataInfo, err error) {
	// dubbo-go panics for a protocol that is not linked in.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("call the metadata service: %v", r)
		}
	}()
	m, err = metadata.GetMetadataFromRpc(revision, newServiceInstance(app.Name, i))
	if err == nil && m == nil {
		err = fmt.Errorf("the instance knows no revision %s", short(revision))
	}
	return m, err
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}
