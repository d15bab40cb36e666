// Package reference makes the pages of docs/reference out of the code: flags out of
// the tree of commands, metrics out of what the roles and libraries register, the
// API out of its description, annotations and events out of the constants, kinds of
// objects out of their definitions. What a
// page lacks is mended in the code, never here.
package reference

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run ./generate ../../../..

// Dir is where the pages lie, from the root of the repository.
const Dir = "docs/reference"

// Files returns the pages by the names of their files. root is that of the
// repository, whose sources the pages about constants are made of.
func Files(ctx context.Context, root string) (map[string]string, error) {
	files := map[string]string{"cli.md": cliPage()}
	for name, page := range map[string]func() (string, error){
		"metrics.md":     func() (string, error) { return metricsPage(ctx) },
		"api.md":         func() (string, error) { return apiPage(ctx) },
		"annotations.md": func() (string, error) { return annotationsPage(root) },
		"events.md":      func() (string, error) { return eventsPage(root) },
		"objects.md":     func() (string, error) { return objectsPage(root) },
	} {
		text, err := page()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[name] = text
	}
	return files, nil
}

// Write writes the pages into the repository at root.
func Write(ctx context.Context, root string) error {
	files, err := Files(ctx, root)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
