package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"

	"github.com/weirmesh/weir/registry"
)

const (
	acceptJSON    = "application/json"
	acceptObjects = "application/vnd.kubernetes.protobuf, application/json"
	// The server strips such objects to their metadata before it sends them.
	acceptMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, " +
		"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	acceptMetadataList = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, " +
		"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// resource is one kind of object as the API serves it.
type resource struct {
	name       string // plural, as in URLs and roles
	version    schema.GroupVersion
	accept     string
	acceptList string
	role       string // the ClusterRole that may read it
	// optional resources count as known and empty where the cluster does not
	// define them.
	optional bool
}

var (
	coreVersion = schema.GroupVersion{Version: "v1"}

	slicesResource = &resource{name: "endpointslices", version: discoveryv1.SchemeGroupVersion,
		accept: acceptObjects, acceptList: acceptObjects, role: roleConsumer}
	podsResource = &resource{name: "pods", version: coreVersion,
		accept: acceptMetadata, acceptList: acceptMetadataList, role: roleConsumer}
	servicesResource = &resource{name: "services", version: coreVersion,
		accept: acceptObjects, acceptList: acceptObjects, role: roleConsumer}
	policiesResource = &resource{name: resourcePolicies, version: groupVersion,
		accept: acceptJSON, acceptList: acceptJSON, role: roleConsumer, optional: true}
	mappingsResource = &resource{name: resourceMappings, version: groupVersion,
		accept: acceptJSON, acceptList: acceptJSON, role: roleConsumer}
	metadatasResource = &resource{name: resourceMetadatas, version: groupVersion,
		accept: acceptJSON, acceptList: acceptMetadataList, role: roleConsumer}

	// What a Caretaker looks after, whole, and what it writes.
	tendedPolicies  = &resource{name: resourcePolicies, version: groupVersion, accept: acceptJSON, acceptList: acceptJSON, role: roleControl}
	tendedMappings  = &resource{name: resourceMappings, version: groupVersion, accept: acceptJSON, acceptList: acceptJSON, role: roleControl}
	tendedMetadatas = &resource{name: resourceMetadatas, version: groupVersion, accept: acceptJSON, acceptList: acceptJSON, role: roleControl}
	eventsResource  = &resource{name: "events", version: coreVersion, accept: acceptObjects, acceptList: acceptObjects, role: roleControl}
)

// full is the resource's name as kubectl spells it.
func (r *resource) full() string {
	if r.version.Group == "" {
		return r.name
	}
	return r.name + "." + r.version.Group
}

// client speaks to one API server. One connection carries everything.
type client struct {
	rest   *rest.RESTClient
	params runtime.ParameterCodec
	host   string
	origin string
	dialer *connrotation.Dialer
	log    logr.Logger
}

func newClient(conn connection, cfg Config) (*client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, metav1.AddMetaToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registry: build scheme: %w", err)
		}
	}
	addToScheme(scheme)
	rc := conn.rest
	rc.QPS, rc.Burst, rc.RateLimiter = cfg.QPS, cfg.Burst, nil
	if rc.UserAgent == "" {
		rc.UserAgent = cfg.UserAgent
	}
	rc.WarningHandlerWithContext = warnings{cfg.Logger}
	// Connections of its own, so that Close can end them: those that client-go
	// shares would outlive the hub.
	dial := rc.Dial
	if dial == nil {
		// Within a cluster an answer takes milliseconds. Who drops packets does not
		// answer at all, and is to be named while somebody still waits.
		dial = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	dialer := connrotation.NewDialer(dial)
	rc.Dial = dialer.DialContext
	rc.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	rc.ContentType, rc.AcceptContentTypes = acceptJSON, ""
	rc.GroupVersion = &schema.GroupVersion{}
	rc.APIPath = "/unused" // every request names its whole path
	httpClient, err := rest.HTTPClientFor(rc)
	if err != nil {
		return nil, fmt.Errorf("registry: %s cannot be used: %w", conn.origin, err)
	}
	restClient, err := rest.RESTClientForConfigAndClient(rc, httpClient)
	if err != nil {
		return nil, fmt.Errorf("registry: %s cannot be used: %w", conn.origin, err)
	}
	return &client{
		rest: restClient, params: runtime.NewParameterCodec(scheme), host: rc.Host, origin: conn.origin,
		dialer: dialer, log: logr.FromSlogHandler(demoted{cfg.Logger.Handler()}),
	}, nil
}

// close ends all connections.
func (c *client) close() {
	utilnet.CloseIdleConnectionsFor(c.rest.Client.Transport)
	c.dialer.CloseAll()
}

// quiet gives client-go the hub's log. It would write to stderr otherwise, and
// of errors that it returns as well.
func (c *client) quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, c.log) }

// demoted takes everything for a detail.
type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

