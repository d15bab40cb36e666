// Package deploy embeds what Weir installs into a cluster, so that one binary
// carries its own manifests: custom resource definitions, roles, and the
// admission policies that hold the roles to what their holders own.
package deploy

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed crds/*.yaml rbac/*.yaml admission/*.yaml
var files embed.FS

// Files is the read-only tree of manifests: crds, rbac, admission.
func Files() fs.FS { return files }

// Manifest is one Kubernetes object as YAML.
type Manifest struct {
	// File is where it stands, such as "rbac/roles.yaml".
	File string
	YAML []byte
}

// Manifests returns every object in the order in which they have to be applied:
// definitions before roles before admission policies. It panics only if the
// embedded tree cannot be read, which would be a fault of the build.
func Manifests() []Manifest {
	var all []Manifest
	for _, dir := range []string{"crds", "rbac", "admission"} {
		entries, err := files.ReadDir(dir)
		if err != nil {
			panic(fmt.Sprintf("deploy: %v", err))
		}
		for _, entry := range entries {
			name := path.Join(dir, entry.Name())
			content, err := files.ReadFile(name)
			if err != nil {
				panic(fmt.Sprintf("deploy: %v", err))
			}
			for doc := range bytes.SplitSeq(content, []byte("\n---\n")) {
				if strings.TrimSpace(string(doc)) != "" {
					all = append(all, Manifest{File: name, YAML: doc})
				}
			}
		}
	}
	return all
}
