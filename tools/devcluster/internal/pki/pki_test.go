package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var plan = Plan{
	Server: "https://10.231.7.2:6443", Name: "test", NodeName: "node1", NodeIP: "10.231.7.2",
	APIServerSANs: []string{"kubernetes.default.svc", "10.231.7.2"},
}

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var leaves = []string{"apiserver", "kubelet-client", "front-proxy", "admin", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"}

var everything = append([]string{"ca", "front-proxy-ca", "sa.key"}, leaves...)

func ensure(t *testing.T, dir string, p Plan, now time.Time) []string {
	t.Helper()
	renewed, err := Ensure(dir, p, now)
	if err != nil {
		t.Fatal(err)
	}
	return renewed
}

func TestRenewal(t *testing.T) {
	moved := plan
	moved.APIServerSANs = []string{"kubernetes.default.svc", "10.231.8.2"}
	renamed := plan
	renamed.NodeName = "node2"
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		plan   Plan
		after  time.Duration
		want   []string
	}{
		{name: "nothing", plan: plan},
		{name: "almost due", plan: plan, after: leafLife - renewBefore - time.Minute},
		{name: "due", plan: plan, after: leafLife - renewBefore + time.Minute, want: leaves},
		{name: "authorities due", plan: plan, after: authorityLife - renewBefore + time.Minute, want: append([]string{"ca", "front-proxy-ca"}, leaves...)},
		{name: "clock set back", plan: plan, after: -24 * time.Hour, want: append([]string{"ca", "front-proxy-ca"}, leaves...)},
		{name: "other addresses", plan: moved, want: []string{"apiserver"}},
		{name: "other node", plan: renamed, want: []string{"kubelet"}},
		{name: "missing key", plan: plan, change: remove("admin.key"), want: []string{"admin"}},
		{name: "missing certificate", plan: plan, change: remove("coredns.crt"), want: []string{"coredns"}},
		{name: "broken certificate", plan: plan, change: write("kube-proxy.crt", "no"), want: []string{"kube-proxy"}},
		{name: "key of another", plan: plan, change: func(t *testing.T, dir string) {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(dir, "admin.key"))
			if err != nil {
				t.Fatal(err)
			}
			write("apiserver.key", string(b))(t, dir)
		}, want: []string{"apiserver"}},
		{name: "missing authority", plan: plan, change: remove("front-proxy-ca.key"), want: []string{"front-proxy-ca", "front-proxy"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if got := ensure(t, dir, plan, begin); !slices.Equal(got, everything) {
				t.Fatalf("first: renewed %v, want %v", got, everything)
			}
			sa, err := os.ReadFile(filepath.Join(dir, "sa.key"))
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(t, dir)
			}
			if got := ensure(t, dir, tt.plan, begin.Add(tt.after)); !slices.Equal(got, tt.want) {
				t.Errorf("renewed %v, want %v", got, tt.want)
			}
			if got := ensure(t, dir, tt.plan, begin.Add(tt.after)); len(got) > 0 {
				t.Errorf("renewed %v again", got)
			}
			verify(t, dir, tt.plan, begin.Add(tt.after))
			if now, _ := os.ReadFile(filepath.Join(dir, "sa.key")); !bytes.Equal(now, sa) {
				t.Error("the service accounts' key was replaced: their tokens would be void")
			}
		})
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, contents string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABrokenServiceAccountKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, plan, begin)
	write("sa.key", "no")(t, dir)
	if _, err := Ensure(dir, plan, begin); err == nil {
		t.Error("got no error")
	}
}

func verify(t *testing.T, dir string, p Plan, now time.Time) {
	t.Helper()
	for _, l := range p.leaves() {
		authority := "ca"
		if l.authority != "" {
			authority = l.authority
		}
		a, err := load(dir, authority)
		if err != nil {
			t.Fatal(err)
		}
		c, err := load(dir, l.name)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		usage := x509.ExtKeyUsageClientAuth
		if len(l.sans) > 0 {
			usage = x509.ExtKeyUsageServerAuth
		}
		if _, err := c.cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
		for _, san := range l.sans {
			if err := c.cert.VerifyHostname(san); err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
		}
		st, err := os.Stat(filepath.Join(dir, l.name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s.key has mode %v", l.name, st.Mode())
		}
	}
}

func TestUser(t *testing.T) {
	dir := t.TempDir()
	if _, err := User(dir, plan, "ann", nil, time.Hour, begin); err == nil {
		t.Error("without an authority: got no error")
	}
	ensure(t, dir, plan, begin)
	b, err := User(dir, plan, "ann", []string{"dev", "ops"}, time.Hour, begin)
	if err != nil {
		t.Fatal(err)
	}
	var k kubeconfig
	if err := json.Unmarshal(b, &k); err != nil {
		t.Fatal(err)
	}
	if k.CurrentContext != "test" || k.Clusters[0].Cluster.Server != plan.Server || k.Contexts[0].Context.User != k.Users[0].Name {
		t.Errorf("unexpected kubeconfig %s", b)
	}
	write("ann.crt", string(k.Users[0].User.Cert))(t, dir)
	write("ann.key", string(k.Users[0].User.Key))(t, dir)
	c, err := load(dir, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if c.cert.Subject.CommonName != "ann" || !slices.Equal(sorted(c.cert.Subject.Organization), []string{"dev", "ops"}) {
		t.Errorf("subject %v", c.cert.Subject)
	}
	if !c.cert.NotAfter.Equal(begin.Add(time.Hour)) {
		t.Errorf("valid until %v", c.cert.NotAfter)
	}
	a, err := load(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cert.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
}
