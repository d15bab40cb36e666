package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// A file is one line that says what it is and the SHA-256 of what follows, and
// JSON. The number is raised when an older program would misunderstand the
// JSON; fields it does not know are told per route.
const (
	magic  = "weir-gateway-snapshot/"
	format = "1"
	// maxFile bounds what is read.
	maxFile = 1 << 30
)

// content is what a file holds.
type content struct {
	Written  time.Time         `json:"written"`
	Revision gateway.Revision  `json:"revision"`
	Checksum string            `json:"checksum"`
	Routes   []gateway.Version `json:"routes"`
}

// encode writes down a table.
func encode(c content) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	var b bytes.Buffer
	b.Grow(len(body) + 100)
	b.WriteString(magic + format + " sha256:" + hex.EncodeToString(sum[:]) + "\n")
	b.Write(body)
	return b.Bytes(), nil
}

// decode reads what encode wrote, and nothing else.
func decode(data []byte) (content, error) {
	head, body, ok := bytes.Cut(data, []byte("\n"))
	rest, ours := bytes.CutPrefix(head, []byte(magic))
	if !ok || !ours {
		return content{}, errors.New("it is no snapshot of routes")
	}
	version, sum, _ := bytes.Cut(rest, []byte(" "))
	if string(version) != format {
		return content{}, fmt.Errorf("its format is %.20q, and this weir knows format %s", version, format)
	}
	want := sha256.Sum256(body)
	if string(sum) != "sha256:"+hex.EncodeToString(want[:]) {
		return content{}, errors.New("its checksum does not fit: it was cut short or damaged")
	}
	var raw struct {
		content
		Routes []struct {
			gateway.Version
			Route json.RawMessage `json:"route"`
		} `json:"routes"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return content{}, fmt.Errorf("its text cannot be read: %w", err)
	}
	c := raw.content
	c.Routes = make([]gateway.Version, len(raw.Routes))
	seen := make(map[gateway.Key]bool, len(raw.Routes))
	for i, r := range raw.Routes {
		v := r.Version
		var key gateway.Key
		if err := json.Unmarshal(r.Route, &key); err != nil {
			return content{}, fmt.Errorf("route %d has no key: %w", i, err)
		}
		v.Route, v.Unreadable = gateway.DecodeStored(key, r.Route)
		if v.Deleted || v.Revision < 1 || v.Revision > c.Revision || seen[v.Route.Key()] {
			return content{}, fmt.Errorf("route %s stands twice, or has no place in revision %d", v.Route.Key(), c.Revision)
		}
		seen[v.Route.Key()] = true
		c.Routes[i] = v
	}
	if c.Checksum != gateway.Checksum(c.Routes) {
		return content{}, errors.New("its routes are not those that its table had")
	}
	return c, nil
}

// read reads a file; the error matches fs.ErrNotExist when there is none.
func read(path string) (content, error) {
	f, err := os.Open(path)
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return content{}, err
	}
	if len(data) > maxFile {
		return content{}, &contentError{fmt.Errorf("it is larger than %d bytes", maxFile)}
	}
	c, err := decode(data)
	if err != nil {
		return content{}, &contentError{err}
	}
	return c, nil
}

// contentError says that a file could be read, and what it holds is of no use.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// write puts a file in place of the one that is there, whole or not at all, also
// when the machine stops meanwhile. Routes may hold secrets: only the owner
// reads it.
func write(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // the first error is told
			_ = os.Remove(f.Name()) // the same
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
