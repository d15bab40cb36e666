package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// fieldManager owns the fields of what this program applies.
const fieldManager = "weir"

// Client writes to one cluster and asks it the questions that a start needs.
type Client struct {
	target  *Target
	dynamic dynamic.Interface
	disco   discovery.CachedDiscoveryInterface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

// Connect returns a client. It asks the cluster nothing yet.
func Connect(t *Target) (*Client, error) {
	c := rest.CopyConfig(t.REST)
	c.QPS, c.Burst = 100, 200 // a start applies some dozens of objects at once
	c.UserAgent = "weir"
	httpClient, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w; name another kubeconfig with --kubeconfig", t.Origin, err)
	}
	dyn, err := dynamic.NewForConfigAndClient(c, httpClient)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w; name another kubeconfig with --kubeconfig", t.Origin, err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(c, httpClient)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w; name another kubeconfig with --kubeconfig", t.Origin, err)
	}
	cached := memory.NewMemCacheClient(disco)
	return &Client{target: t, dynamic: dyn, disco: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

// Target is the cluster that the client writes to.
func (c *Client) Target() *Target { return c.target }

// Version asks the API server for its version, such as "v1.35.4".
func (c *Client) Version(ctx context.Context) (string, error) {
	raw, err := c.disco.RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", c.explain("", err)
	}
	var v struct{ GitVersion string }
	if err := yaml.Unmarshal(raw, &v); err != nil || v.GitVersion == "" {
		return "", fmt.Errorf("what answers at %s is no Kubernetes API server: check the server in %s", c.target.Server(), c.target.Origin)
	}
	return v.GitVersion, nil
}

// Decode splits YAML documents into objects.
func Decode(source string, raw []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		var doc json.RawMessage
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", source, err)
		case len(doc) == 0 || string(doc) == "null": // only comments between two separators
			continue
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(doc); err != nil { // whole numbers stay whole
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" {
			return nil, fmt.Errorf("%s: an object lacks apiVersion, kind or name", source)
		}
		out = append(out, o)
	}
}

// Describe names an object for a sentence: "Deployment shop/orders".
func Describe(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// Apply writes the objects in their order by server-side apply: what they say
// wins, and what they do not mention stays. After custom resource definitions it
// waits until the cluster serves them. Applying the same again changes nothing.
func (c *Client) Apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	var definitions []*unstructured.Unstructured
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" && len(definitions) > 0 {
			if err := c.await(ctx, definitions); err != nil {
				return err
			}
			definitions = nil
		}
		if err := c.apply(ctx, o); err != nil {
			return err
		}
		if o.GetKind() == "CustomResourceDefinition" {
			definitions = append(definitions, o)
		}
	}
	return c.await(ctx, definitions)
}

func (c *Client) apply(ctx context.Context, o *unstructured.Unstructured) error {
	r, err := c.resource(o)
	if err != nil {
		return err
	}
	_, err = r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return c.explain("apply "+Describe(o), err)
	}
	return nil
}

// Get reads one object; found is false where there is none.
func (c *Client) Get(ctx context.Context, like *unstructured.Unstructured) (o *unstructured.Unstructured, found bool, err error) {
	r, err := c.resource(like)
	if err != nil {
		return nil, false, err
	}
	o, err = r.Get(ctx, like.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, false, nil
	case err != nil:
		return nil, false, c.explain("read "+Describe(like), err)
	}
	return o, true, nil
}

// Serves reports whether the cluster knows a resource. Anybody who may log in
// may ask this.
func (c *Client) Serves(ctx context.Context, r schema.GroupVersionResource) (bool, error) {
	raw, err := c.disco.RESTClient().Get().AbsPath("/apis", r.Group, r.Version).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, c.explain("", err)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(raw, &list); err != nil {
		return false, fmt.Errorf("what answers at %s is no Kubernetes API server: check the server in %s", c.target.Server(), c.target.Origin)
	}
	return slices.ContainsFunc(list.APIResources, func(have metav1.APIResource) bool { return have.Name == r.Resource }), nil
}

// Pod is what a start needs to know of a pod.
type Pod struct {
	Name    string
	Ready   bool
	Leaving bool // being deleted
	// Started is when the youngest of its containers started; zero if one does
	// not run.
	Started time.Time
	// Why says what keeps a container from running, in Kubernetes' words.
	Why string
}

// Pods returns the pods that a Deployment selects.
func (c *Client) Pods(ctx context.Context, deployment *unstructured.Unstructured) ([]Pod, error) {
	labels, _, err := unstructured.NestedStringMap(deployment.Object, "spec", "selector", "matchLabels")
	if err != nil {
		return nil, fmt.Errorf("%s has no selector that can be read: %w", Describe(deployment), err)
	}
	list, err := c.dynamic.Resource(podResource).Namespace(deployment.GetNamespace()).
		List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
	if err != nil {
		return nil, c.explain("list the pods of "+Describe(deployment), err)
	}
	pods := make([]Pod, 0, len(list.Items))
	for i := range list.Items {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &p); err != nil {
			return nil, fmt.Errorf("pod %s cannot be read: %w", list.Items[i].GetName(), err)
		}
		pods = append(pods, describePod(&p))
	}
	return pods, nil
}

