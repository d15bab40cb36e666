// Package routefile reads routes from files: YAML, or JSON which is YAML too,
// with any number of documents in each. Everything that is wrong is told with
// the file and line where it stands.
package routefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirmesh/weir/gateway"
)

// Stdin is the name that stands for standard input.
const Stdin = "-"

// maxFile bounds one file, in bytes.
const maxFile = 64 << 20

// Route is a route with the place it was read from.
type Route struct {
	gateway.Route
	File string
	Line int
}

// Load reads files, directories, of which it takes the .yaml, .yml and .json
// files in the order of their names, and standard input. The routes are valid
// and each is there once.
func Load(names []string, stdin io.Reader) ([]Route, error) {
	var out []Route
	var errs []error
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := readFile(file, stdin)
			if err != nil {
				return nil, err
			}
			label := file
			if file == Stdin {
				label = "standard input"
			}
			routes, err := Parse(label, data)
			out = append(out, routes...)
			errs = append(errs, err)
		}
	}
	seen := map[gateway.Key]Route{}
	for _, r := range out {
		if first, twice := seen[r.Key()]; twice {
			errs = append(errs, &Error{r.File, r.Line, fmt.Sprintf("route %s stands at %s:%d already", r.Key(), first.File, first.Line)})
			continue
		}
		seen[r.Key()] = r
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no route in %s", strings.Join(names, ", "))
	}
	return out, nil
}

func expand(name string) ([]string, error) {
	if name == Stdin {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name) // sorted
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			out = append(out, filepath.Join(name, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no .yaml, .yml or .json file in %s", name)
	}
	return out, nil
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != Stdin {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read routes: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB: is it a file of routes?", name, maxFile>>20)
	}
	return data, nil
}

// Error says what is wrong, and where.
type Error struct {
	File    string
	Line    int
	Message string
}

// Error returns "file:line: message".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message) }

// Parse reads the documents of one file. A document is a route, a list of
// routes, or what the API answers: a version, or a list of them under "items".
func Parse(file string, data []byte) ([]Route, error) {
	var out []Route
	var errs []error
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			errs = append(errs, syntax(file, data, err))
			break // the rest cannot be told apart
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
			continue
		}
		for _, n := range nodes(doc.Content[0]) {
			r, err := parse(file, n)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = append(out, Route{Route: r, File: file, Line: n.Line})
		}
	}
	return out, errors.Join(errs...)
}

// nodes returns the routes of a document.
func nodes(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil // nothing but comments
	}
	if list := member(n, "items"); list != nil && list.Kind == yaml.SequenceNode {
		n = list
	}
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{unwrap(n)}
	}
	var out []*yaml.Node
	for _, c := range n.Content {
		out = append(out, unwrap(c))
	}
	return out
}

// unwrap takes the route out of a version.
func unwrap(n *yaml.Node) *yaml.Node {
	if r := member(n, "route"); r != nil && r.Kind == yaml.MappingNode && member(n, "revision") != nil {
		return r
	}
	return n
}

func member(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func parse(file string, n *yaml.Node) (gateway.Route, error) {
	w := writer{file: file, lines: map[string]int{}}
	w.value(n, "", 0)
	if len(w.errs) > 0 {
		return gateway.Route{}, errors.Join(w.errs...)
	}
	var r gateway.Route
	err := gateway.Decode(w.out.Bytes(), &r)
	if err == nil {
		err = r.Validate()
	}
	if err == nil {
		return r, nil
	}
	var errs []error
	for _, p := range gateway.Problems(err) {
		message := p.Message
		if p.Field != "" {
			message = p.Field + ": " + message
		}
		errs = append(errs, &Error{file, w.line(p.Field, n.Line), message})
	}
	return gateway.Route{}, errors.Join(errs...)
}

// trap is a path with variables that stands in braces without quotes, which is
// the mistake that everybody makes once: YAML takes the variable's braces for its
// own.
var trap = regexp.MustCompile(`(?m)^.*[{,]\s*(?:path|setPath|addPrefix):\s*/[^"'\s,}]*\{.*$`)

// syntax takes the line out of what the YAML reader says.
func syntax(file string, data []byte, err error) error {
	if at := trap.FindIndex(data); at != nil {
		return &Error{file, 1 + bytes.Count(data[:at[0]], []byte("\n")), `it is no YAML: within {…}, put a path with variables in quotes, such as {path: "/cart/{id}"}`}
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if _, scanErr := fmt.Sscanf(text, "line %d:", &line); scanErr == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	return &Error{file, line, "it is no YAML: " + text}
}
