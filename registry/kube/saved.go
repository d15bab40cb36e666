package kube

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmesh/weir/registry"
)

// saved is what a snapshot file holds: enough of the registry, as one process used
// it, for that process to start again while the API server cannot be heard.
type saved struct {
	// Cluster is the address of the API server that it was heard from.
	Cluster    string              `json:"cluster"`
	Apps       []registry.Snapshot `json:"apps"`
	Interfaces []savedInterface    `json:"interfaces,omitempty"`
	Documents  []savedDocument     `json:"documents,omitempty"`
}

// savedInterface is who provides an interface.
type savedInterface struct {
	Interface registry.Interface `json:"interface"`
	Apps      []registry.App     `json:"apps"`
}

// savedDocument is what a revision of an application offers.
type savedDocument struct {
	App      registry.App `json:"app"`
	Revision string       `json:"revision"`
	Document []byte       `json:"document"`
}

// A snapshot file is one line of text, "weir-registry VERSION SHA256 SIZE", and SIZE
// bytes of JSON, packed by gzip, which have that SHA-256.
const (
	savedMagic   = "weir-registry"
	savedVersion = 1
	savedHeader  = 128 // longest first line
	// maxSaved bounds the file, and maxUnpacked what it unpacks to.
	maxSaved    = 16 << 20
	maxUnpacked = 128 << 20
)

// errTooMuch says that more is known than a snapshot file holds.
var errTooMuch = fmt.Errorf("it would have more than %d bytes", maxSaved)

// encode makes the file, and a sum of what it says, which is the same as long as it
// says the same.
func (s *saved) encode() (file []byte, sum [sha256.Size]byte, err error) {
	content, err := json.Marshal(s)
	if err != nil {
		return nil, sum, fmt.Errorf("encode: %w", err)
	}
	sum = sha256.Sum256(content)
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, sum, fmt.Errorf("pack: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, sum, fmt.Errorf("pack: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, sum, fmt.Errorf("pack: %w", err)
	}
	header := fmt.Sprintf("%s %d %x %d\n", savedMagic, savedVersion, sha256.Sum256(packed.Bytes()), packed.Len())
	if len(header)+packed.Len() > maxSaved || len(content) > maxUnpacked {
		return nil, sum, errTooMuch
	}
	return append([]byte(header), packed.Bytes()...), sum, nil
}

// decodeSaved reads a file. What is damaged in any place counts for nothing.
func decodeSaved(file []byte) (*saved, [sha256.Size]byte, error) {
	s, sum, err := readSaved(file)
	if err != nil {
		return nil, sum, err
	}
	if err := s.validate(); err != nil {
		return nil, sum, err
	}
	return s, sum, nil
}

func readSaved(file []byte) (s *saved, sum [sha256.Size]byte, err error) {
	if len(file) > maxSaved {
		return nil, sum, fmt.Errorf("it has more than %d bytes", maxSaved)
	}
	line, packed, ok := bytes.Cut(file, []byte{'\n'})
	words := strings.Split(string(line[:min(len(line), savedHeader)]), " ")
	if words[0] != savedMagic {
		return nil, sum, errors.New("it is no snapshot of a registry")
	}
	if len(words) > 1 && words[1] != strconv.Itoa(savedVersion) {
		return nil, sum, fmt.Errorf("it has version %s, and this reader knows %d", quote(words[1]), savedVersion)
	}
	if !ok || len(words) != 4 {
		return nil, sum, errors.New("its first line is incomplete")
	}
	if size, err := strconv.Atoi(words[3]); err != nil || size != len(packed) {
		return nil, sum, fmt.Errorf("it holds %d bytes where its first line says %s", len(packed), quote(words[3]))
	}
	if is := sha256.Sum256(packed); hex.EncodeToString(is[:]) != words[2] {
		return nil, sum, errors.New("its checksum does not match")
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, sum, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, sum, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	if len(content) > maxUnpacked {
		return nil, sum, fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, sum, fmt.Errorf("what it holds cannot be read: %w", err)
	}
	if s == nil {
		return nil, sum, errors.New("it holds nothing")
	}
	return s, sha256.Sum256(content), nil
}

// validate holds a file to what a hub would have said. The checksum tells damage; this
// tells a file that somebody else wrote.
func (s *saved) validate() error {
	for i := range s.Apps {
		a := &s.Apps[i]
		if err := a.App.Validate(); err != nil {
			return err
		}
		if a.Mode != registry.ModePod && a.Mode != registry.ModeService {
			return fmt.Errorf("%s has mode %s", a.App, quote(string(a.Mode)))
		}
		for n := range a.Instances {
			if in := &a.Instances[n]; in.ID == "" || !in.Host.IsValid() || in.Details.Weight < 0 || in.Details.Weight > registry.MaxWeight {
				return fmt.Errorf("%s has an instance without an id, an address or a weight", a.App)
			}
		}
		if !slices.IsSortedFunc(a.Instances, func(x, y registry.Instance) int { return strings.Compare(x.ID, y.ID) }) {
			return fmt.Errorf("the instances of %s are not in order", a.App)
		}
	}
	for _, i := range s.Interfaces {
		if err := i.Interface.Validate(); err != nil {
			return err
		}
		for _, a := range i.Apps {
			if err := a.Validate(); err != nil {
				return err
			}
		}
	}
	for _, d := range s.Documents {
		if err := validateMetadata(d.App, d.Revision); err != nil {
			return err
		}
	}
	return nil
}