// path refuses names that would lead elsewhere: client-go joins the parts as those
// of a file, by which "../../other/configmaps/x" is an object of another namespace.
func path(r *resource, namespace, name string) ([]string, error) {
	for _, part := range []string{namespace, name} {
		if why := rest.IsValidPathSegmentName(part); len(why) > 0 {
			return nil, &registry.Error{
				Code: registry.Invalid, Message: fmt.Sprintf("%s leads to nothing among %s: it %s", quote(part), r.full(), why[0]),
			}
		}
	}
	p := []string{"apis", r.version.Group, r.version.Version}
	if r.version.Group == "" {
		p = []string{"api", r.version.Version}
	}
	if namespace != "" {
		p = append(p, "namespaces", namespace)
	}
	p = append(p, r.name)
	if name != "" {
		p = append(p, name)
	}
	return p, nil
}

// request leaves all retries to the callers, who know what is worth a wait.
func (c *client) request(verb string, r *resource, namespace, name string) (*rest.Request, error) {
	p, err := path(r, namespace, name)
	if err != nil {
		return nil, err
	}
	return c.rest.Verb(verb).AbsPath(p...).MaxRetries(0), nil
}

func (c *client) list(ctx context.Context, r *resource, namespace string, opts metav1.ListOptions) (runtime.Object, error) {
	req, err := c.request(http.MethodGet, r, namespace, "")
	if err != nil {
		return nil, err
	}
	return req.SetHeader("Accept", r.acceptList).
		SpecificallyVersionedParams(&opts, c.params, coreVersion).
		Do(c.quiet(ctx)).Get()
}

func (c *client) watch(ctx context.Context, r *resource, namespace string, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	req, err := c.request(http.MethodGet, r, namespace, "")
	if err != nil {
		return nil, err
	}
	return req.SetHeader("Accept", r.accept).
		SpecificallyVersionedParams(&opts, c.params, coreVersion).
		Watch(c.quiet(ctx))
}

func (c *client) get(ctx context.Context, r *resource, namespace, name string, into runtime.Object) error {
	req, err := c.request(http.MethodGet, r, namespace, name)
	if err != nil {
		return err
	}
	return req.SetHeader("Accept", r.accept).Do(c.quiet(ctx)).Into(into)
}

// getMetadata is get of what every object has.
func (c *client) getMetadata(ctx context.Context, r *resource, namespace, name string, into *metav1.PartialObjectMetadata) error {
	req, err := c.request(http.MethodGet, r, namespace, name)
	if err != nil {
		return err
	}
	return req.SetHeader("Accept", acceptMetadata).Do(c.quiet(ctx)).Into(into)
}

func (c *client) delete(ctx context.Context, r *resource, namespace, name string) error {
	req, err := c.request(http.MethodDelete, r, namespace, name)
	if err != nil {
		return err
	}
	return req.SetHeader("Accept", acceptJSON).Do(c.quiet(ctx)).Error()
}

// apply is a forced server-side apply: what is said wins, what the manager said
// before and no longer says goes, and nothing else is touched.
func (c *client) apply(ctx context.Context, r *resource, namespace, name, manager string, body []byte, into runtime.Object) error {
	req, err := c.request(http.MethodPatch, r, namespace, name)
	if err != nil {
		return err
	}
	force := true
	return req.SetHeader("Accept", r.accept).
		SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
		SpecificallyVersionedParams(&metav1.PatchOptions{FieldManager: manager, Force: &force}, c.params, coreVersion).
		Body(body).Do(c.quiet(ctx)).Into(into)
}

// applyStatus is apply to what is known of an object. It makes no object.
func (c *client) applyStatus(ctx context.Context, r *resource, namespace, name, manager string, body []byte) error {
	p, err := path(r, namespace, name)
	if err != nil {
		return err
	}
	force := true
	return c.rest.Verb(http.MethodPatch).AbsPath(append(p, "status")...).MaxRetries(0).
		SetHeader("Accept", acceptMetadata).
		SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
		SpecificallyVersionedParams(&metav1.PatchOptions{FieldManager: manager, Force: &force}, c.params, coreVersion).
		Body(body).Do(c.quiet(ctx)).Error()
}

// deleteExactly deletes one version of one object: a Conflict says that it is
// another by now.
func (c *client) deleteExactly(ctx context.Context, r *resource, namespace, name, uid, version string) error {
	req, err := c.request(http.MethodDelete, r, namespace, name)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{"uid": uid, "resourceVersion": version},
	})
	if err != nil {
		return fmt.Errorf("registry: encode deletion: %w", err)
	}
	return req.SetHeader("Accept", acceptJSON).SetHeader("Content-Type", acceptJSON).Body(body).Do(c.quiet(ctx)).Error()
}

func (c *client) create(ctx context.Context, r *resource, namespace string, body []byte) error {
	req, err := c.request(http.MethodPost, r, namespace, "")
	if err != nil {
		return err
	}
	return req.SetHeader("Accept", acceptMetadata).SetHeader("Content-Type", acceptJSON).Body(body).Do(c.quiet(ctx)).Error()
}

// warnings passes on what the API server has to say about its own future.
type warnings struct{ log *slog.Logger }

func (w warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _ string, text string) {
	if code == 299 && text != "" {
		w.log.DebugContext(ctx, "the API server warns", "text", text)
	}
}

// watchTimeout spreads the ends of watches, so that a fleet does not return in step.
func watchTimeout(jitter func() float64) *int64 {
	seconds := int64((5*time.Minute + time.Duration(jitter()*float64(5*time.Minute))).Seconds())
	return &seconds
}
