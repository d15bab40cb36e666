package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTreesBecomeLayers(t *testing.T) {
	runtime, app := t.TempDir(), t.TempDir()
	for file, mode := range map[string]os.FileMode{"opt/java/bin/java": 0o700, "opt/java/conf/net.properties": 0o600} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(runtime, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(runtime, file), []byte(file), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("java", filepath.Join(runtime, "opt", "java", "bin", "jvm")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app, "app.jar"), []byte("jar"), 0o600); err != nil {
		t.Fatal(err)
	}

	entrypoint := []string{"/opt/java/bin/java", "-jar", "/app.jar"}
	var archives [2]bytes.Buffer
	for i := range archives {
		a, err := NewOfTrees("shop.example/catalogue:v1", []string{runtime, app}, entrypoint)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.WriteTo(&archives[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0].Bytes(), archives[1].Bytes()) {
		t.Error("equal contents give unequal archives")
	}
	files, _ := untar(t, &archives[0])
	blob := func(digest string) []byte { return files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")] }
	decode := func(b []byte, into any) {
		t.Helper()
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	}
	var ix index
	var m manifest
	var c imageConfig
	decode(files["index.json"], &ix)
	decode(blob(ix.Manifests[0].Digest), &m)
	decode(blob(m.Config.Digest), &c)
	if len(m.Layers) != 3 || len(c.RootFS.DiffIDs) != 3 {
		t.Fatalf("%d layers, %d of them in the configuration; want a base and the two trees", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	if got := strings.Join(c.Config.Entrypoint, " "); got != strings.Join(entrypoint, " ") {
		t.Errorf("entrypoint %s", got)
	}
	base, _ := untar(t, bytes.NewReader(blob(m.Layers[0].Digest)))
	if base["etc/passwd"] == nil {
		t.Error("the base lacks etc/passwd")
	}
	lower, headers := untar(t, bytes.NewReader(blob(m.Layers[1].Digest)))
	if string(lower["opt/java/conf/net.properties"]) != "opt/java/conf/net.properties" {
		t.Error("a file's contents are not those of the tree")
	}
	for name, want := range map[string]tar.Header{
		"opt/java/":                    {Typeflag: tar.TypeDir, Mode: 0o755},
		"opt/java/bin/java":            {Typeflag: tar.TypeReg, Mode: 0o755},
		"opt/java/conf/net.properties": {Typeflag: tar.TypeReg, Mode: 0o644},
		"opt/java/bin/jvm":             {Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "java"},
	} {
		h := headers[name]
		if h == nil || h.Typeflag != want.Typeflag || h.Mode != want.Mode || h.Linkname != want.Linkname || !h.ModTime.Equal(headers["opt/"].ModTime) {
			t.Errorf("%s is %+v, want %+v", name, h, want)
		}
	}
	if upper, _ := untar(t, bytes.NewReader(blob(m.Layers[2].Digest))); string(upper["app.jar"]) != "jar" {
		t.Error("the upper layer lacks app.jar")
	}
}

func TestTreesThatMakeNoImage(t *testing.T) {
	dir := t.TempDir()
	run := []string{"/bin/run"}
	for _, tt := range []struct {
		name              string
		trees, entrypoint []string
		want              string
	}{
		{"Not A Name", []string{dir}, run, "not an image name"},
		{"a:v1", nil, run, "name a directory"},
		{"a:v1", []string{dir}, nil, "entrypoint"},
		{"a:v1", []string{dir}, []string{"run"}, "start it with a slash"},
		{"a:v1", []string{dir + "/none"}, run, "no such file"},
	} {
		if _, err := NewOfTrees(tt.name, tt.trees, tt.entrypoint); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt, err, tt.want)
		}
	}
}