func describePod(p *corev1.Pod) Pod {
	out := Pod{Name: p.Name, Leaving: p.DeletionTimestamp != nil}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			out.Why = c.Reason
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			out.Started = time.Time{}
			if c.State.Waiting.Reason != "ContainerCreating" && c.State.Waiting.Reason != "PodInitializing" {
				out.Why = c.State.Waiting.Reason
			}
			return out
		case c.State.Terminated != nil:
			out.Started = time.Time{}
			out.Why = fmt.Sprintf("%s, exit code %d", c.State.Terminated.Reason, c.State.Terminated.ExitCode)
			return out
		case c.State.Running != nil && c.State.Running.StartedAt.After(out.Started):
			out.Started = c.State.Running.StartedAt.Time
		}
	}
	return out
}

// ProxyJSON reads a JSON document that a pod serves, through the API server.
func (c *Client) ProxyJSON(ctx context.Context, namespace, pod string, port int64, path string, into any) error {
	raw, err := c.disco.RESTClient().Get().
		AbsPath("/api/v1/namespaces", namespace, "pods", fmt.Sprintf("%s:%d", pod, port), "proxy", path).
		Do(ctx).Raw()
	if err != nil {
		return c.explain("read /"+path+" of pod "+namespace+"/"+pod, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("/%s of pod %s/%s: %w", path, namespace, pod, err)
	}
	return nil
}

func (c *Client) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := o.GroupVersionKind()
	m, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("%s does not know %s, which %s is: a newer Kubernetes is needed, or a definition is missing", c.target, gvk.GroupVersion().WithKind(gvk.Kind), Describe(o))
	}
	if err != nil {
		return nil, c.explain("", err)
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return c.dynamic.Resource(m.Resource), nil
	}
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = c.target.Namespace
	}
	return c.dynamic.Resource(m.Resource).Namespace(namespace), nil
}

// await waits until the resources of custom resource definitions can be used.
// That they are established says no more than that their names are free: the
// API server answers with errors for some moments more.
func (c *Client) await(ctx context.Context, definitions []*unstructured.Unstructured) error {
	for _, d := range definitions {
		var last error
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			last = c.usable(ctx, d)
			return last == nil, nil
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s was applied, but its objects cannot be read: %w", Describe(d), last)
		}
		if err != nil {
			return context.Cause(ctx)
		}
	}
	if len(definitions) > 0 {
		c.mapper.Reset()
	}
	return nil
}

// usable reads at most one object of each served version of a definition.
func (c *Client) usable(ctx context.Context, definition *unstructured.Unstructured) error {
	resources, err := Defined(definition)
	if err != nil {
		return err
	}
	for _, r := range resources {
		if _, err := c.dynamic.Resource(r).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
	}
	return nil
}

// Defined returns the resources that a custom resource definition defines, one
// for each version.
func Defined(definition *unstructured.Unstructured) ([]schema.GroupVersionResource, error) {
	var d struct {
		Spec struct {
			Group    string `json:"group"`
			Versions []struct {
				Name string `json:"name"`
			} `json:"versions"`
			Names struct {
				Plural string `json:"plural"`
			} `json:"names"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(definition.Object, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", Describe(definition), err)
	}
	out := make([]schema.GroupVersionResource, 0, len(d.Spec.Versions))
	for _, v := range d.Spec.Versions {
		out = append(out, schema.GroupVersionResource{Group: d.Spec.Group, Version: v.Name, Resource: d.Spec.Names.Plural})
	}
	return out, nil
}

// explain turns what client-go returned into one sentence for the user.
func (c *Client) explain(what string, err error) error {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		hostname  x509.HostnameError
		link      *url.Error
		op        *net.OpError
	)
	prefix := ""
	if what != "" {
		prefix = "cannot " + what + ": "
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the credentials: renew them, or name another kubeconfig with --kubeconfig", c.target)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s%w", prefix, shorten(err))
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid):
		return fmt.Errorf("the certificate of %s is not the one that the kubeconfig expects: name the kubeconfig of this very cluster with --kubeconfig", c.target)
	case errors.As(err, &op):
		return fmt.Errorf("cannot reach the Kubernetes API server at %s: %w; start the cluster, or name another with --kubeconfig", c.target, op.Err)
	case errors.As(err, &link):
		return fmt.Errorf("cannot reach the Kubernetes API server at %s: %w; start the cluster, or name another with --kubeconfig", c.target, link.Err)
	}
	return fmt.Errorf("%s%w", prefix, err)
}

// shorten keeps the part of a refusal that tells who may not do what.
func shorten(err error) error {
	text := err.Error()
	if i := strings.Index(text, ": User "); i >= 0 {
		text = text[i+2:]
	} else if i := strings.Index(text, "is forbidden: "); i >= 0 {
		text = text[i+len("is forbidden: "):]
	}
	return errors.New(text)
}
