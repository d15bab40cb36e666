// Package deptest holds the code to its own architecture: which package may
// import which (Check), and that docs/flows.md tells the truth (CheckFlows). Its
// tests run both over the repository; `go test ./internal/deptest` is all there
// is to do.
//
// The rules are data at the top of rules.go. A new exception needs a reason
// there, in the words of whoever asks for it.
package deptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Module is the path of the main module.
const Module = "github.com/weirmesh/weir"

// Package is what the rules need to know of a package: the part of `go list
// -json` by the same names. Tests are not bound by the rules, as they have to
// put together what is kept apart.
type Package struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// Graph is packages by import path.
type Graph map[string]*Package

// List returns the packages of the module in dir and everything they import.
func List(ctx context.Context, dir string) (Graph, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	g := make(Graph)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &Package{}
		switch err := dec.Decode(p); {
		case errors.Is(err, io.EOF):
			return g, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		g[p.ImportPath] = p
	}
}

// path returns how from comes to import to, as the packages on the way with both
// ends, the shortest one; nil when it does not.
func (g Graph) path(from string, to func(string) bool) []string {
	type step struct {
		name string
		from *step
	}
	seen := map[string]bool{from: true}
	for queue := []*step{{name: from}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.name != from && to(at.name) {
			var way []string
			for s := at; s != nil; s = s.from {
				way = append([]string{s.name}, way...)
			}
			return way
		}
		p := g[at.name]
		if p == nil {
			continue
		}
		for _, next := range p.Imports {
			if !seen[next] {
				seen[next] = true
				queue = append(queue, &step{next, at})
			}
		}
	}
	return nil
}
