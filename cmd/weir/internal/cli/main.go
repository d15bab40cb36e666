// Package cli is the command line of weir: flags, help and wiring. What the
// commands do lives in the packages that they wire together.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/up"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/internal/run"
)

// Exit codes of weir.
const (
	ExitOK = 0
	// ExitFailed: something went wrong at work.
	ExitFailed = 1
	// ExitUsage: the command line, an environment variable or the configuration
	// file cannot be understood.
	ExitUsage = 2
	// ExitLacking: this machine or the cluster lacks something; the message says
	// what, and how to get it.
	ExitLacking = 3
	// ExitDiffers: what was compared is not the same.
	ExitDiffers = 4
	// ExitForced: a second signal cut the end short.
	ExitForced = 130
)

const exitCodes = `Exit codes:
  0    done, or ended as asked
  1    something failed at work
  2    the command line or configuration cannot be understood
  3    this machine or the cluster lacks something; the message says what
  4    weir registry diff found an application that is not ready to go over
  130  a second Ctrl-C cut the end short`

// Main is one run of weir. Tests run it as the program does, with streams and an
// environment of their own.
type Main struct {
	// Version is what `weir version` prints.
	Version        string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Env looks up environment variables.
	Env func(string) (string, bool)
	// Force, when it ends, cuts an orderly end short; nil for never.
	Force context.Context //nolint:containedctx // the second, harder end of the same life as Run's context
	// Executable is where this program lies, beside which others are looked for;
	// os.Executable() when empty.
	Executable string
}

// Run parses args, does what they ask until done or until ctx ends, and returns
// the exit code. By then everything it started has ended.
func (m *Main) Run(ctx context.Context, args []string) int {
	if m.Executable == "" {
		if path, err := os.Executable(); err == nil {
			m.Executable = path
		}
	}
	if m.Force == nil {
		m.Force = context.Background()
	}
	root := m.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if m.Force.Err() != nil {
		return ExitForced
	}
	if err == nil {
		return ExitOK
	}
	var in *run.InterruptError
	if errors.As(err, &in) || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return ExitOK // ended as asked
	}
	fmt.Fprintln(m.Stderr, "weir: "+strings.TrimPrefix(err.Error(), "weir: "))
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	return ExitFailed
}

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func coded(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

func usage(err error) error { return coded(ExitUsage, err) }

// Commands returns the tree of commands, for what is made from it.
func (m *Main) Commands() *cobra.Command { return m.root() }

func (m *Main) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A governance mesh for Dubbo and Spring Cloud on Kubernetes",
		Long: `Weir is a governance mesh for Dubbo and Spring Cloud applications on Kubernetes.
Kubernetes itself is the service registry.

Every setting is a flag (--data-dir), an environment variable (WEIR_DATA_DIR)
and a key of the YAML file named by --config (data-dir); flags come first, the
file last.

` + exitCodes,
		Example: `  # PostgreSQL, a Kubernetes node, Weir and the example shop, on this machine
  sudo weir up

  # what is registered, and what changes
  weir registry list
  weir registry watch`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(m.Stdin)
	root.SetOut(m.Stdout)
	root.SetErr(m.Stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; `%s --help` lists the flags", err, c.CommandPath()))
	})
	root.PersistentFlags().String("config", "", "YAML file with settings (environment WEIR_CONFIG)")
	root.AddCommand(m.upCommand(), m.registryCommand(), m.explainCommand(), m.manifestsCommand(), m.openapiCommand(), m.configCommand(), m.versionCommand())
	root.AddCommand(m.roleCommands()...)
	root.AddCommand(m.domainCommands()...)
	wrapArgs(root)
	return root
}

// wrapArgs gives wrong arguments the exit code of wrong usage.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			if c.HasSubCommands() && len(args) > 0 {
				err = fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
				var names []string
				for _, sub := range c.Commands() {
					names = append(names, sub.Name())
				}
				if near := config.Nearest(args[0], names); near != "" {
					return usage(fmt.Errorf("%w; did you mean %q?", err, near))
				}
			}
			return usage(fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// settings are those of one command.
type settings struct {
	name string
	// bind binds a fresh set of defaults to flags and returns the check of them.
	bind func(*pflag.FlagSet) (validate func() error)
}

// allSettings are those of all commands. One configuration file may serve them
// all, so each passes over the settings of the others.
func allSettings() []settings {
	return append([]settings{
		{"up", func(fs *pflag.FlagSet) func() error {
			c := up.Defaults()
			c.Flags(fs)
			return c.Validate
		}},
		{"registry", func(fs *pflag.FlagSet) func() error {
			c := registryDefaults()
			c.flags(fs)
			return c.validate
		}},
		{"registry-diff", func(fs *pflag.FlagSet) func() error {
			c := diffDefaults()
			c.flags(fs)
			return c.validate
		}},
		{"registry-unbridge", func(fs *pflag.FlagSet) func() error {
			c := unbridgeDefaults()
			c.flags(fs)
			return c.validate
		}},
		{"client", func(fs *pflag.FlagSet) func() error {
			c := clientDefaults()
			c.Flags(fs)
			return c.Validate
		}},
		{"trace", func(fs *pflag.FlagSet) func() error {
			c := traceDefaults()
			c.flags(fs)
			return c.validate
		}},
	}, hostSettings()...)
}

// addSettings gives a command the flags of its settings, which load fills.
func addSettings(c *cobra.Command, fs *pflag.FlagSet) {
	config.Mark(fs)
	c.Flags().AddFlagSet(fs)
}

// load fills the settings in fs, which belongs to command c.
func (m *Main) load(c *cobra.Command, fs *pflag.FlagSet) ([]config.Value, error) {
	var known []string
	for _, r := range allSettings() {
		all := pflag.NewFlagSet(r.name, pflag.ContinueOnError)
		r.bind(all)
		all.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	}
	values, err := config.Load(fs, config.Source{File: m.configFile(c), Env: m.Env, Known: known})
	return values, usage(err)
}

func (m *Main) configFile(c *cobra.Command) string {
	if f := c.Flag("config"); f != nil && f.Changed {
		return f.Value.String()
	}
	file, _ := m.Env(config.EnvName("config"))
	return file
}
