package memory

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

type mappingKey struct {
	namespace string
	iface     registry.Interface
}

type documentKey struct {
	app      registry.App
	revision string
}

type document struct {
	content []byte
	stored  time.Time
}

// MapInterface implements registry.Mapping.
func (c *Client) MapInterface(ctx context.Context, iface registry.Interface, name registry.App) error {
	return c.mapInterface(iface, name, func(apps map[string]struct{}) { apps[name.Name] = struct{}{} })
}

// UnmapInterface implements registry.Mapping.
func (c *Client) UnmapInterface(ctx context.Context, iface registry.Interface, name registry.App) error {
	return c.mapInterface(iface, name, func(apps map[string]struct{}) { delete(apps, name.Name) })
}

func (c *Client) mapInterface(iface registry.Interface, name registry.App, f func(map[string]struct{})) error {
	if err := iface.Validate(); err != nil {
		return err
	}
	if err := name.Validate(); err != nil {
		return err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return err
	}
	key := mappingKey{namespace: name.Namespace, iface: iface}
	if c.world.mappings[key] == nil {
		c.world.mappings[key] = map[string]struct{}{}
	}
	f(c.world.mappings[key])
	for client := range c.world.clients {
		client.refreshInterface(iface)
	}
	return nil
}

// InterfaceApps implements registry.Mapping.
func (c *Client) InterfaceApps(ctx context.Context, iface registry.Interface) ([]registry.App, error) {
	if err := iface.Validate(); err != nil {
		return nil, err
	}
	c.world.mu.Lock()
	if err := c.readable(); err != nil {
		c.world.mu.Unlock()
		return nil, err
	}
	topic := c.interfaceTopic(iface)
	c.world.mu.Unlock()
	apps, err := topic.Wait(ctx)
	if err != nil {
		return nil, unknown("interface "+iface.String(), err)
	}
	return slices.Clone(apps), nil
}

// SubscribeInterface implements registry.Mapping.
func (c *Client) SubscribeInterface(iface registry.Interface, notify func([]registry.App)) (func(), error) {
	if err := iface.Validate(); err != nil {
		return nil, err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if c.closed {
		return nil, errClosed()
	}
	return c.interfaceTopic(iface).Subscribe(func(apps []registry.App) { notify(slices.Clone(apps)) }), nil
}

// interfaceTopic returns the feed of an interface. world.mu is held.
func (c *Client) interfaceTopic(iface registry.Interface) *feed.Topic[[]registry.App] {
	t := c.interfaces[iface]
	if t == nil {
		t = feed.NewTopic(slices.Equal[[]registry.App])
		if c.closed {
			t.Close()
			return t
		}
		c.interfaces[iface] = t
		c.refreshInterface(iface)
	}
	return t
}

// refreshInterface takes over who provides an interface. world.mu is held.
func (c *Client) refreshInterface(iface registry.Interface) {
	t := c.interfaces[iface]
	if t == nil || c.cut || c.refused != nil {
		return
	}
	apps := []registry.App{}
	for key, names := range c.world.mappings {
		if key.iface == iface && c.covers(key.namespace) {
			for name := range names {
				apps = append(apps, registry.App{Namespace: key.namespace, Name: name})
			}
		}
	}
	slices.SortFunc(apps, registry.App.Compare)
	t.Set(apps)
}

// PutMetadata implements registry.MetadataStore.
func (c *Client) PutMetadata(ctx context.Context, name registry.App, revision string, content []byte) error {
	key, err := newDocumentKey(name, revision)
	if err != nil {
		return err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return err
	}
	if old, ok := c.world.documents[key]; !ok || !bytes.Equal(old.content, content) {
		c.world.documents[key] = document{content: bytes.Clone(content), stored: c.world.now()}
	}
	return nil
}

// Metadata implements registry.MetadataStore.
func (c *Client) Metadata(ctx context.Context, name registry.App, revision string) ([]byte, error) {
	key, err := newDocumentKey(name, revision)
	if err != nil {
		return nil, err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return nil, err
	}
	d, ok := c.world.documents[key]
	if !ok {
		return nil, &registry.Error{
			Code:    registry.NotFound,
			Message: fmt.Sprintf("no metadata is stored for revision %s of %s", revision, name),
		}
	}
	return bytes.Clone(d.content), nil
}

// Revisions implements registry.MetadataStore.
func (c *Client) Revisions(ctx context.Context, name registry.App) ([]registry.Revision, error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return nil, err
	}
	var revisions []registry.Revision
	for key := range maps.Keys(c.world.documents) {
		if key.app == name {
			revisions = append(revisions, registry.Revision{Revision: key.revision, Stored: c.world.documents[key].stored})
		}
	}
	slices.SortFunc(revisions, func(a, b registry.Revision) int { return strings.Compare(a.Revision, b.Revision) })
	return revisions, nil
}

// DeleteMetadata implements registry.MetadataStore.
func (c *Client) DeleteMetadata(ctx context.Context, name registry.App, revision string) error {
	key, err := newDocumentKey(name, revision)
	if err != nil {
		return err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return err
	}
	delete(c.world.documents, key)
	return nil
}

func newDocumentKey(name registry.App, revision string) (documentKey, error) {
	if err := name.Validate(); err != nil {
		return documentKey{}, err
	}
	if err := registry.ValidateRevision(revision); err != nil {
		return documentKey{}, err
	}
	return documentKey{app: name, revision: revision}, nil
}
