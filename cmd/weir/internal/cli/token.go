package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/api"
	"github.com/weirmesh/weir/internal/config"
)

func (m *Main) tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "List, make and revoke API tokens",
		Long: `Token manages API tokens: the credentials of programs, and of running services
outside Kubernetes. A token's secret is shown once, when it is made; Weir keeps
its hash alone. It takes the role admin.`,
		Example: `  weir token list
  weir token create ci --role operator --namespaces shop --expires 720h --reason "deploy pipeline"
  weir token revoke ci --reason "pipeline is gone"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.tokenList(), m.tokenCreate(), m.tokenRevoke())
	return c
}

func (m *Main) tokenList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the API tokens, without their secrets",
		Long:  "List shows the tokens that are not revoked: what each may do, who made it, when it was last used and when it expires.",
		Example: `  weir token list
  weir token list -o json`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		var list api.Tokens
		if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/tokens"}, &list); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(list.Items))
		for _, t := range list.Items {
			what := string(t.Role)
			if t.Kind == access.KindInstance {
				what = "instances"
			}
			expires := moment(t.Expires, "never")
			if t.Suspended {
				expires = "SUSPENDED: " + t.Owner + " is disabled"
			}
			rows = append(rows, view.Row{t.Name, what, or(strings.Join(t.Namespaces, ", "), "all"), t.CreatedBy, moment(t.LastUsed, "never"), expires})
		}
		return show(m, *format, list, view.Row{"NAME", "ROLE", "NAMESPACES", "MADE BY", "LAST USED", "EXPIRES"}, rows)
	})
	return c
}

func (m *Main) tokenCreate() *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an API token and print its secret, this once",
		Long: `Create makes an API token. Its secret goes to standard output, alone, so that it
can be piped; it cannot be shown again.

With --instances the token is for running services outside Kubernetes, which
report with it and are told their policies; it may do nothing else.`,
		Example: `  weir token create ci --role operator --namespaces shop --reason "deploy pipeline" > token
  weir token create laptop --instances --namespaces shop --expires 24h --reason "local test"`,
		Args: cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason := ask.reason()
	var body api.NewToken
	var expires time.Duration
	var instances bool
	body.Role = access.Viewer
	config.Choice(c.Flags(), (*string)(&body.Role), "role", "", roleNames, "what the token may do")
	c.Flags().StringSliceVar(&body.Namespaces, "namespaces", nil, "namespaces that bound it (default: all)")
	c.Flags().DurationVar(&expires, "expires", 0, "how long it counts (default: until it is revoked)")
	c.Flags().BoolVar(&instances, "instances", false, "for running services outside Kubernetes, instead of a role")
	c.MarkFlagsMutuallyExclusive("role", "instances")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		body.Name, body.Kind = args[0], access.KindToken
		if instances {
			body.Kind, body.Role = access.KindInstance, ""
		}
		if expires != 0 {
			body.Expires = time.Now().Add(expires).UTC().Truncate(time.Second)
		}
		var made api.MadeToken
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: "/api/v1/tokens", Body: body, Reason: *reason}, &made); err != nil {
			return err
		}
		if *format != view.Table {
			return view.Encode(m.Stdout, *format, made)
		}
		fmt.Fprintf(m.Stderr, "made token %s; its secret is shown this once:\n", made.Token.Name)
		_, err := fmt.Fprintln(m.Stdout, made.Secret)
		return err
	})
	return c
}

func (m *Main) tokenRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke NAME",
		Short:   "Revoke an API token",
		Long:    "Revoke ends a token for good. Its name may be given to a new one.",
		Example: `  weir token revoke ci --reason "pipeline is gone"`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason := ask.reason()
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		_, err := cl.Do(ctx, client.Request{Method: http.MethodDelete, Path: client.Path("/api/v1/tokens", args[0]), Reason: *reason}, nil)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(m.Stdout, "revoked token %s\n", args[0])
		return err
	})
	return c
}

func (m *Main) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show what was written, by whom and why",
		Long: `Audit lists the writes of a range of time, the newest first: who did what to
what, why, and what came of it. Attempts that were refused stand there too.`,
		Example: `  weir audit
  weir audit --since 168h --object "route shop/"
  weir audit --principal user:admin -o json`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	since := c.Flags().Duration("since", 24*time.Hour, "how far back to look")
	principal := c.Flags().String("principal", "", "only what this one did, such as user:admin")
	action := c.Flags().String("action", "", "only this operation, such as put-route")
	object := c.Flags().String("object", "", "only what was done to objects that begin like this, such as \"route shop/\"")
	limit := c.Flags().Int("limit", 100, "at most so many entries")
	ask.check = append(ask.check, func() error {
		if *since <= 0 {
			return fmt.Errorf("--since %s is no range: give a duration such as 24h", *since)
		}
		if *limit < 1 {
			return fmt.Errorf("--limit %d shows nothing: give 1 or more", *limit)
		}
		return nil
	})
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		query := url.Values{"from": {time.Now().Add(-*since).UTC().Format(time.RFC3339)}}
		for name, value := range map[string]string{"principal": *principal, "action": *action, "object": *object} {
			if value != "" {
				query.Set(name, value)
			}
		}
		all := api.Audit{Items: []access.Entry{}}
		for len(all.Items) < *limit {
			query.Set("limit", strconv.Itoa(min(access.MaxAudit, *limit-len(all.Items))))
			var page api.Audit
			if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/audit", Query: query}, &page); err != nil {
				return err
			}
			all.Items, all.Next = append(all.Items, page.Items...), page.Next
			if page.Next == 0 {
				break
			}
			query.Set("before", strconv.FormatInt(page.Next, 10))
		}
		rows := make([]view.Row, 0, len(all.Items))
		for _, e := range all.Items {
			rows = append(rows, view.Row{moment(e.Time, ""), e.Principal, e.Action, e.Object, or(e.Reason, "-"), or(e.Outcome, "not known")})
		}
		return show(m, *format, all, view.Row{"TIME", "WHO", "ACTION", "OBJECT", "WHY", "OUTCOME"}, rows)
	})
	return c
}

// moment writes a time for people, in their zone.
func moment(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Local().Format(time.DateTime)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
