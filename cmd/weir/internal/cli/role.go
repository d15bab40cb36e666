package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
)

// hostConfig are the settings of a role.
type hostConfig interface {
	Flags(fs *pflag.FlagSet)
	Validate() error
	Host(lookup func(string) (string, bool)) *role.Host
}

// roleCommands are the roles that scale apart.
func (m *Main) roleCommands() []*cobra.Command {
	return []*cobra.Command{
		m.roleCommand(role.ControlDefaults(), &cobra.Command{
			Use:   role.ControlName,
			Short: "Run the control plane alone: APIs, console, and the services' stream",
			Long: `Control runs the control plane: every API that writes, the console, and the
stream by which running services are governed. It keeps everything in PostgreSQL,
whose schemas it brings up to date, and any number of them may run.

At the first start it makes the account admin and logs its password, once.

` + exitCodes,
			Example: `  weir control --database-url postgres://weir@db/weir
  weir control --database-url postgres://weir@db/weir --kubeconfig ~/.kube/config --control-listen 127.0.0.1:9000`,
		}),
		m.roleCommand(role.GatewayDefaults(), &cobra.Command{
			Use:   role.GatewayName,
			Short: "Run a gateway alone",
			Long: `Gateway runs the data plane: it serves requests by the routes in PostgreSQL,
which it follows live. With the database away it serves on, and starts, by the
last routes that it read, which it keeps in its data directory.

` + exitCodes,
			Example: `  weir gateway --database-url postgres://weir@db/weir
  weir gateway --database-url postgres://weir@db/weir --trusted-peers 10.0.0.0/8 --access-log`,
		}),
		m.roleCommand(role.TracingDefaults(), &cobra.Command{
			Use:   role.TracingName,
			Short: "Run a trace collector alone",
			Long: `Tracing runs the collector: it takes spans in as Zipkin does, and answers
Zipkin's queries. Spans are in PostgreSQL, or on the disk while that is away,
before they are acknowledged. Zipkin's own UI and clients work with it.

` + exitCodes,
			Example: `  weir tracing --database-url postgres://weir@db/weir
  weir tracing --database-url postgres://weir@db/weir --span-retention 72h`,
		}),
	}
}

func (m *Main) roleCommand(cfg hostConfig, c *cobra.Command) *cobra.Command {
	fs := pflag.NewFlagSet(c.Use, pflag.ContinueOnError)
	cfg.Flags(fs)
	c.Args = cobra.NoArgs
	addSettings(c, fs)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, err := m.load(c, fs); err != nil {
			return err
		}
		if err := cfg.Validate(); err != nil {
			return usage(err)
		}
		host := cfg.Host(m.Env)
		host.Version, host.Stderr, host.Force = m.Version, m.Stderr, m.Force
		err := host.Run(c.Context())
		var lack *role.LackError
		if errors.As(err, &lack) {
			return coded(ExitLacking, lack.Err)
		}
		return err
	}
	return c
}

// hostSettings are those of the roles, for `weir config`.
func hostSettings() []settings {
	var out []settings
	for name, defaults := range map[string]func() hostConfig{
		role.ControlName: func() hostConfig { return role.ControlDefaults() },
		role.GatewayName: func() hostConfig { return role.GatewayDefaults() },
		role.TracingName: func() hostConfig { return role.TracingDefaults() },
	} {
		out = append(out, settings{name, func(fs *pflag.FlagSet) func() error {
			c := defaults()
			c.Flags(fs)
			return c.Validate
		}})
	}
	slices.SortFunc(out, func(a, b settings) int { return strings.Compare(a.name, b.name) })
	return out
}
