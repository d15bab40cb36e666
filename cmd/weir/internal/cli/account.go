package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/api"
	"github.com/weirmesh/weir/internal/config"
)

// roleNames are the roles that an account or a token may have.
var roleNames = []string{string(access.Viewer), string(access.Operator), string(access.Admin)}

func (m *Main) accountCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "account",
		Short: "Manage the accounts of people",
		Long:  "Account manages those who log in with a password. It takes the role admin.",
		Example: `  weir account list
  weir account create mei.chen --role operator --namespaces shop --reason "joined the team"
  weir account set mei.chen --disable --reason "on leave"
  weir account reset-password admin --reason "password lost"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.accountList(), m.accountCreate(), m.accountSet(), m.accountDelete(), m.accountReset())
	return c
}

func (m *Main) accountList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the accounts of people",
		Long:  "List shows the accounts, disabled ones too: what each may do, and when somebody last logged in by it.",
		Example: `  weir account list
  weir account list -o json`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		var list api.Accounts
		if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/accounts"}, &list); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(list.Items))
		for _, a := range list.Items {
			rows = append(rows, accountRow(a))
		}
		return show(m, *format, list, accountHeader, rows)
	})
	return c
}

var accountHeader = view.Row{"NAME", "ROLE", "NAMESPACES", "STATE", "LAST LOGIN", "CREATED"}

func accountRow(a access.Account) view.Row {
	state := "enabled"
	if a.Disabled {
		state = "disabled"
	}
	return view.Row{a.Name, string(a.Role), or(strings.Join(a.Namespaces, ", "), "all"), state, moment(a.LastLogin, "never"), moment(a.Created, "")}
}

func (m *Main) accountCreate() *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an account and print its password, this once",
		Long: `Create makes an account with a random password, which goes to standard output,
alone, so that it can be piped; it cannot be shown again. Whoever gets it can
change it in the console.`,
		Example: `  weir account create mei.chen --role operator --namespaces shop --reason "joined the team"`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason := ask.reason()
	body := api.NewAccount{Role: access.Viewer}
	config.Choice(c.Flags(), (*string)(&body.Role), "role", "", roleNames, "what the account may do")
	c.Flags().StringSliceVar(&body.Namespaces, "namespaces", nil, "namespaces that bound it (default: all)")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		body.Name = args[0]
		var made api.MadeAccount
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: "/api/v1/accounts", Body: body, Reason: *reason}, &made); err != nil {
			return err
		}
		if *format != view.Table {
			return view.Encode(m.Stdout, *format, made)
		}
		fmt.Fprintf(m.Stderr, "made account %s; its password is shown this once:\n", made.Account.Name)
		_, err := fmt.Fprintln(m.Stdout, made.Password)
		return err
	})
	return c
}

func (m *Main) accountSet() *cobra.Command {
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Change what an account may do",
		Long: `Set changes an account's role and namespaces, and whether anybody may log in by
it. What is not given stays. It ends all sessions of the account. The tokens that it
made stay, even when it is disabled: revoke those apart.`,
		Example: `  weir account set mei.chen --role admin --all-namespaces --reason "on call"
  weir account set mei.chen --disable --reason "on leave"
  weir account set mei.chen --enable --reason "back again"`,
		Args: cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason := ask.reason()
	role := access.Viewer
	config.Choice(c.Flags(), (*string)(&role), "role", "", roleNames, "what the account may do")
	namespaces := c.Flags().StringSlice("namespaces", nil, "namespaces that bound it")
	all := c.Flags().Bool("all-namespaces", false, "no namespace bounds it")
	disable := c.Flags().Bool("disable", false, "let nobody log in by it")
	enable := c.Flags().Bool("enable", false, "let people log in by it again")
	c.MarkFlagsMutuallyExclusive("namespaces", "all-namespaces")
	c.MarkFlagsMutuallyExclusive("enable", "disable")
	var body api.AccountPatch
	ask.check = append(ask.check, func() error {
		if c.Flags().Changed("role") {
			body.Role = &role
		}
		if *all || len(*namespaces) > 0 {
			body.Namespaces = namespaces
		}
		if *all {
			body.Namespaces = &[]string{}
		}
		if *enable || *disable {
			body.Disabled = disable
		}
		if body == (api.AccountPatch{}) {
			return errors.New("nothing is to change: give --role, --namespaces, --all-namespaces, --disable or --enable")
		}
		return nil
	})
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var changed access.Account
		path := client.Path("/api/v1/accounts", args[0])
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPatch, Path: path, Body: body, Reason: *reason}, &changed); err != nil {
			return err
		}
		return show(m, *format, changed, accountHeader, []view.Row{accountRow(changed)})
	})
	return c
}

func (m *Main) accountDelete() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete an account",
		Long: `Delete deletes an account and ends its sessions. The tokens that it made stay:
revoke those apart. To keep the name from being given to another, disable the
account instead.`,
		Example: `  weir account delete mei.chen --reason "left the company"`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason := ask.reason()
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		path := client.Path("/api/v1/accounts", args[0])
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodDelete, Path: path, Reason: *reason}, nil); err != nil {
			return err
		}
		_, err := fmt.Fprintf(m.Stdout, "deleted account %s\n", args[0])
		return err
	})
	return c
}

func (m *Main) accountReset() *cobra.Command {
	c := &cobra.Command{
		Use:     "reset-password NAME",
		Short:   "Give an account a new random password and print it, this once",
		Long:    "Reset-password gives an account a new random password and ends all its sessions. The password goes to standard output.",
		Example: `  weir account reset-password admin --reason "password lost"`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason := ask.reason()
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var out api.NewPassword
		path := client.Path("/api/v1/accounts", args[0]) + "/reset-password"
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Reason: *reason}, &out); err != nil {
			return err
		}
		_, err := fmt.Fprintln(m.Stdout, out.Password)
		return err
	})
	return c
}
