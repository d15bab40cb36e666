package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// unused makes AppMetadata of an application that nobody has run for so long.
func (o objects) unused(app string, count int, age time.Duration) {
	o.t.Helper()
	hub := openHub(o.t, kube.Config{REST: testkube.Start(o.t).REST(), Namespaces: []string{o.ns}, Lazy: true})
	for i := range count {
		if err := hub.PutMetadata(testkube.Context(o.t), registry.App{Namespace: o.ns, Name: app}, fmt.Sprintf("r%d", i), []byte("{}")); err != nil {
			o.t.Fatal(err)
		}
	}
	status := fmt.Appendf(nil, `{"status":{"instances":0,"unusedSince":%q}}`, time.Now().Add(-age).UTC().Format(time.RFC3339))
	for _, item := range o.stored(app) {
		if _, err := o.of("appmetadatas").Patch(testkube.Context(o.t), item.GetName(), types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
			o.t.Fatal(err)
		}
	}
}

// stored lists the AppMetadata of an application.
func (o objects) stored(app string) []unstructured.Unstructured {
	o.t.Helper()
	list, err := o.of("appmetadatas").List(testkube.Context(o.t), metav1.ListOptions{LabelSelector: "weirmesh.io/app=" + app})
	if err != nil {
		o.t.Fatal(err)
	}
	return list.Items
}

// left waits until so many are left of an application.
func (o objects) left(app string, want int) {
	o.t.Helper()
	testkube.Eventually(o.t, "AppMetadata of "+app, func() error {
		if n := len(o.stored(app)); n != want {
			return fmt.Errorf("%d are left, want %d", n, want)
		}
		return nil
	})
}

// guard has the API server refuse to delete the AppMetadata of application stuck in a
// namespace, by an admission policy or by a webhook that nobody serves.
func guard(t *testing.T, n *testkube.Namespace, webhook bool) (remove func()) {
	t.Helper()
	ctx := testkube.Context(t)
	all := n.Cluster.Client.AdmissionregistrationV1()
	here := &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": n.Name}}
	stuck := &metav1.LabelSelector{MatchLabels: map[string]string{"weirmesh.io/app": "stuck"}}
	rule := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Delete},
		Rule:       admissionv1.Rule{APIGroups: []string{"registry.weirmesh.io"}, APIVersions: []string{"*"}, Resources: []string{"appmetadatas"}},
	}
	named := metav1.ObjectMeta{Name: n.Name + ".example.org"}
	fail, none, url, seconds := admissionv1.Fail, admissionv1.SideEffectClassNone, "https://127.0.0.1:1/", int32(1)
	var err error
	if webhook {
		_, err = all.ValidatingWebhookConfigurations().Create(ctx, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: named, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: named.Name, ClientConfig: admissionv1.WebhookClientConfig{URL: &url}, Rules: []admissionv1.RuleWithOperations{rule}, FailurePolicy: &fail,
			NamespaceSelector: here, ObjectSelector: stuck, SideEffects: &none, TimeoutSeconds: &seconds, AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
	} else {
		_, err = all.ValidatingAdmissionPolicies().Create(ctx, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: named, Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail, Validations: []admissionv1.Validation{{Expression: "false", Message: "kept for the audit"}},
			MatchConstraints: &admissionv1.MatchResources{NamespaceSelector: here, ObjectSelector: stuck, ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: rule}}},
		}}, metav1.CreateOptions{})
		if err == nil {
			_, err = all.ValidatingAdmissionPolicyBindings().Create(ctx, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: named, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: named.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			}}, metav1.CreateOptions{})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	remove = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = all.ValidatingWebhookConfigurations().Delete(ctx, named.Name, metav1.DeleteOptions{})
		_ = all.ValidatingAdmissionPolicyBindings().Delete(ctx, named.Name, metav1.DeleteOptions{})
		_ = all.ValidatingAdmissionPolicies().Delete(ctx, named.Name, metav1.DeleteOptions{})
	}
	t.Cleanup(remove)
	o := objectsOf(t, n)
	testkube.Eventually(t, "the guard to count", func() error {
		err := o.of("appmetadatas").Delete(testkube.Context(t), o.stored("stuck")[0].GetName(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("it may be deleted")
		}
		return nil
	})
	return remove
}

