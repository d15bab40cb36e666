package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// NewOfTrees builds the image called name of directory trees: each becomes a
// layer with the tree at its root, the first the lowest. Images that share trees
// share their layers in the cluster. It is for what is more than one static
// binary, such as a Java runtime with an application.
func NewOfTrees(name string, trees, entrypoint []string) (*Archive, error) {
	full, err := FullName(name)
	if err != nil {
		return nil, err
	}
	if len(trees) == 0 {
		return nil, errors.New("an image needs something in it: name a directory")
	}
	if len(entrypoint) == 0 || !path.IsAbs(entrypoint[0]) {
		return nil, fmt.Errorf("the entrypoint %q does not begin with an absolute path in the image: start it with a slash", entrypoint)
	}
	base, err := layer(nil)
	if err != nil {
		return nil, err
	}
	layers := [][]byte{base}
	for _, dir := range trees {
		l, err := treeLayer(dir)
		if err != nil {
			return nil, fmt.Errorf("put %s into the image: %w", dir, err)
		}
		layers = append(layers, l)
	}
	return assemble(full, entrypoint, layers...)
}

// treeLayer writes a directory's contents, in order and without times and
// owners, so that equal contents give equal bytes.
func treeLayer(dir string) ([]byte, error) {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil || name == "." {
			return err
		}
		return addEntry(t, filepath.ToSlash(name), file, d)
	})
	if err == nil {
		err = t.Close()
	}
	return out.Bytes(), err
}

func addEntry(t *tar.Writer, name, file string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: 0o644}
	switch {
	case d.IsDir():
		h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, name+"/"
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = os.Readlink(file); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		h.Typeflag = tar.TypeReg
		if info.Mode()&0o111 != 0 {
			h.Mode = 0o755
		}
	default:
		return fmt.Errorf("%s is neither a file, nor a directory, nor a symbolic link", file)
	}
	if h.Typeflag != tar.TypeReg {
		return t.WriteHeader(h)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	h.Size = int64(len(b))
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = t.Write(b)
	return err
}
