package kube

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// groupVersion is that of Weir's own objects; their schemas are in deploy/crds.
var groupVersion = schema.GroupVersion{Group: "registry.weirmesh.io", Version: "v1alpha1"}

const (
	kindMapping  = "InterfaceMapping"
	kindMetadata = "AppMetadata"

	resourceMappings  = "interfacemappings"
	resourceMetadatas = "appmetadatas"
	resourcePolicies  = "discoverypolicies"
)

// interfaceMapping says which applications of its namespace provide an interface.
type interfaceMapping struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              mappingSpec  `json:"spec"`
	Status            objectStatus `json:"status,omitzero"`
}

type mappingSpec struct {
	Interface string            `json:"interface"`
	Group     string            `json:"group,omitempty"`
	Version   string            `json:"version,omitempty"`
	Apps      map[string]string `json:"apps,omitempty"`
}

type interfaceMappingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []interfaceMapping `json:"items"`
}

// appMetadata holds what one revision of an application offers.
type appMetadata struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              metadataSpec   `json:"spec"`
	Status            metadataStatus `json:"status,omitzero"`
}

type metadataSpec struct {
	App      string `json:"app"`
	Revision string `json:"revision"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Document string `json:"document,omitempty"`
	Gzip     []byte `json:"gzip,omitempty"`
}

type appMetadataList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []appMetadata `json:"items"`
}

// discoveryPolicy says how consumers reach providers.
type discoveryPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              policySpec   `json:"spec"`
	Status            policyStatus `json:"status,omitzero"`
}

type policySpec struct {
	Consumer   string            `json:"consumer,omitempty"`
	Provider   *policyProvider   `json:"provider,omitempty"`
	Mode       string            `json:"mode,omitempty"`
	Registry   string            `json:"registry,omitempty"`
	Protection *policyProtection `json:"protection,omitempty"`
	Prefer     *policyPreference `json:"prefer,omitempty"`
}

type policyProvider struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

type policyProtection struct {
	Disabled    bool  `json:"disabled,omitempty"`
	Percent     int32 `json:"percent,omitempty"`
	HoldSeconds int32 `json:"holdSeconds,omitempty"`
}

type policyPreference struct {
	Clusters       []string `json:"clusters,omitempty"`
	ClusterPercent *int     `json:"clusterPercent,omitempty"`
	ReturnSeconds  int32    `json:"returnSeconds,omitempty"`
	ZonePercent    *int     `json:"zonePercent,omitempty"`
}

type discoveryPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []discoveryPolicy `json:"items"`
}

func addToScheme(s *runtime.Scheme) {
	s.AddKnownTypeWithName(groupVersion.WithKind(kindMapping), &interfaceMapping{})
	s.AddKnownTypeWithName(groupVersion.WithKind(kindMapping+"List"), &interfaceMappingList{})
	s.AddKnownTypeWithName(groupVersion.WithKind(kindMetadata), &appMetadata{})
	s.AddKnownTypeWithName(groupVersion.WithKind(kindMetadata+"List"), &appMetadataList{})
	s.AddKnownTypeWithName(groupVersion.WithKind("DiscoveryPolicy"), &discoveryPolicy{})
	s.AddKnownTypeWithName(groupVersion.WithKind("DiscoveryPolicyList"), &discoveryPolicyList{})
	metav1.AddToGroupVersion(s, groupVersion)
}

// The copies below are deep: runtime.Object asks for it.

func (o *interfaceMapping) DeepCopyObject() runtime.Object {
	c := *o
	c.ObjectMeta = *o.ObjectMeta.DeepCopy()
	c.Spec.Apps = maps.Clone(o.Spec.Apps)
	c.Status.Conditions = slices.Clone(o.Status.Conditions)
	return &c
}

func (o *interfaceMappingList) DeepCopyObject() runtime.Object {
	c := *o
	c.ListMeta = *o.ListMeta.DeepCopy()
	c.Items = copyAll[interfaceMapping, *interfaceMapping](o.Items)
	return &c
}

func (o *appMetadata) DeepCopyObject() runtime.Object {
	c := *o
	c.ObjectMeta = *o.ObjectMeta.DeepCopy()
	c.Spec.Gzip = slices.Clone(o.Spec.Gzip)
	c.Status.UnusedSince = o.Status.UnusedSince.DeepCopy()
	return &c
}

func (o *appMetadataList) DeepCopyObject() runtime.Object {
	c := *o
	c.ListMeta = *o.ListMeta.DeepCopy()
	c.Items = copyAll[appMetadata, *appMetadata](o.Items)
	return &c
}

func (o *discoveryPolicy) DeepCopyObject() runtime.Object {
	c := *o
	c.ObjectMeta = *o.ObjectMeta.DeepCopy()
	if o.Spec.Provider != nil {
		p := *o.Spec.Provider
		c.Spec.Provider = &p
	}
	if o.Spec.Protection != nil {
		p := *o.Spec.Protection
		c.Spec.Protection = &p
	}
	c.Status.Overridden = maps.Clone(o.Status.Overridden)
	c.Status.Conditions = slices.Clone(o.Status.Conditions)
	if o.Spec.Prefer != nil {
		p := *o.Spec.Prefer
		p.Clusters = slices.Clone(p.Clusters)
		p.ClusterPercent, p.ZonePercent = copyInt(p.ClusterPercent), copyInt(p.ZonePercent)
		c.Spec.Prefer = &p
	}
	return &c
}

func (o *discoveryPolicyList) DeepCopyObject() runtime.Object {
	c := *o
	c.ListMeta = *o.ListMeta.DeepCopy()
	c.Items = copyAll[discoveryPolicy, *discoveryPolicy](o.Items)
	return &c
}

func copyInt(n *int) *int {
	if n == nil {
		return nil
	}
	c := *n
	return &c
}

func copyAll[T any, O interface {
	*T
	runtime.Object
}](in []T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i := range in {
		if c, ok := O(&in[i]).DeepCopyObject().(O); ok {
			out[i] = *c
		}
	}
	return out
}
