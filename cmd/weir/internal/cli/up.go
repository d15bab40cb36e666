package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/weirmesh/weir/cmd/weir/internal/up"
)

func (m *Main) upCommand() *cobra.Command {
	cfg := up.Defaults()
	fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
	cfg.Flags(fs)
	c := &cobra.Command{
		Use:   "up",
		Short: "Run Weir with all it needs, until Ctrl-C",
		Long: `Up runs Weir and what it stands on: PostgreSQL, Kubernetes, and the example shop.

PostgreSQL is a private server in the data directory, or yours with
--database-url. Kubernetes is a real node on this machine, in namespaces of its
own, which needs root on Linux; or the API server alone, with --node=false; or
your own cluster, named by --kubeconfig. $KUBECONFIG and ~/.kube/config are not
used, so that nothing comes into a cluster by accident; and even into the one
you name, nothing is written without --install (and --shop=true for the shop).

Ctrl-C ends everything that was started. The data stay, and the next start goes
on with them in seconds.

` + exitCodes,
		Example: `  # everything on this machine
  sudo weir up

  # your own cluster and database, without root
  weir up --kubeconfig ~/.kube/config --database-url postgres://weir@db/weir

  # a real Kubernetes API without pods, without root
  weir up --node=false`,
		Args: cobra.NoArgs,
	}
	addSettings(c, fs)
	for _, dir := range []string{"data-dir", "postgres-bin", "shop-dir", "shop-bin"} {
		if err := c.MarkFlagDirname(dir); err != nil {
			panic(err) // the flags were added a line before
		}
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, err := m.load(c, fs); err != nil {
			return err
		}
		if err := cfg.Validate(); err != nil {
			return usage(err)
		}
		u := &up.Up{
			Config: *cfg, Version: m.Version, Out: m.Stdout, Width: m.width(), Env: m.Env,
			Executable: m.Executable, Force: m.Force,
		}
		err := u.Run(c.Context())
		var lack *up.LackError
		if errors.As(err, &lack) {
			return coded(ExitLacking, lack.Err)
		}
		return err
	}
	return c
}

// width returns what tells the columns of the terminal, nil if standard output
// is none that can be drawn on.
func (m *Main) width() func() int {
	f, ok := m.Stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	if name, _ := m.Env("TERM"); name == "" || name == "dumb" {
		return nil
	}
	return func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80
		}
		return columns
	}
}
