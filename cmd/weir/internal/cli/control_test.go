package cli_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testkube"
)

var (
	servingLine  = regexp.MustCompile(`msg=serving role=(\w+) address=(\S+)`)
	passwordLine = regexp.MustCompile(`password=(\S+)`)
	consoleLine  = regexp.MustCompile(`console +ready +(http://[0-9.:]+) +\(user admin, password (\S+), shown this once\)`)
)

// web is a browser that keeps no connection open.
var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}

// database is a PostgreSQL of the test's own.
func database(t *testing.T) *pg.Server {
	t.Helper()
	server, err := pg.StartServer(t.Context(), pg.ServerConfig{Dir: dataDir(t), NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(context.Background()) })
	return server
}

// serving waits until a role says where it serves.
func (w *weir) serving(t *testing.T) string {
	t.Helper()
	w.complains(t, "msg=serving")
	found := servingLine.FindStringSubmatch(w.errs.String())
	if found == nil {
		t.Fatalf("no address in\n%s", w.errs)
	}
	return "http://" + found[2]
}

// loginToken logs in with the password that a control plane told, and makes a
// token.
func loginToken(t *testing.T, w *weir) string {
	t.Helper()
	server := w.serving(t)
	password := passwordLine.FindStringSubmatch(w.errs.String())
	if password == nil {
		t.Fatalf("no password was told:\n%s", w.errs)
	}

	// The password opens a session, whose cookie makes a token for the command line.
	body, err := json.Marshal(map[string]string{"user": "admin", "password": password[1]})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.Post(server+"/api/v1/login", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
		t.Fatalf("login: %s", resp.Status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/api/v1/tokens", strings.NewReader(`{"name":"cli","role":"admin"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(resp.Cookies()[0])
	req.Header.Set("Weir-Reason", "test")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if resp, err = web.Do(req); err != nil {
		t.Fatal(err)
	}
	var made struct{ Secret string }
	err = json.NewDecoder(resp.Body).Decode(&made)
	resp.Body.Close()
	if err != nil || made.Secret == "" {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return made.Secret
}

// read asks a control plane, and returns the status and the answer.
func read(t *testing.T, url, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(raw)))
}

// write makes a file for one test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// judged makes a policy, and waits until a control plane says what becomes of it.
func judged(t *testing.T, kube *testkube.Cluster, namespace string) {
	t.Helper()
	client, err := dynamic.NewForConfig(kube.REST())
	if err != nil {
		t.Fatal(err)
	}
	policies := client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}).Namespace(namespace)
	_, err = policies.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": "judged"},
		"spec": map[string]any{"provider": map[string]any{"name": "nobody"}, "mode": "pod"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	testkube.Eventually(t, "the status of the policy", func() error {
		p, err := policies.Get(testkube.Context(t), "judged", metav1.GetOptions{})
		if err == nil && !strings.Contains(fmt.Sprint(p.Object["status"]), "no Service bears the name nobody") {
			err = fmt.Errorf("it is %v", p.Object["status"])
		}
		return err
	})
}

