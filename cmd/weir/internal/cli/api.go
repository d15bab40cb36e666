package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/up"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
)

// domainCommands are the commands that ask an API. Each stands in a file of its
// own:
//
//	func (m *Main) routeList() *cobra.Command {
//		c := &cobra.Command{Use: "list", Short: …, Long: …, Example: …, Args: cobra.NoArgs}
//		api := m.askAPI(c)
//		format := output(c, view.Formats...)
//		api.run(func(ctx context.Context, cl *client.Client, args []string) error {
//			var list api.RouteList
//			if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/routes"}, &list); err != nil {
//				return err
//			}
//			return show(m, *format, list, view.Row{"NAMESPACE", "NAME"}, rows)
//		})
//		return c
//	}
//
// Those that write also call reason := api.reason() and send *reason.
func (m *Main) domainCommands() []*cobra.Command {
	return []*cobra.Command{
		m.tokenCommand(),
		m.accountCommand(),
		m.auditCommand(),
		m.routeCommand(),
		m.policyCommand(),
		m.switchCommand(),
		m.historyCommand(),
		m.eventsCommand(),
		m.traceCommand(),
		m.systemCommand(),
	}
}

// clientDefaults are the settings of commands that ask an API.
func clientDefaults() *client.Config {
	return &client.Config{Server: client.DefaultServer, DataDir: up.DefaultDataDir, Timeout: 15 * time.Second}
}

// apiCommand is a command that asks an API.
type apiCommand struct {
	main  *Main
	c     *cobra.Command
	cfg   *client.Config
	fs    *pflag.FlagSet
	check []func() error
}

// askAPI gives a command the flags of those that ask an API.
func (m *Main) askAPI(c *cobra.Command) *apiCommand {
	cfg := clientDefaults()
	fs := pflag.NewFlagSet("client", pflag.ContinueOnError)
	cfg.Flags(fs)
	addSettings(c, fs)
	if err := c.MarkFlagDirname("data-dir"); err != nil {
		panic(err) // the flags were added a line before
	}
	return &apiCommand{main: m, c: c, cfg: cfg, fs: fs}
}

// reason adds the flag that says why something is written, which is required.
func (a *apiCommand) reason() *string {
	reason := a.c.Flags().String("reason", "", "why this is done; it is kept in the history (required)")
	a.check = append(a.check, func() error {
		if strings.TrimSpace(*reason) == "" {
			return errors.New("a write needs a reason: say why with --reason")
		}
		return nil
	})
	return reason
}

// run makes ask what the command does. ask gets the command's context and
// arguments, and a client.
func (a *apiCommand) run(ask func(ctx context.Context, cl *client.Client, args []string) error) {
	a.c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := a.main.load(c, a.fs); err != nil {
			return err
		}
		for _, check := range append([]func() error{a.cfg.Validate}, a.check...) {
			if err := check(); err != nil {
				return usage(err)
			}
		}
		cl := client.New(*a.cfg, a.main.Version)
		defer cl.Close()
		err := ask(c.Context(), cl, args)
		var away *client.AwayError
		if errors.As(err, &away) {
			return coded(ExitLacking, err)
		}
		return err
	}
}

// show writes an answer: as a table of rows, or as it is in JSON or YAML.
func show(m *Main, format view.Format, answer any, header view.Row, rows []view.Row) error {
	if format != view.Table {
		return view.Encode(m.Stdout, format, answer)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(m.Stdout, "none")
		return err
	}
	return view.WriteTable(m.Stdout, header, rows)
}
