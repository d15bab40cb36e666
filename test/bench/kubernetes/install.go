//go:build linux

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/deploy"
)

const consumerAccount = "bench-consumer"

// install creates Weir's definitions and roles where they are not there yet, and
// remembers what it created.
func (c *Cluster) install(ctx context.Context) error {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	objects, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return err
	}
	for _, m := range deploy.Manifests() {
		if strings.HasPrefix(m.File, "admission/") {
			continue // it holds providers to what is theirs; there are none here
		}
		var o unstructured.Unstructured
		if err := yaml.Unmarshal(m.YAML, &o.Object); err != nil {
			return fmt.Errorf("read %s: %w", m.File, err)
		}
		mapping, err := mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
		if err != nil {
			return fmt.Errorf("install %s: %w", m.File, err)
		}
		if mapping.Scope.Name() != meta.RESTScopeNameRoot {
			return fmt.Errorf("install %s: %s lives in a namespace, which is not known here", m.File, o.GetKind())
		}
		client := objects.Resource(mapping.Resource)
		_, err = client.Create(ctx, &o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("install %s: %w", m.File, err)
		}
		name := o.GetName()
		c.created = append(c.created, func(ctx context.Context) error {
			return ignoreNotFound(client.Delete(ctx, name, metav1.DeleteOptions{}))
		})
		if o.GetKind() == "CustomResourceDefinition" {
			if err := until(ctx, "definition "+name, func() (bool, error) {
				made, err := client.Get(ctx, name, metav1.GetOptions{})
				return err == nil && established(made), err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, err := unstructured.NestedSlice(definition.Object, "status", "conditions")
	if err != nil {
		return false
	}
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// WriteConsumer writes a kubeconfig for a ServiceAccount that has Weir's role for
// consumers in both namespaces and no other right.
func (c *Cluster) WriteConsumer(ctx context.Context, path string) error {
	for _, namespace := range []string{Namespace, Empty} {
		_, err := c.client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: consumerAccount},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "weir-consumer"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Namespace, Name: consumerAccount}},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("bind the consumer's role in %s: %w", namespace, err)
		}
	}
	accounts := c.client.CoreV1().ServiceAccounts(Namespace)
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: consumerAccount}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the consumer's account: %w", err)
	}
	seconds := int64((2 * time.Hour).Seconds())
	token, err := accounts.CreateToken(ctx, consumerAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("get the consumer's token: %w", err)
	}
	out := clientcmdapi.NewConfig()
	out.Clusters["bench"] = &clientcmdapi.Cluster{
		Server: c.config.Host, TLSServerName: c.config.ServerName, InsecureSkipTLSVerify: c.config.Insecure,
		CertificateAuthority: c.config.CAFile, CertificateAuthorityData: c.config.CAData,
	}
	out.AuthInfos["consumer"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	out.Contexts["consumer"] = &clientcmdapi.Context{Cluster: "bench", AuthInfo: "consumer", Namespace: Namespace}
	out.CurrentContext = "consumer"
	return clientcmd.WriteToFile(*out, path)
}

// uninstall removes what install created.
func (c *Cluster) uninstall(ctx context.Context) error {
	var errs []error
	for _, remove := range c.created {
		errs = append(errs, remove(ctx))
	}
	return errors.Join(errs...)
}
