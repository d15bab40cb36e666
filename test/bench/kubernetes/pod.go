//go:build linux

package kubernetes

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/test/bench/plan"
)

// metadataAnnotation is where Dubbo's Kubernetes registries, Java's and Weir's,
// keep what an instance says of itself.
const metadataAnnotation = "io.dubbo/metadata"

// PodName names an instance's pod the way a ReplicaSet would.
func PodName(p plan.Plan, instance int) string {
	return fmt.Sprintf("%s-7d9c5b8f6d-%05d", plan.AppName(p.App(instance)), instance)
}

// pod is as large as pods are that a Deployment of a Java or Go service makes:
// what the registry keeps of it must not depend on how little there was.
func pod(p plan.Plan, instance int, metadata string, now metav1.Time) *corev1.Pod {
	app := plan.AppName(p.App(instance))
	probe := func(path string, period int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}},
			PeriodSeconds: period, FailureThreshold: 3, TimeoutSeconds: 1,
		}
	}
	var env []corev1.EnvVar
	for _, name := range []string{"POD_IP", "POD_NAME", "POD_NAMESPACE"} {
		env = append(env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: map[string]string{
			"POD_IP": "status.podIP", "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace",
		}[name]}}})
	}
	for k := range 12 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%02d", k), Value: fmt.Sprintf("https://settings.example.com/%s/%02d", app, k)})
	}
	resources := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("512Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: PodName(p, instance),
			Labels: map[string]string{
				"app": app, "pod-template-hash": "7d9c5b8f6d",
				"app.kubernetes.io/name": app, "app.kubernetes.io/version": "1.42.0", "app.kubernetes.io/part-of": "bench",
			},
			Annotations: map[string]string{
				metadataAnnotation:      metadata,
				kube.AnnotationInstance: fmt.Sprintf(`{"v":1,"app":%q,"weight":100,"state":"up","startTime":%q}`, app, now.UTC().Format(time.RFC3339)),
				"prometheus.io/scrape":  "true", "prometheus.io/port": "8080",
				"kubectl.kubernetes.io/restartedAt": "2026-11-20T08:00:00Z",
			},
		},
		Spec: corev1.PodSpec{
			NodeName:                     nodeName(instance % nodes),
			AutomountServiceAccountToken: new(false),
			Containers: []corev1.Container{{
				Name: "app", Image: "registry.example.com/bench/" + app + ":1.42.0", ImagePullPolicy: corev1.PullIfNotPresent,
				Env: env,
				Ports: []corev1.ContainerPort{
					{Name: plan.Protocol, ContainerPort: plan.Port}, {Name: "http", ContainerPort: 8080},
				},
				Resources:     corev1.ResourceRequirements{Requests: resources, Limits: resources},
				LivenessProbe: probe("/livez", 10), ReadinessProbe: probe("/readyz", 2), StartupProbe: probe("/livez", 1),
				VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/app"}, {Name: "tmp", MountPath: "/tmp"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: app}}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// status is what a kubelet writes of a pod that runs and is ready.
func status(instance int, now metav1.Time) corev1.PodStatus {
	condition := func(t corev1.PodConditionType) corev1.PodCondition {
		return corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now}
	}
	ip := plan.Host(instance)
	return corev1.PodStatus{
		Phase:  corev1.PodRunning,
		PodIP:  ip,
		PodIPs: []corev1.PodIP{{IP: ip}},
		HostIP: fmt.Sprintf("192.0.2.%d", instance%nodes+1),
		Conditions: []corev1.PodCondition{
			condition(corev1.PodReadyToStartContainers), condition(corev1.PodInitialized),
			condition(corev1.PodReady), condition(corev1.ContainersReady), condition(corev1.PodScheduled),
		},
		StartTime: &now,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", Ready: true, Started: new(true),
			Image:       "registry.example.com/bench/app:1.42.0",
			ImageID:     "registry.example.com/bench/app@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1",
			ContainerID: fmt.Sprintf("containerd://%064x", instance),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		}},
		QOSClass: corev1.PodQOSGuaranteed,
	}
}
