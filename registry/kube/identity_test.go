package kube

import (
	"encoding/base64"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestDetectIdentity(t *testing.T) {
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(
		`{"kubernetes.io":{"namespace":"shop","pod":{"name":"inventory-7d9","uid":"uid-7"},"serviceaccount":{"name":"inventory"}}}`)) + ".sig"
	for name, c := range map[string]struct {
		env   map[string]string
		files map[string]string
		want  Identity
	}{
		"outside Kubernetes": {
			env: map[string]string{"HOSTNAME": "laptop"},
		},
		"the downward API says all": {
			env: map[string]string{"POD_NAME": "a", "POD_NAMESPACE": "ns", "POD_UID": "u", "POD_IP": "10.0.0.7", "WEIR_ZONE": "z", "HOSTNAME": "node-1"},
			want: Identity{
				Pod: "a", Namespace: "ns", UID: "u", IP: netip.MustParseAddr("10.0.0.7"), Zone: "z",
			},
		},
		"the token says who": {
			env:   map[string]string{"HOSTNAME": "node-1"},
			files: map[string]string{"namespace": "shop", "token": token},
			want:  Identity{Pod: "inventory-7d9", Namespace: "shop", UID: "uid-7", ServiceAccount: "inventory"},
		},
		"the token is of another pod": {
			env:   map[string]string{"POD_NAME": "other"},
			files: map[string]string{"namespace": "shop", "token": token},
			want:  Identity{Pod: "other", Namespace: "shop", ServiceAccount: "inventory"},
		},
		"an old token": {
			env:   map[string]string{"HOSTNAME": "inventory-7d9"},
			files: map[string]string{"namespace": "shop\n", "token": "opaque"},
			want:  Identity{Pod: "inventory-7d9", Namespace: "shop"},
		},
		"a bad address": {
			env: map[string]string{"POD_IP": "here"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range c.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := detectIdentity(func(key string) string { return c.env[key] }, dir); got != c.want {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
