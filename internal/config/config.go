// Package config fills a role's settings from flags, WEIR_* environment
// variables and one YAML file, in that order of precedence, and can tell where
// each value came from.
//
// A setting has one name everywhere: the flag --database-url is the variable
// WEIR_DATABASE_URL and the key database-url of the file. A role declares its
// settings by binding the fields of its flat Config struct, which hold the
// defaults, to a pflag.FlagSet; Load does the rest.
package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the name of every environment variable.
const EnvPrefix = "WEIR_"

// EnvName returns the environment variable of a setting.
func EnvName(setting string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

const secretAnnotation = "weirmesh.io/secret"

// Secret marks settings whose values must not be printed in full. It panics on
// a name that fs does not have, which is a mistake in the program.
func Secret(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		if err := fs.SetAnnotation(name, secretAnnotation, nil); err != nil {
			panic(err)
		}
	}
}

const settingAnnotation = "weirmesh.io/setting"

// Mark says of the flags in fs that they are settings, which Load fills: beside the
// other flags of their command they can still be told.
func Mark(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		if err := fs.SetAnnotation(f.Name, settingAnnotation, nil); err != nil {
			panic(err) // fs has the flags that it visits
		}
	})
}

// IsSetting reports whether a flag was marked as a setting.
func IsSetting(f *pflag.Flag) bool {
	_, marked := f.Annotations[settingAnnotation]
	return marked
}

// Source says where settings come from besides their flags.
type Source struct {
	// File is the path of a YAML file; empty for none.
	File string
	// Env looks up an environment variable; nil for none. A variable that is set
	// to nothing counts as not set.
	Env func(name string) (string, bool)
	// Known are settings of other roles. One file may serve several roles, so
	// they may stand in it and are passed over.
	Known []string
}

// Value is the effective value of one setting.
type Value struct {
	Name string `json:"name"`
	// Value is fit to print: secrets are masked.
	Value string `json:"value"`
	// Origin is "default", "flag --name", "environment WEIR_NAME" or "file:line".
	Origin string `json:"origin"`
}

// Load fills the settings of fs, whose flags have been parsed, from the sources
// and returns the effective values sorted by name. It fails on values that a
// setting does not take, on a file that cannot be read, and on keys in it that
// no role knows. All mistakes found are in the one error.
func Load(fs *pflag.FlagSet, src Source) ([]Value, error) {
	file, errs := readFile(fs, src)
	var values []Value
	fs.VisitAll(func(f *pflag.Flag) {
		origin, err := settle(f, src, file)
		if err != nil {
			errs = append(errs, err)
			return
		}
		v := Value{Name: f.Name, Value: f.Value.String(), Origin: origin}
		if _, secret := f.Annotations[secretAnnotation]; secret {
			v.Value = mask(v.Value)
		}
		values = append(values, v)
	})
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return values, nil
}

// settle sets one flag from the best source that has it.
func settle(f *pflag.Flag, src Source, file map[string]entry) (origin string, err error) {
	if f.Changed {
		return "flag --" + f.Name, nil
	}
	if src.Env != nil {
		name := EnvName(f.Name)
		if v, ok := src.Env(name); ok && v != "" {
			if err := f.Value.Set(v); err != nil {
				return "", fmt.Errorf("%s: %w", name, refused(f, v, err))
			}
			return "environment " + name, nil
		}
	}
	if e, ok := file[f.Name]; ok {
		if err := e.set(f); err != nil {
			return "", fmt.Errorf("%s: %s: %w", e.where, f.Name, err)
		}
		return e.where, nil
	}
	return "default", nil
}

// refused says that a setting does not take a value, without telling a secret.
func refused(f *pflag.Flag, value string, err error) error {
	if _, secret := f.Annotations[secretAnnotation]; secret {
		return errors.New("its value cannot be read")
	}
	return fmt.Errorf("%q is no value for it: %w", value, err)
}

// entry is one key of the file.
type entry struct {
	where string // file:line
	node  *yaml.Node
}

func (e entry) set(f *pflag.Flag) error {
	switch e.node.Kind {
	case yaml.ScalarNode:
		if err := f.Value.Set(e.node.Value); err != nil {
			return refused(f, e.node.Value, err)
		}
		return nil
	case yaml.SequenceNode:
		list, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return errors.New("takes one value, not a list")
		}
		items := make([]string, 0, len(e.node.Content))
		for _, n := range e.node.Content {
			if n.Kind != yaml.ScalarNode {
				return errors.New("takes a list of plain values")
			}
			items = append(items, n.Value)
		}
		return list.Replace(items)
	default:
		return errors.New("takes a plain value; the file is flat, without sections")
	}
}

// readFile returns the entries of the file by key, leaving out those without a
// value, and what is wrong with it.
func readFile(fs *pflag.FlagSet, src Source) (map[string]entry, []error) {
	if src.File == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(src.File)
	if err != nil {
		return nil, []error{fmt.Errorf("configuration file: %w; name another with --config", err)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, []error{fmt.Errorf("configuration file %s: %w", src.File, err)}
	}
	if len(doc.Content) == 0 {
		return nil, nil // empty, or comments only
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, []error{fmt.Errorf("%s:%d: want lines of the form \"setting: value\"", src.File, root.Line)}
	}
	own := settings(fs)
	all := append(slices.Clone(own), src.Known...)
	entries := make(map[string]entry)
	var errs []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		where := fmt.Sprintf("%s:%d", src.File, key.Line)
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		first, twice := entries[key.Value]
		switch {
		case twice:
			errs = append(errs, fmt.Errorf("%s: %s stands here a second time; it was given at %s", where, key.Value, first.where))
		case !slices.Contains(all, key.Value):
			errs = append(errs, unknown(where, key.Value, all))
		case value.Tag == "!!null":
		default:
			entries[key.Value] = entry{where: where, node: value}
		}
	}
	return entries, errs
}

func unknown(where, key string, known []string) error {
	if near := Nearest(key, known); near != "" {
		return fmt.Errorf("%s: unknown setting %q; did you mean %q?", where, key, near)
	}
	return fmt.Errorf("%s: unknown setting %q; `weir config` lists those there are", where, key)
}

func settings(fs *pflag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// mask hides what is secret in a value: the password of a URL, or else all of it.
func mask(v string) string {
	const hidden = "xxxxx"
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return hidden
	}
	q := u.Query()
	changed := false
	for key := range q {
		if strings.Contains(strings.ToLower(key), "pass") || strings.Contains(strings.ToLower(key), "key") {
			q.Set(key, hidden)
			changed = true
		}
	}
	if changed {
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// Nearest returns the known word that a mistyped one most likely means, or ""
// when none is close.
func Nearest(word string, known []string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(s))
	}
	best, bestDistance := "", 0
	for _, k := range known {
		d := distance(plain(word), plain(k))
		if best == "" || d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" || bestDistance > max(2, len(best)/3) {
		return ""
	}
	return best
}

// distance is the number of single-character edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
