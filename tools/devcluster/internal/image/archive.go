// Package image makes container images of static binaries and of directory
// trees, without Docker, and brings images into a cluster's containerd.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

// nonroot is the user that distroless images made the convention.
const nonroot = 65532

// Build says what goes into an image.
type Build struct {
	// Binary is a static executable; it becomes /app unless Entrypoint names
	// another path.
	Binary string
	// Files maps a path in the image to a file of the host.
	Files map[string]string
	// Entrypoint is the command; by default the binary alone. Its first element
	// is where the binary is put.
	Entrypoint []string
}

// Archive is an image in OCI layout, ready to be written as a tar. It holds
// its files' contents in memory.
type Archive struct {
	Name string
	// Digest is that of the manifest: equal for equal contents.
	Digest string
	blobs  map[string][]byte
	index  []byte
}

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	// Layers are not compressed: they travel over a local socket, once.
	mediaLayer = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type imageConfig struct {
	Architecture string        `json:"architecture"`
	OS           string        `json:"os"`
	Config       runtimeConfig `json:"config"`
	RootFS       rootFS        `json:"rootfs"`
}

type runtimeConfig struct {
	User       string   `json:"User"`
	Env        []string `json:"Env"`
	Entrypoint []string `json:"Entrypoint"`
	WorkingDir string   `json:"WorkingDir"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// New builds the image called name. It fails if the binary is not static: an
// image without a file system around it could not run it.
func New(name string, b Build) (*Archive, error) {
	full, err := FullName(name)
	if err != nil {
		return nil, err
	}
	if err := checkStatic(b.Binary); err != nil {
		return nil, err
	}
	entrypoint := b.Entrypoint
	if len(entrypoint) == 0 {
		entrypoint = []string{"/app"}
	}
	if !path.IsAbs(entrypoint[0]) {
		return nil, fmt.Errorf("the entrypoint %q is not an absolute path in the image: start it with a slash", entrypoint[0])
	}
	files := map[string]string{entrypoint[0]: b.Binary}
	for in, host := range b.Files {
		if !path.IsAbs(in) {
			return nil, fmt.Errorf("the file's place %q is not an absolute path in the image: start it with a slash", in)
		}
		files[in] = host
	}
	layer, err := layer(files)
	if err != nil {
		return nil, err
	}
	return assemble(full, entrypoint, layer)
}

// assemble makes the archive of layers, the lowest first.
func assemble(name string, entrypoint []string, layers ...[]byte) (*Archive, error) {
	a := &Archive{Name: name, blobs: map[string][]byte{}}
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest}
	root := rootFS{Type: "layers"}
	for _, l := range layers {
		desc := a.add(mediaLayer, l)
		m.Layers, root.DiffIDs = append(m.Layers, desc), append(root.DiffIDs, desc.Digest)
	}
	config, err := json.Marshal(imageConfig{
		Architecture: runtime.GOARCH, OS: "linux",
		Config: runtimeConfig{
			User: fmt.Sprintf("%d:%d", nonroot, nonroot), Entrypoint: entrypoint, WorkingDir: "/",
			Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/nonroot"},
		},
		RootFS: root,
	})
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", name, err)
	}
	m.Config = a.add(mediaConfig, config)
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", name, err)
	}
	desc := a.add(mediaManifest, b)
	a.Digest = desc.Digest
	desc.Annotations = map[string]string{"io.containerd.image.name": name}
	a.index, err = json.Marshal(index{SchemaVersion: 2, MediaType: mediaIndex, Manifests: []descriptor{desc}})
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", name, err)
	}
	return a, nil
}

func (a *Archive) add(mediaType string, b []byte) descriptor {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
	a.blobs[digest] = b
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(b)}
}

// WriteTo writes the archive as a tar.
func (a *Archive) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w}
	t := tar.NewWriter(counted)
	put := func(name string, b []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err := t.Write(b)
		return err
	}
	err := errors.Join(put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)), put("index.json", a.index))
	digests := make([]string, 0, len(a.blobs))
	for d := range a.blobs {
		digests = append(digests, d)
	}
	sort.Strings(digests)
	for _, d := range digests {
		if err == nil {
			err = put("blobs/sha256/"+strings.TrimPrefix(d, "sha256:"), a.blobs[d])
		}
	}
	err = errors.Join(err, t.Close())
	return counted.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// layer writes the files with their parent directories, in order and without
// times, so that equal contents give equal bytes.
func layer(files map[string]string) ([]byte, error) {
	type entry struct {
		header tar.Header
		data   []byte
	}
	entries := map[string]entry{
		"tmp/":          {header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o1777}},
		"home/":         {header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}},
		"home/nonroot/": {header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o750, Uid: nonroot, Gid: nonroot}},
		"etc/":          {header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}},
	}
	static := map[string]string{
		"etc/passwd":        fmt.Sprintf("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin\n", nonroot, nonroot),
		"etc/group":         fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", nonroot),
		"etc/nsswitch.conf": "hosts: files dns\n",
	}
	for name, contents := range static {
		entries[name] = entry{header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}, data: []byte(contents)}
	}
	for in, host := range files {
		b, err := os.ReadFile(host)
		if err != nil {
			return nil, fmt.Errorf("put a file into the image: %w", err)
		}
		st, err := os.Stat(host)
		if err != nil {
			return nil, fmt.Errorf("put a file into the image: %w", err)
		}
		mode := int64(0o644)
		if st.Mode()&0o111 != 0 {
			mode = 0o755
		}
		name := strings.TrimPrefix(path.Clean(in), "/")
		entries[name] = entry{header: tar.Header{Typeflag: tar.TypeReg, Mode: mode}, data: b}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := entries[dir+"/"]; !ok {
				entries[dir+"/"] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
			}
		}
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names)
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for _, name := range names {
		e := entries[name]
		e.header.Name, e.header.Size = name, int64(len(e.data))
		if err := t.WriteHeader(&e.header); err != nil {
			return nil, fmt.Errorf("put %s into the image: %w", name, err)
		}
		if _, err := t.Write(e.data); err != nil {
			return nil, fmt.Errorf("put %s into the image: %w", name, err)
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("write the image's layer: %w", err)
	}
	return out.Bytes(), nil
}

func checkStatic(binary string) error {
	f, err := elf.Open(binary)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s is not a Linux executable: build it with GOOS=linux, or load an image archive with --tar", binary)
	}
	if err != nil {
		return fmt.Errorf("read the binary: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and an image of it alone could not run it: build it with CGO_ENABLED=0", filepath.Base(binary))
		}
	}
	return nil
}

// FullName adds what image names leave out: the registry, its library and the
// tag, as the kubelet does with the name in a pod.
func FullName(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, " \t\n@") || strings.ToLower(path.Dir(name)) != path.Dir(name) {
		return "", fmt.Errorf("%q is not an image name: use one such as shop.example/orders:v1", name)
	}
	registry, rest, found := strings.Cut(name, "/")
	if !found || !strings.ContainsAny(registry, ".:") && registry != "localhost" {
		rest = name
		if !found {
			rest = "library/" + name
		}
		registry = "docker.io"
	}
	if !strings.Contains(path.Base(rest), ":") {
		rest += ":latest"
	}
	return registry + "/" + rest, nil
}
