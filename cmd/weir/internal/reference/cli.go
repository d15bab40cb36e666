package reference

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cli"
	"github.com/weirmesh/weir/internal/config"
)

// cliPage tells every command with its flags.
func cliPage() string {
	root := (&cli.Main{}).Commands()
	p := newPage("Commands of weir", paragraphs(root.Long))
	p.text("`weir completion SHELL` prints completions for bash, zsh, fish and PowerShell. " +
		"A flag with a name in the last column is a setting: it may also be given by that environment variable, " +
		"and by its own name in the file of `--config`. `weir config COMMAND` shows what is in force.")
	p.linef("")
	all := commands(root)
	for _, c := range all {
		p.linef("%s- [%s](#%s): %s", strings.Repeat("  ", strings.Count(c.CommandPath(), " ")-1), c.CommandPath(), anchor(c.CommandPath()), c.Short)
	}
	for _, c := range all {
		tellCommand(p, c)
	}
	return p.String()
}

// commands lists those below c, each before its own.
func commands(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		all = append(append(all, sub), commands(sub)...)
	}
	return all
}

func tellCommand(p *page, c *cobra.Command) {
	p.heading(2, c.CommandPath())
	p.text(paragraphs(c.Long))
	if c.HasSubCommands() {
		return // what is to say of it is said of those below
	}
	p.code("", c.UseLine())
	if c.Example != "" {
		p.code("sh", outdent(c.Example))
	}
	var rows [][]string
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "config" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		env := ""
		if config.IsSetting(f) {
			env = config.EnvName(f.Name)
		}
		rows = append(rows, []string{word(name), cell(usage), word(defaultOf(f)), word(env)})
	})
	p.table([]string{"Flag", "", "Default", "Environment"}, rows)
}

// emptyUnits are the minutes and seconds that 168h0m0s has none of.
var emptyUnits = regexp.MustCompile(`^(\d+h)0m0s$|^((?:\d+h)?\d+m)0s$`)

// defaultOf is the value of a flag that is not given; nothing where it has none.
func defaultOf(f *pflag.Flag) string {
	if f.DefValue == "[]" {
		return ""
	}
	return emptyUnits.ReplaceAllString(f.DefValue, "$1$2")
}

// paragraphs keeps the lines of lists of exit codes as they are, as code.
func paragraphs(s string) string {
	before, list, found := strings.Cut(s, "Exit codes:\n")
	if !found {
		return s
	}
	return before + "Exit codes:\n\n```\n" + outdent(list) + "\n```"
}

// outdent takes off the indentation of help.
func outdent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
