package sdk

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirmesh/weir/governance"
)

// Addresses of Weir in its own cluster, which hold in pods that name no others.
const (
	DefaultControlURL = "http://control.weir-system.svc:9000"
	DefaultTracingURL = "http://tracing.weir-system.svc:9411"
)

// Off as ControlURL or TracingURL does without.
const Off = "off"

// Where pods have their tokens: Weir's projected one, for its audience, before
// the one that every pod has.
const (
	weirToken     = "/var/run/secrets/weirmesh.io/token"
	podToken      = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	podNamespace  = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	inKubernetes  = "KUBERNETES_SERVICE_HOST"
	maxTokenBytes = 64 << 10
)

// Config says who a service is and where Weir is. In a pod whose WEIR_APP is set
// the zero Config works; a field that is set beats its variable.
type Config struct {
	// App is the application, as "name" or "namespace/name" (WEIR_APP). Required.
	App string
	// Namespace is the application's, where App does not say (POD_NAMESPACE, else
	// the pod's own, else "default").
	Namespace string
	// Instance is this process's id (POD_UID, else the pod's UID out of its token,
	// else a generated one), Name its name for people (POD_NAME, else the host's).
	Instance string
	Name     string
	// ControlURL and TracingURL are Weir's addresses (WEIR_CONTROL_URL,
	// WEIR_TRACING_URL). In Kubernetes they default to Weir's Services, elsewhere
	// to Off.
	ControlURL string
	TracingURL string
	// TokenFile holds the token by which the control plane knows this instance
	// (WEIR_TOKEN_FILE, else the pod's). It is read anew whenever it is needed.
	TokenFile string
	// StateDir is where the last known policies are kept for the next start
	// (WEIR_STATE_DIR, else weir in the user's cache directory); Off keeps none.
	StateDir string
	// Logger takes what the kit has to say; nil for nothing.
	Logger *slog.Logger
	// SampleRate is the share of new traces that are kept: above 0, up to 1. Zero
	// keeps all, less than zero none.
	SampleRate float64
	// Calls are applications that this service is known to call.
	Calls []governance.App
	// Settings hold for every circuit that neither a policy nor its own settings
	// say otherwise of; MaxCircuits bounds their number. See breaker.Config.
	Settings    governance.Rules
	MaxCircuits int
	// HTTPClient reaches the control plane and the collector; nil for one of the
	// kit's own, which uses no proxy. Its Transport must not be one that traces or
	// guards calls, and its Timeout does not hold for the stream.
	HTTPClient *http.Client
	// Getenv reads the environment; nil for os.Getenv.
	Getenv func(string) string
}

// resolved is a Config with everything filled in.
type resolved struct {
	app            governance.App
	instance, name string
	ip             netip.Addr
	controlURL     string
	tracingURL     string
	tokenFile      string
	tokenRequired  bool // the file was named, so it has to be there
	stateDir       string
	log            *slog.Logger
}

func (c Config) resolve() (resolved, error) {
	env := c.Getenv
	if env == nil {
		env = os.Getenv
	}
	r := resolved{log: c.Logger}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	pod := env(inKubernetes) != ""

	r.tokenFile = cmp.Or(c.TokenFile, env("WEIR_TOKEN_FILE"))
	r.tokenRequired = r.tokenFile != ""
	var claims podClaims
	if pod && !r.tokenRequired {
		r.tokenFile = weirToken
		if _, err := os.Stat(weirToken); err != nil {
			r.tokenFile = podToken
		}
	}
	if pod {
		if token, err := r.token(); err == nil {
			claims = readClaims(token)
		}
	}

	name := strings.TrimSpace(cmp.Or(c.App, env("WEIR_APP")))
	if name == "" {
		return r, errors.New("sdk: which application is this? set Config.App, or the variable WEIR_APP, to its name")
	}
	if !strings.Contains(name, "/") {
		ns := cmp.Or(c.Namespace, env("POD_NAMESPACE"), claims.Namespace)
		if ns == "" && pod {
			if text, err := os.ReadFile(podNamespace); err == nil {
				ns = strings.TrimSpace(string(text))
			}
		}
		name = cmp.Or(ns, "default") + "/" + name
	}
	app, err := governance.ParseApp(name)
	if err != nil {
		return r, fmt.Errorf("sdk: App: %w", err)
	}
	if c.Namespace != "" && c.Namespace != app.Namespace {
		return r, fmt.Errorf("sdk: App is %s, and Namespace %s: they contradict each other", app, c.Namespace)
	}
	r.app = app

	host, _ := os.Hostname() // only for people; empty will do
	r.name = cmp.Or(c.Name, env("POD_NAME"), claims.Pod.Name, host)
	r.instance = cmp.Or(c.Instance, env("POD_UID"), claims.Pod.UID)
	if r.instance == "" {
		r.instance = rand.Text()
	}
	if ip, err := netip.ParseAddr(env("POD_IP")); err == nil {
		r.ip = ip
	}

	r.controlURL = address(pod, DefaultControlURL, c.ControlURL, env("WEIR_CONTROL_URL"))
	r.tracingURL = address(pod, DefaultTracingURL, c.TracingURL, env("WEIR_TRACING_URL"))
	r.stateDir = cmp.Or(c.StateDir, env("WEIR_STATE_DIR"))
	switch r.stateDir {
	case Off:
		r.stateDir = ""
	case "":
		if dir, err := os.UserCacheDir(); err == nil {
			r.stateDir = filepath.Join(dir, "weir")
		}
	}
	return r, nil
}

func address(pod bool, inCluster, field, variable string) string {
	switch s := cmp.Or(field, variable); {
	case s == Off:
		return ""
	case s == "" && pod:
		return inCluster
	default:
		return s
	}
}

// token reads the token of this instance; pods' are rotated, so it is not kept.
func (r *resolved) token() (string, error) {
	if r.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(r.tokenFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !r.tokenRequired:
		return "", nil // a pod without a token; the control plane says what it makes of that
	case err != nil:
		return "", err
	case len(text) > maxTokenBytes:
		return "", fmt.Errorf("%s is no token: it is larger than %d bytes", r.tokenFile, maxTokenBytes)
	}
	return strings.TrimSpace(string(text)), nil
}

// podClaims are what a pod's own token says of it. They are not verified here:
// the control plane asks the API server.
type podClaims struct {
	Namespace string `json:"namespace"`
	Pod       struct {
		Name string `json:"name"`
		UID  string `json:"uid"`
	} `json:"pod"`
}

// readClaims returns what it can read, so that pods need no downward API.
func readClaims(token string) podClaims {
	var out struct {
		Claims podClaims `json:"kubernetes.io"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return podClaims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &out) != nil {
		return podClaims{}
	}
	return out.Claims
}
