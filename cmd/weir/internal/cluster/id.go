package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// idPatience bounds the question which cluster it is.
const idPatience = 10 * time.Second

// ID returns what tells the cluster from all others: the UID of its namespace
// kube-system, which lives as long as it does.
func (t *Target) ID(ctx context.Context) (string, error) {
	client, err := kubernetes.NewForConfig(t.REST)
	if err != nil {
		return "", fmt.Errorf("use %s: %w", t, err)
	}
	ctx, cancel := context.WithTimeout(ctx, idPatience)
	defer cancel()
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		return "", errors.New("this process may not read the namespace kube-system: bind ClusterRole weir-control to its ServiceAccount")
	}
	if err != nil {
		return "", fmt.Errorf("read the namespace kube-system of %s: %w", t, err)
	}
	return string(ns.UID), nil
}
