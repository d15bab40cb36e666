package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// importTimeout bounds one import; a large image on a slow disk takes seconds.
const importTimeout = 2 * time.Minute

// Containerd is a cluster's containerd, reached by its client ctr.
type Containerd struct {
	// Ctr is the client's path.
	Ctr string
	// Socket is containerd's, as this process sees it.
	Socket      string
	Snapshotter string
}

// Load imports an archive unless an image of its name and contents is there;
// loaded says which. It is safe to call concurrently.
func (c Containerd) Load(ctx context.Context, a *Archive) (loaded bool, err error) {
	have, err := c.digest(ctx, a.Name)
	if err != nil {
		return false, err
	}
	if have == a.Digest {
		return false, nil
	}
	r, w := io.Pipe()
	go func() {
		_, err := a.WriteTo(w)
		w.CloseWithError(err)
	}()
	defer r.Close()
	return true, c.imports(ctx, a.Name, r)
}

// LoadTar imports an archive file, in OCI layout or as `docker save` writes
// it. Where the archive itself names no image, name does; name may be empty
// otherwise.
func (c Containerd) LoadTar(ctx context.Context, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the image archive: %w", err)
	}
	defer f.Close()
	args := []string{}
	if name != "" {
		full, err := FullName(name)
		if err != nil {
			return err
		}
		args = []string{"--index-name", full}
	}
	return c.imports(ctx, path, f, args...)
}

func (c Containerd) imports(ctx context.Context, what string, archive io.Reader, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	_, err := c.run(ctx, archive, append([]string{"images", "import", "--snapshotter", c.Snapshotter}, append(args, "-")...)...)
	if err != nil {
		return fmt.Errorf("load the image %s: %w", what, err)
	}
	return nil
}

// digest returns what the image of that name points at, or "".
func (c Containerd) digest(ctx context.Context, name string) (string, error) {
	out, err := c.run(ctx, nil, "images", "ls", "name=="+name)
	if err != nil {
		return "", fmt.Errorf("look for the image %s: %w", name, err)
	}
	return parseDigest(string(out), name), nil
}

func parseDigest(table, name string) string {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == name {
			return fields[2]
		}
	}
	return ""
}

func (c Containerd) run(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Ctr, append([]string{"--address", c.Socket, "--namespace", "k8s.io"}, args...)...)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// An import that is cut short must not wait for the archive's rest.
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			return nil, err
		}
		return nil, errors.New(said)
	}
	return out, nil
}