// A control plane keeps Weir's objects in order, and its role is enough for it.
func TestControlKeepsObjectsInOrder(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.ServiceAccount(t, "control", "weir-control")
	as := ns.As(t, "control", nil)
	config := write(t, "kubeconfig", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority": %q, "certificate-authority-data": %q}}],
"users": [{"name": "u", "user": {"token": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`,
		as.Host, as.CAFile, base64.StdEncoding.EncodeToString(as.CAData), as.BearerToken))
	db := database(t)
	args := []string{"control", "--database-url", db.URL(), "--control-listen", "127.0.0.1:0", "--admin-listen", "", "--kubeconfig", config, "--namespaces", ns.Name}
	w := start(t, nil, args...)
	w.serving(t)
	judged(t, kube, ns.Name)
	w.cancel()
	w.wait(t)
	if strings.Contains(w.errs.String(), "part=upkeep") {
		t.Errorf("with its role it lacks nothing, but:\n%s", w.errs)
	}
}

// What a control plane may not do, weir system says, with the namespace.
func TestSystemSaysWhereObjectsAreNotKeptInOrder(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.ServiceAccount(t, "control", "weir-consumer")
	config := ns.Kubeconfig(t, ns.As(t, "control", nil))
	db := database(t)
	w := start(t, nil, "control", "--database-url", db.URL(), "--control-listen", "127.0.0.1:0", "--admin-listen", "", "--kubeconfig", config, "--namespaces", ns.Name)
	server := w.serving(t)
	env := map[string]string{"WEIR_SERVER": server, "WEIR_TOKEN": loginToken(t, w)}
	want := "cannot keep Weir's objects in order in " + ns.Name + ", since it cannot see what there is of appmetadatas.registry.weirmesh.io: "
	testkube.Eventually(t, "weir system to say it", func() error {
		if code, out, errs := do(t, env, "system"); code != 0 || !strings.Contains(out, want) || !strings.Contains(out, "bind ClusterRole weir-control") {
			return fmt.Errorf("code %d:\n%s%s\nwant: %s", code, out, errs, want)
		}
		return nil
	})
}

func TestControlAlone(t *testing.T) {
	db := database(t)
	args := []string{"control", "--database-url", db.URL(), "--control-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
	w := start(t, nil, args...)
	server := w.serving(t)
	env := map[string]string{"WEIR_SERVER": server, "WEIR_TOKEN": loginToken(t, w)}
	code, out, errs := do(t, env, "token", "create", "ci", "--role", "operator", "--namespaces", "shop", "--reason", "für die Kette")
	if code != 0 || !strings.HasPrefix(out, "weir_") || !strings.Contains(errs, "shown this once") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	operator := strings.TrimSpace(out)
	// It shows traces without a collector beside it: there are none yet.
	if got := read(t, server+"/api/v1/traces", env["WEIR_TOKEN"]); got != `200 {"items":[]}` {
		t.Errorf("traces: %s", got)
	}
	// And it says how everything is, of which there is little once it has begun.
	testkube.Eventually(t, "nothing needs attention", func() error {
		got := read(t, server+"/api/v1/overview", env["WEIR_TOKEN"])
		if !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"attention":[],"changes":[],"totals":{"apps":0,"registered":0,"instances":0,"rate":0,`) {
			return errors.New(got)
		}
		return nil
	})
	if got := read(t, server+"/api/v1/route-status", env["WEIR_TOKEN"]); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"items":[],"gateways":0}`) {
		t.Errorf("how routes are: %s", got)
	}
	if code, out, errs := do(t, env, "token", "list"); code != 0 || !strings.Contains(out, "ci     operator   shop         token:cli") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "audit", "--object", "token ci"); code != 0 || !strings.Contains(out, "für die Kette") || !strings.Contains(out, "ok") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "audit", "--limit", "1", "-o", "json"); code != 0 || !strings.Contains(out, `"action": "create-token"`) || strings.Contains(out, operator) {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	code, out, errs = do(t, env, "account", "reset-password", "admin", "--reason", "lost")
	if code != 0 || len(strings.TrimSpace(out)) != 23 {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	code, out, errs = do(t, env, "account", "create", "mei", "--role", "operator", "--namespaces", "shop", "--reason", "joined")
	if code != 0 || len(strings.TrimSpace(out)) != 23 || !strings.Contains(errs, "shown this once") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "account", "set", "mei", "--all-namespaces", "--disable", "--reason", "on leave"); code != 0 || !strings.Contains(out, "mei    operator   all          disabled") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "account", "set", "mei", "--role", "viewer", "--enable", "--reason", "back"); code != 0 || !strings.Contains(out, "mei    viewer   all          enabled") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "account", "list"); code != 0 || !strings.Contains(out, "admin") || !strings.Contains(out, "mei ") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "account", "delete", "mei", "--reason", "left"); code != 0 || out != "deleted account mei\n" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := do(t, env, "token", "revoke", "ci", "--reason", "gone"); code != 0 || out != "revoked token ci\n" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	// What goes wrong is one sentence, with an exit code that tells whose fault it is.
	for want, c := range map[string]struct {
		code int
		env  map[string]string
		args []string
	}{
		"admin is the last account that may manage people":             {1, env, []string{"account", "set", "admin", "--disable", "--reason", "test"}},
		"a write needs a reason: say why with --reason":                {2, env, []string{"token", "revoke", "x"}},
		"--server ftp://x is no address":                               {2, env, []string{"token", "list", "--server", "ftp://x"}},
		"there is no token x; `weir token list` shows those there are": {1, env, []string{"token", "revoke", "x", "--reason", "test"}},
		"name: a token's name is 1 to":                                 {1, env, []string{"token", "create", "Not A Name", "--reason", "test"}},
		"it was revoked, has expired":                                  {1, map[string]string{"WEIR_SERVER": server, "WEIR_TOKEN": operator}, []string{"token", "list"}},
		"there is no token in":                                         {3, map[string]string{"WEIR_SERVER": server}, []string{"token", "list", "--data-dir", t.TempDir()}},
		"nothing listens there":                                        {3, map[string]string{"WEIR_TOKEN": "weir_x", "WEIR_SERVER": "http://127.0.0.1:1"}, []string{"audit"}},
		"its name is not known":                                        {3, map[string]string{"WEIR_TOKEN": "weir_x", "WEIR_SERVER": "http://nowhere.invalid:1"}, []string{"audit"}},
		"--since -1h0m0s is no range":                                  {2, env, []string{"audit", "--since=-1h"}},
		"--timeout 0s leaves no time":                                  {2, env, []string{"audit", "--timeout", "0s"}},
		"is it the control plane of W":                                 {1, map[string]string{"WEIR_TOKEN": "weir_x", "WEIR_SERVER": plain(t)}, []string{"audit"}},
	} {
		code, out, errs := do(t, c.env, c.args...)
		if code != c.code || out != "" || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("weir %s: %d %s%s; want %d and %q", strings.Join(c.args, " "), code, out, errs, c.code, want)
		}
	}

	w.cancel()
	w.wait(t)
	if w.code != 0 {
		t.Errorf("ended with %d: %s", w.code, w.errs)
	}
	w = start(t, nil, args...)
	env["WEIR_SERVER"] = w.serving(t)
	if passwordLine.MatchString(w.errs.String()) {
		t.Errorf("a password is told again:\n%s", w.errs)
	}
	if code, _, errs := do(t, env, "token", "list"); code != 0 {
		t.Errorf("after a restart: %d %s", code, errs)
	}
}

// plain is a server of something else.
func plain(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}

func TestRolesSayWhatTheyLack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	notPEM := filepath.Join(t.TempDir(), "routes.json")
	if err := os.WriteFile(notPEM, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := database(t)
	for want, c := range map[string]struct {
		code int
		args []string
	}{
		"no database is named":                            {2, []string{"control"}},
		"--control-listen \"9000\" is no host:port":       {2, []string{"control", "--database-url", "postgres://x", "--control-listen", "9000"}},
		"choose another address with --control-listen":    {3, []string{"control", "--database-url", db.URL(), "--control-listen", taken, "--admin-listen", ""}},
		"choose another address with --admin-listen":      {3, []string{"control", "--database-url", db.URL(), "--control-listen", "127.0.0.1:0", "--admin-listen", taken}},
		"choose another address with --gateway-listen":    {3, []string{"gateway", "--database-url", db.URL(), "--gateway-listen", taken, "--admin-listen", "", "--data-dir", t.TempDir()}},
		"--trusted-peers \"10.0.0.1\" is no network":      {2, []string{"gateway", "--database-url", db.URL(), "--trusted-peers", "10.0.0.1"}},
		"routes.json holds no certificate in PEM":         {3, []string{"gateway", "--database-url", db.URL(), "--upstream-ca-file", notPEM, "--admin-listen", "", "--gateway-listen", "127.0.0.1:0", "--data-dir", t.TempDir()}},
		"names a file that does not exist":                {3, []string{"gateway", "--database-url", db.URL(), "--kubeconfig", filepath.Join(t.TempDir(), "none"), "--admin-listen", ""}},
		"cannot understand the database URL":              {3, []string{"gateway", "--database-url", "postgres://a b", "--admin-listen", "", "--gateway-listen", "127.0.0.1:0", "--data-dir", t.TempDir()}},
		"--drain-delay 1m0s does not fit into --stop-tim": {2, []string{"control", "--database-url", db.URL(), "--drain-delay", "1m"}},
	} {
		code, out, errs := do(t, nil, c.args...)
		if code != c.code || out != "" || !strings.Contains(errs, want) {
			t.Errorf("weir %s: %d %s%s; want %d and %q", strings.Join(c.args, " "), code, out, errs, c.code, want)
		}
	}
}

func TestUpServesTheControlPlane(t *testing.T) {
	dir := dataDir(t)
	w := start(t, nil, upArgs(dir, "--node=false")...)
	w.says(t, "Try:  ")
	found := consoleLine.FindStringSubmatch(w.out.String())
	if found == nil {
		t.Fatalf("no console in\n%s", w.out)
	}
	info, err := os.Stat(filepath.Join(dir, "access", "cli.token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	// Whoever may read the data directory needs no login.
	if code, out, errs := do(t, nil, "token", "list", "--server", found[1], "--data-dir", dir); code != 0 || !strings.Contains(out, "gateway   instances   weir-system") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// The cluster is known by now, and so are all roles.
	testkube.Eventually(t, "the system view shows all roles", func() error {
		code, out, errs := do(t, nil, "system", "--server", found[1], "--data-dir", dir)
		for _, want := range []string{"control   up ", "gateway   up ", "tracing   up ", " application"} {
			if code != 0 || !strings.Contains(out, want) {
				return fmt.Errorf("%d, %q is missing in\n%s%s", code, want, out, errs)
			}
		}
		return nil
	})
	w.cancel()
	w.wait(t)
	// The data outlive it, and so does the token.
	w = start(t, nil, upArgs(dir, "--node=false")...)
	w.says(t, "Try:  ")
	again := regexp.MustCompile(`console +ready +(http://[0-9.:]+) +\(user admin\)`).FindStringSubmatch(w.out.String())
	if again == nil {
		t.Fatalf("the password is told twice:\n%s", w.out)
	}
	if code, _, errs := do(t, nil, "audit", "--server", again[1], "--data-dir", dir); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	// A taken port is said by its flag.
	code, _, errs := do(t, nil, upArgs(dataDir(t), "--node=false", "--control-listen", strings.TrimPrefix(again[1], "http://"))...)
	if code != 3 || !strings.Contains(errs, "choose another address with --control-listen") {
		t.Errorf("%d %s", code, errs)
	}
}
