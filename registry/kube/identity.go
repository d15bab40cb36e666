package kube

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// accountDir is where Kubernetes mounts the credentials of a pod.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Identity says which pod this process runs in. Outside Kubernetes it is zero.
type Identity struct {
	// Pod, Namespace and UID are those of the pod.
	Pod       string
	Namespace string
	UID       string
	// IP is the pod's address, if known.
	IP netip.Addr
	// Zone is published with the instance, for pods whose Node bears no zone.
	Zone string
	// ServiceAccount is the account that the pod runs under, if known.
	ServiceAccount string
}

// InPod reports whether the identity names a pod.
func (i Identity) InPod() bool { return i.Pod != "" && i.Namespace != "" }

// DetectIdentity finds out which pod this process runs in: from the variables
// POD_NAME, POD_NAMESPACE, POD_UID, POD_IP and WEIR_ZONE, as the downward API
// sets them; then from the service account token that Kubernetes mounts, which
// names the pod it was issued to; then, in a pod without either, from the
// mounted namespace file and the host name (wrong under hostNetwork). A process
// outside Kubernetes gets an Identity for which InPod is false.
func DetectIdentity() Identity { return detectIdentity(os.Getenv, accountDir) }

func detectIdentity(getenv func(string) string, dir string) Identity {
	id := Identity{
		Pod:       getenv("POD_NAME"),
		Namespace: getenv("POD_NAMESPACE"),
		UID:       getenv("POD_UID"),
		Zone:      getenv("WEIR_ZONE"),
	}
	if ip, err := netip.ParseAddr(getenv("POD_IP")); err == nil {
		id.IP = ip
	}
	namespace, err := os.ReadFile(filepath.Join(dir, "namespace"))
	if err != nil {
		return id
	}
	// A pod that sets POD_NAME to something else means another pod than the
	// token's; then the token's UID must not be mixed in.
	claims := readClaims(filepath.Join(dir, "token"))
	if id.Pod == "" || id.Pod == claims.Pod.Name {
		id.Pod = cmp.Or(id.Pod, claims.Pod.Name)
		id.UID = cmp.Or(id.UID, claims.Pod.UID)
	}
	id.Namespace = cmp.Or(id.Namespace, claims.Namespace, string(bytes.TrimSpace(namespace)))
	id.ServiceAccount = claims.ServiceAccount.Name
	id.Pod = cmp.Or(id.Pod, getenv("HOSTNAME"))
	return id
}

// tokenClaims is what a bound service account token says of its bearer.
type tokenClaims struct {
	Namespace string `json:"namespace"`
	Pod       struct {
		Name string `json:"name"`
		UID  string `json:"uid"`
	} `json:"pod"`
	ServiceAccount struct {
		Name string `json:"name"`
	} `json:"serviceaccount"`
}

// readClaims reads the token without verifying it: it is the process's own, and
// all it decides is what the process calls itself.
func readClaims(file string) tokenClaims {
	var payload struct {
		Kubernetes tokenClaims `json:"kubernetes.io"`
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return tokenClaims{}
	}
	parts := strings.Split(string(bytes.TrimSpace(token)), ".")
	if len(parts) != 3 {
		return tokenClaims{}
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &payload) != nil {
		return tokenClaims{}
	}
	return payload.Kubernetes
}
