package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/weirmesh/weir/governance"
)

// A file holds the last set that was applied. Its first line says what it is and
// bears the checksum of everything behind it.
const (
	fileMagic = "weir-policies 1 "
	maxFile   = 2 * MaxMessage
)

// saved is what a file holds.
type saved struct {
	App    governance.App       `json:"app"`
	Saved  time.Time            `json:"saved"`
	Offset governance.Duration  `json:"offset"` // of the control plane's clock
	Set    governance.PolicySet `json:"set"`
}

// fileName is that of an application's file; instances of one application that
// share a directory have the same policies, and no two applications have one name.
func fileName(dir string, app governance.App) string {
	return filepath.Join(dir, "policies-"+url.QueryEscape(app.Namespace)+"="+url.QueryEscape(app.Name)+".weir")
}

func encodeFile(s saved) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	out := append([]byte(fileMagic), hex.EncodeToString(sum[:])...)
	return append(append(out, '\n'), body...), nil
}

func decodeFile(data []byte) (s saved, err error) {
	head, body, ok := bytes.Cut(data, []byte{'\n'})
	sum, magic := bytes.CutPrefix(head, []byte(fileMagic))
	if !ok || !magic {
		return s, errors.New("it is not a file of policies, or of another version")
	}
	want := sha256.Sum256(body)
	if string(sum) != hex.EncodeToString(want[:]) {
		return s, errors.New("its checksum is wrong: it was cut off or changed")
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return saved{}, fmt.Errorf("it cannot be read: %w", err)
	}
	return s, nil
}

// readFile returns fs.ErrNotExist, wrapped, when there is none.
func readFile(name string) (saved, error) {
	f, err := os.Open(name)
	if err != nil {
		return saved{}, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return saved{}, err
	}
	if len(data) > maxFile {
		return saved{}, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return decodeFile(data)
}

// writeFile replaces a file so that a crash leaves the old or the new one whole.
func writeFile(name string, s saved) (err error) {
	data, err := encodeFile(s)
	if err != nil {
		return err
	}
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".policies-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