// More objects than a round deletes cannot be deleted: those behind them go all the
// same, it is told of each why it stays, and it goes once it can.
func TestWhatCannotBeDeletedDoesNotHoldUpTheRest(t *testing.T) {
	t.Parallel()
	const finalizer = "example.org/keep"
	for name, one := range map[string]struct {
		hold func(*testing.T, *testkube.Namespace, objects) (release func())
		says string
	}{
		"a policy":  {func(t *testing.T, n *testkube.Namespace, _ objects) func() { return guard(t, n, false) }, "kept for the audit"},
		"a webhook": {func(t *testing.T, n *testkube.Namespace, _ objects) func() { return guard(t, n, true) }, "failed calling webhook"},
		"finalizers": {func(t *testing.T, _ *testkube.Namespace, o objects) func() {
			set := func(list string) {
				for _, item := range o.stored("stuck") {
					if _, err := o.of("appmetadatas").Patch(testkube.Context(t), item.GetName(), types.MergePatchType, []byte(`{"metadata":{"finalizers":`+list+`}}`), metav1.PatchOptions{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			set(`["` + finalizer + `"]`)
			return func() { set("[]") }
		}, finalizer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := testkube.Start(t).Namespace(t)
			o := objectsOf(t, n)
			const stuck = 12
			o.unused("stuck", stuck, 48*time.Hour)
			o.unused("free", 1, 47*time.Hour)
			release := one.hold(t, n, o)
			var log safeBuffer
			var now lookingClock
			now.advance(2 * time.Minute) // what was deleted a minute ago and is there is told of
			caretaker, _ := tendAll(t, []string{n.Name}, controller(t, n), kube.CaretakerConfig{Now: now.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			o.left("free", 0)
			testkube.Eventually(t, "each to say why it stays", func() error {
				for _, item := range o.stored("stuck") {
					if held, _, _ := unstructured.NestedString(item.Object, "status", "held"); !strings.Contains(held, one.says) {
						return fmt.Errorf("%s says %q", item.GetName(), held)
					}
				}
				return nil
			})
			hub := openHub(t, stranger(n, n.Cluster.REST()))
			all, err := hub.StoredRevisions(testkube.Context(t), n.Name)
			if err != nil || len(all) != stuck || !strings.Contains(all[0].Held, one.says) {
				t.Errorf("listed: %+v, %v", all, err)
			}
			problems := caretaker.Problems()
			if len(problems) != 1 || problems[0].Task != "delete the AppMetadata of revisions that nobody runs" || !strings.Contains(problems[0].Reason, one.says) {
				t.Errorf("problems: %+v", problems)
			}
			now.look(t, 10)
			release()
			o.left("stuck", 0)
			testkube.Eventually(t, "no problem", func() error {
				if p := caretaker.Problems(); len(p) > 0 {
					return fmt.Errorf("%+v", p)
				}
				return nil
			})
			if n := strings.Count(log.String(), "cannot do part of the upkeep"); n != 1 {
				t.Errorf("it is told %d times:\n%s", n, log.String())
			}
			if n := strings.Count(log.String(), "deleted the metadata of a revision"); n != stuck+1 {
				t.Errorf("%d deletions are told, want %d", n, stuck+1)
			}
		})
	}
}

// Where nothing may be deleted in one namespace, another is collected all the same.
func TestANamespaceThatMayNotBeCollectedDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	c := testkube.Start(t)
	home, closed := c.Namespace(t), c.Namespace(t)
	as := controller(t, home)
	closed.BindFrom(t, home, "control", "ClusterRole", "weir-consumer")
	closed.Role(t, "watch-metadata", watchMetadata)
	closed.BindFrom(t, home, "control", "Role", "watch-metadata")
	objectsOf(t, closed).unused("stuck", 12, 48*time.Hour)
	var looks lookingClock
	caretaker, _ := tendAll(t, []string{closed.Name, home.Name}, as, kube.CaretakerConfig{Now: looks.now})
	testkube.Eventually(t, "the problem", func() error {
		if p := caretaker.Problems(); len(p) != 1 || len(p[0].Namespaces) != 1 || p[0].Namespaces[0] != closed.Name {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	objectsOf(t, home).unused("free", 1, 47*time.Hour)
	objectsOf(t, home).left("free", 0)
	looks.look(t, 10)
	closed.BindFrom(t, home, "control", "ClusterRole", "weir-control")
	objectsOf(t, closed).left("stuck", 0)
}

// The control plane deletes the metadata while an instance that has found it there is
// about to write: the instance makes it anew, whole, and it stays.
func TestAnInstanceThatComesTooLateMakesItsMetadataAnew(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	o.unused("inventory", 1, 48*time.Hour)
	before := o.metadata().GetUID()
	var looks lookingClock
	var once atomic.Bool
	cfg := stranger(n, through(t, n.Cluster.REST(), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && once.CompareAndSwap(false, true) {
			tend(t, n, controller(t, n), kube.CaretakerConfig{Now: looks.now})
			o.left("inventory", 0)
		}
		return false
	}))
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	hub := openHub(t, cfg)
	if err := hub.PutMetadata(testkube.Context(t), app, "r0", []byte("{}")); err != nil || !once.Load() {
		t.Fatalf("%v; it was written: %v", err, once.Load())
	}
	looks.look(t, 10)
	m := o.metadata()
	if m == nil || m.GetUID() == before {
		t.Fatalf("it is %v, and was %s", m, before)
	}
	if got, err := hub.Metadata(testkube.Context(t), app, "r0"); err != nil || string(got) != "{}" {
		t.Errorf("its document is %q, %v", got, err)
	}
}

// A deletion that arrives late, when another control plane has deleted the object and
// an instance has made it anew, is of the old one: the new one stays.
func TestALateDeletionSparesWhatTookTheName(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	o.unused("inventory", 1, 48*time.Hour)
	old := o.metadata()
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	var looks lookingClock
	var tried atomic.Int64
	var failed atomic.Value
	as := through(t, controller(t, n), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete && tried.Add(1) == 1 {
			ctx := context.Background()
			err := o.of("appmetadatas").Delete(ctx, old.GetName(), metav1.DeleteOptions{})
			if err = errors.Join(err, hub.PutMetadata(ctx, registry.App{Namespace: n.Name, Name: "inventory"}, "r0", []byte("{}"))); err != nil {
				failed.Store(err)
			}
		}
		return false
	})
	tend(t, n, as, kube.CaretakerConfig{Now: looks.now})
	testkube.Eventually(t, "the deletion to be tried", func() error {
		if tried.Load() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	looks.look(t, 10)
	if err, _ := failed.Load().(error); err != nil {
		t.Fatal(err)
	}
	if m := o.metadata(); m == nil || m.GetUID() == old.GetUID() {
		t.Errorf("it is %v", m)
	}
}
