package deptest

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Flow is one flow of docs/flows.md.
type Flow struct {
	Name  string
	Steps []Step
}

// Step is one file on the way.
type Step struct {
	Line    int    // in the document
	File    string // from the root of the repository
	Symbols []string
	Imports []string // as the document names them
}

var (
	flowHeading = regexp.MustCompile(`^## (\d+\. )?(.+)$`)
	numbered    = regexp.MustCompile(`^\d+\. `)
	stepItem    = regexp.MustCompile("^(\\d+)\\. \\[`([^`]+)`\\]\\(([^)]*)\\)(.*)$")
	codeSpan    = regexp.MustCompile("`([^`]+)`")
)

// ParseFlows reads the format of docs/flows.md: a second-level heading begins a
// flow, and a numbered item that begins with a link to a file is a step of it.
// What follows "has" in the item, up to the next full stop, names functions and
// types of the file; what follows "imports", packages that it imports.
func ParseFlows(document string) ([]Flow, error) {
	var flows []Flow
	lines := strings.Split(document, "\n")
	for i, line := range lines {
		// An item goes on in indented lines.
		for _, more := range lines[i+1:] {
			if !strings.HasPrefix(more, "   ") {
				break
			}
			line += " " + strings.TrimSpace(more)
		}
		if m := flowHeading.FindStringSubmatch(line); m != nil {
			flows = append(flows, Flow{Name: m[2]})
			continue
		}
		m := stepItem.FindStringSubmatch(line)
		if m == nil {
			if numbered.MatchString(line) {
				return nil, fmt.Errorf("line %d: a step begins with a link to its file: N. [`path`](../path)", i+1)
			}
			continue
		}
		if len(flows) == 0 {
			return nil, fmt.Errorf("line %d: a step stands before the first heading of a flow", i+1)
		}
		flow := &flows[len(flows)-1]
		if want := strconv.Itoa(len(flow.Steps) + 1); m[1] != want {
			return nil, fmt.Errorf("line %d: step %s of %q should be %s", i+1, m[1], flow.Name, want)
		}
		if m[3] != "../"+m[2] {
			return nil, fmt.Errorf("line %d: the link of `%s` leads to %s, not to ../%s", i+1, m[2], m[3], m[2])
		}
		flow.Steps = append(flow.Steps, Step{
			Line: i + 1, File: m[2], Symbols: spansAfter(m[4], "has "), Imports: spansAfter(m[4], "imports "),
		})
	}
	return flows, nil
}

// spansAfter returns the code spans between a word and the end of its sentence.
func spansAfter(text, word string) []string {
	_, rest, ok := strings.Cut(text, word)
	if !ok {
		return nil
	}
	// A full stop inside a code span ends nothing.
	var out []string
	for rest != "" {
		m := codeSpan.FindStringSubmatchIndex(rest)
		if len(m) == 0 || strings.Contains(rest[:m[0]], ".") {
			break
		}
		out = append(out, rest[m[2]:m[3]])
		rest = rest[m[1]:]
	}
	return out
}

// CheckFlows returns what docs/flows.md says about the files below root that is
// not so, one sentence each.
func CheckFlows(root, document string) []string {
	flows, err := ParseFlows(document)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	if len(flows) == 0 {
		wrong = append(wrong, "there is no flow in it")
	}
	for _, flow := range flows {
		if len(flow.Steps) < 2 {
			wrong = append(wrong, fmt.Sprintf("flow %q has %d steps: a flow leads from one file to another", flow.Name, len(flow.Steps)))
		}
		for _, step := range flow.Steps {
			wrong = append(wrong, checkStep(root, step)...)
		}
	}
	return wrong
}

func checkStep(root string, step Step) []string {
	path := filepath.Join(root, filepath.FromSlash(step.File))
	if _, err := os.Stat(path); err != nil {
		return []string{fmt.Sprintf("line %d: there is no %s", step.Line, step.File)}
	}
	if len(step.Imports) == 0 && len(step.Symbols) == 0 {
		return []string{fmt.Sprintf("line %d: nothing that could be checked is said of %s", step.Line, step.File)}
	}
	if !strings.HasSuffix(step.File, ".go") {
		return []string{fmt.Sprintf("line %d: %s is no Go file", step.Line, step.File)}
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return []string{fmt.Sprintf("line %d: %v", step.Line, err)}
	}
	var wrong []string
	have := make([]string, 0, len(file.Imports))
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			have = append(have, p)
		}
	}
	for _, want := range step.Imports {
		// A package of the main module is named from its root.
		if !slices.Contains(have, want) && !slices.Contains(have, Module+"/"+want) {
			wrong = append(wrong, fmt.Sprintf("line %d: %s does not import %s", step.Line, step.File, want))
		}
	}
	declared := declarations(file)
	for _, want := range step.Symbols {
		if !slices.Contains(declared, want) {
			wrong = append(wrong, fmt.Sprintf("line %d: %s has no %s", step.Line, step.File, want))
		}
	}
	return wrong
}
