package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// static builds a program of a few lines, as a user would.
func static(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "bin")
	c := exec.Command("go", "build", "-o", out, filepath.Join(dir, "main.go"))
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

// untar returns the files of an archive, and its directories by their name
// with a slash.
func untar(t *testing.T, r io.Reader) (map[string][]byte, map[string]*tar.Header) {
	t.Helper()
	files, headers := map[string][]byte{}, map[string]*tar.Header{}
	for a := tar.NewReader(r); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(a); err != nil {
			t.Fatal(err)
		}
		headers[h.Name] = h
	}
}

func TestArchive(t *testing.T) {
	binary := static(t)
	config := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(config, []byte("x: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := Build{Binary: binary, Files: map[string]string{"/etc/app/c.yaml": config}, Entrypoint: []string{"/bin/app", "--config", "/etc/app/c.yaml"}}
	var first bytes.Buffer
	for i := range 2 {
		a, err := New("shop.example/orders:v1", build)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if n, err := a.WriteTo(&out); err != nil || n != int64(out.Len()) {
			t.Fatalf("wrote %d of %d, %v", n, out.Len(), err)
		}
		if i == 0 {
			first = out
		} else if !bytes.Equal(first.Bytes(), out.Bytes()) {
			t.Error("equal contents give unequal archives")
		}
	}
	files, _ := untar(t, &first)
	blob := func(d descriptor) []byte {
		b := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(b)); got != d.Digest || len(b) != d.Size {
			t.Fatalf("blob %s of %d bytes is %s of %d", d.Digest, d.Size, got, len(b))
		}
		return b
	}
	var i index
	var m manifest
	var c imageConfig
	if err := json.Unmarshal(files["index.json"], &i); err != nil {
		t.Fatal(err)
	}
	if name := i.Manifests[0].Annotations["io.containerd.image.name"]; name != "shop.example/orders:v1" {
		t.Errorf("named %q", name)
	}
	if err := json.Unmarshal(blob(i.Manifests[0]), &m); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blob(m.Config), &c); err != nil {
		t.Fatal(err)
	}
	if c.Config.User != "65532:65532" || strings.Join(c.Config.Entrypoint, " ") != "/bin/app --config /etc/app/c.yaml" {
		t.Errorf("unexpected config %+v", c.Config)
	}
	if c.RootFS.DiffIDs[0] != m.Layers[0].Digest {
		t.Errorf("the layer is %s, the config says %s", m.Layers[0].Digest, c.RootFS.DiffIDs[0])
	}
	inside, headers := untar(t, bytes.NewReader(blob(m.Layers[0])))
	want, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(inside["bin/app"], want) || headers["bin/app"].Mode != 0o755 {
		t.Error("the binary is not there as it was")
	}
	if string(inside["etc/app/c.yaml"]) != "x: 1" || headers["etc/app/c.yaml"].Mode != 0o644 {
		t.Errorf("the file is %q, mode %o", inside["etc/app/c.yaml"], headers["etc/app/c.yaml"].Mode)
	}
	if !strings.Contains(string(inside["etc/passwd"]), "nonroot:x:65532:65532:") {
		t.Errorf("passwd is %q", inside["etc/passwd"])
	}
	if h := headers["tmp/"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("/tmp is %+v", h)
	}
	for name := range headers {
		dir := filepath.Dir(strings.TrimSuffix(name, "/"))
		if dir != "." && headers[dir+"/"] == nil {
			t.Errorf("%s has no parent directory", name)
		}
	}
}

func TestContentsMakeTheDigest(t *testing.T) {
	binary := static(t)
	digest := func(b Build) string {
		a, err := New("a:v1", b)
		if err != nil {
			t.Fatal(err)
		}
		return a.Digest
	}
	plain := digest(Build{Binary: binary})
	if plain == digest(Build{Binary: binary, Entrypoint: []string{"/app", "-x"}}) {
		t.Error("another entrypoint is the same image")
	}
	if plain == digest(Build{Binary: binary, Files: map[string]string{"/f": binary}}) {
		t.Error("another file is the same image")
	}
}

func TestWhatCannotRunIsRefused(t *testing.T) {
	text := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Every Debian links its shell dynamically.
	for _, tt := range []struct {
		name  string
		build Build
		want  string
	}{
		{"a:v1", Build{Binary: "/bin/sh"}, "CGO_ENABLED=0"},
		{"a:v1", Build{Binary: text}, "not a Linux executable"},
		{"a:v1", Build{Binary: text + "x"}, "no such file"},
		{"a b", Build{Binary: text}, "not an image name"},
		{"a:v1", Build{Binary: static(t), Entrypoint: []string{"app"}}, "absolute"},
		{"a:v1", Build{Binary: static(t), Files: map[string]string{"f": text}}, "absolute"},
	} {
		if _, err := New(tt.name, tt.build); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q in it", tt.build, err, tt.want)
		}
	}
}

func TestFullName(t *testing.T) {
	for in, want := range map[string]string{
		"app":                        "docker.io/library/app:latest",
		"app:v1":                     "docker.io/library/app:v1",
		"me/app:v1":                  "docker.io/me/app:v1",
		"shop.example/app":           "shop.example/app:latest",
		"localhost:5000/a/b:v1":      "localhost:5000/a/b:v1",
		"localhost/app:v1":           "localhost/app:v1",
		"shop.example/team/app:v1.2": "shop.example/team/app:v1.2",
	} {
		if got, err := FullName(in); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a b", "Shop.example/app:v1", "app@sha256:00"} {
		if got, err := FullName(in); err == nil {
			t.Errorf("%q: got %s, want an error", in, got)
		}
	}
}

func TestParseDigest(t *testing.T) {
	table := "REF TYPE DIGEST SIZE PLATFORMS LABELS \n" +
		"shop.example/app:v10 application/vnd.oci.image.manifest.v1+json sha256:aa 2.7 MiB linux/amd64 - \n" +
		"shop.example/app:v1  application/vnd.oci.image.manifest.v1+json sha256:bb 2.7 MiB linux/amd64 - \n"
	for name, want := range map[string]string{"shop.example/app:v1": "sha256:bb", "shop.example/app:v2": ""} {
		if got := parseDigest(table, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
