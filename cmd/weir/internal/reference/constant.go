package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// constant is one of the code with its comment.
type constant struct {
	name, value, doc string
	kind             string // the type's name; empty for none
	group            string // what is said of all constants that it stands with
}

// source is a package as it is written.
type source struct {
	dir   string
	files []*ast.File
}

// read reads a package of the repository at root, without its tests.
func read(root, dir string) (*source, error) {
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	s := &source{dir: dir}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, file)
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("there is no package in %s", filepath.Join(root, dir))
	}
	return s, nil
}

// constants are those of text that want takes, in the order of the code. One
// without a comment is an error: the page has nothing to say of it.
func (s *source) constants(want func(constant) bool) ([]constant, error) {
	var all []constant
	for _, file := range s.files {
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				c, ok := textConstant(group, spec)
				if !ok || !want(c) {
					continue
				}
				if c.doc == "" {
					return nil, fmt.Errorf("%s: the constant %s needs a comment that says what it means", s.dir, c.name)
				}
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: none of the constants are there that the page tells", s.dir)
	}
	return all, nil
}

func textConstant(group *ast.GenDecl, spec ast.Spec) (c constant, ok bool) {
	v, ok := spec.(*ast.ValueSpec)
	if !ok || len(v.Names) != 1 || len(v.Values) != 1 {
		return c, false
	}
	literal, ok := v.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return c, false
	}
	c.name = v.Names[0].Name
	c.group = strings.TrimSpace(group.Doc.Text())
	if kind, ok := v.Type.(*ast.Ident); ok {
		c.kind = kind.Name
	}
	var err error
	if c.value, err = strconv.Unquote(literal.Value); err != nil {
		return c, false
	}
	doc := v.Doc
	if doc == nil && !group.Lparen.IsValid() {
		doc = group.Doc
	}
	if doc == nil {
		doc = v.Comment
	}
	c.doc = comment(c.name, doc)
	return c, true
}

// comment is a comment as a sentence about what has the name, which itself means
// nothing to readers of a page.
func comment(name string, doc *ast.CommentGroup) string {
	if doc == nil {
		return ""
	}
	text := strings.Join(strings.Fields(doc.Text()), " ")
	for _, begin := range []string{name + " is ", name + ", ", name + ": ", name + " "} {
		if rest, ok := strings.CutPrefix(text, begin); ok {
			text = rest
			break
		}
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// fields are those of a struct with their names in JSON and their comments.
func (s *source) fields(name string) ([]constant, error) {
	var all []constant
	for _, file := range s.files {
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.TYPE {
				continue
			}
			for _, spec := range group.Specs {
				t, ok := spec.(*ast.TypeSpec)
				if !ok || t.Name.Name != name {
					continue
				}
				fields, ok := t.Type.(*ast.StructType)
				if !ok {
					return nil, fmt.Errorf("%s: %s is no struct", s.dir, name)
				}
				for _, f := range fields.Fields.List {
					c := constant{name: f.Names[0].Name, value: jsonName(f)}
					if c.doc = comment(c.name, f.Doc); c.doc == "" {
						return nil, fmt.Errorf("%s: the field %s.%s needs a comment that says what it means", s.dir, name, c.name)
					}
					all = append(all, c)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no %s", s.dir, name)
	}
	return all, nil
}

// jsonName is the name of a field in JSON.
func jsonName(f *ast.Field) string {
	if f.Tag == nil {
		return f.Names[0].Name
	}
	_, tag, _ := strings.Cut(f.Tag.Value, `json:"`)
	tag, _, _ = strings.Cut(tag, `"`)
	tag, _, _ = strings.Cut(tag, ",")
	return tag
}

// rows are constants as rows of a table.
func rows(all []constant) [][]string {
	out := make([][]string, 0, len(all))
	for _, c := range all {
		out = append(out, []string{word(c.value), cell(c.doc)})
	}
	return out
}
