package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/routefile"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/api"
)

const routesPath = "/api/v1/routes"

func (m *Main) routeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "route",
		Short: "Read, rehearse and change the gateways' routes, live",
		Long: `Route speaks with the control plane about routes: which requests the gateways
take, what they do to them, and where they send them. A change is live on every
gateway at once, has a version with who made it and why, and can be taken back.

A route document and all its fields are described in docs/routes.md.`,
		Example: `  weir route list
  weir route apply -f routes/ --dry-run
  weir route apply -f routes/ --reason "INC-2211" --wait 5s
  weir route explain GET http://shop.example.com/shop/cart/42 -H 'X-User: 7'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.routeList(), m.routeGet(), m.routeApply(), m.routeDelete(), m.routeHistory(), m.routeRollback(), m.routeExplain(), m.routeGateways())
	return c
}

// routeKey reads "namespace/name"; a bare name is in namespace.
func routeKey(arg, namespace string) (gateway.Key, error) {
	key := gateway.Key{Namespace: namespace, Name: arg}
	if ns, name, ok := strings.Cut(arg, "/"); ok {
		key = gateway.Key{Namespace: ns, Name: name}
	}
	if key.Namespace == "" || key.Name == "" || strings.Contains(key.Name, "/") {
		return key, usage(fmt.Errorf("%q is no route: write namespace/name", arg))
	}
	return key, nil
}

func routePath(key gateway.Key) string { return client.Path(routesPath, key.Namespace, key.Name) }

func (m *Main) routeList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the routes",
		Long:  "List shows every route that lives: what it matches, where it sends requests, and who wrote it.",
		Example: `  weir route list
  weir route list -n shop
  weir route list -o yaml`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	var namespace string
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		all := api.List{Items: []gateway.Version{}}
		q := url.Values{}
		setIf(q, "namespace", namespace)
		for {
			var page api.List
			if _, err := cl.Do(ctx, client.Request{Path: routesPath, Query: q}, &page); err != nil {
				return err
			}
			all.Items, all.Revision = append(all.Items, page.Items...), page.Revision
			if page.Next == "" {
				break
			}
			q.Set("after", page.Next)
		}
		rows := make([]view.Row, 0, len(all.Items))
		for _, v := range all.Items {
			rows = append(rows, view.Row{v.Route.Key().String(), matchText(v.Route.Match), upstreamText(v.Route), strconv.Itoa(v.Route.Priority), strconv.FormatInt(int64(v.Revision), 10), v.Actor})
		}
		return show(m, *format, all, view.Row{"ROUTE", "MATCH", "UPSTREAM", "PRIORITY", "REVISION", "BY"}, rows)
	})
	return c
}

// matchText says in short which requests a route takes.
func matchText(match gateway.Match) string {
	var parts []string
	if len(match.Method) > 0 {
		parts = append(parts, strings.Join(match.Method, ","))
	}
	path := match.Path
	if path == "" {
		path = "*"
	}
	parts = append(parts, strings.Join(match.Host, ",")+path)
	if n := len(match.Header); n > 0 {
		parts = append(parts, fmt.Sprintf("+%d headers", n))
	}
	return strings.Join(parts, " ")
}

func upstreamText(r gateway.Route) string {
	u := r.Upstream
	text := u.App + u.URL
	if d := u.Dubbo; d != nil {
		text = "dubbo " + d.App + " " + d.Interface[strings.LastIndexByte(d.Interface, '.')+1:] + "." + d.Method
	}
	if u.Port != "" {
		text += ":" + u.Port
	}
	if r.Disabled {
		text += " (disabled)"
	}
	return text
}

func (m *Main) routeGet() *cobra.Command {
	c := &cobra.Command{
		Use:   "get NAMESPACE/NAME",
		Short: "Print a route as a document that can be applied again",
		Long:  "Get prints the newest version of a route: its document as YAML, or, with -o json, with its revision, who wrote it and why.",
		Example: `  weir route get shop/cart > cart.yaml
  weir route get shop/cart | sed 's/2s/3s/' | weir route apply -f - --reason "slower"`,
		Args: cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	format := output(c, string(view.YAML), string(view.JSON))
	*format = view.YAML
	namespace := routeNamespace(c)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		key, err := routeKey(args[0], *namespace)
		if err != nil {
			return err
		}
		var v gateway.Version
		if _, err := cl.Do(ctx, client.Request{Path: routePath(key)}, &v); err != nil {
			return err
		}
		if *format == view.JSON {
			return view.Encode(m.Stdout, view.JSON, v)
		}
		fmt.Fprintf(m.Stdout, "# revision %d, %s by %s: %s\n", v.Revision, v.Created.Local().Format(time.DateTime), v.Actor, oneLine(v.Reason))
		return view.Encode(m.Stdout, view.YAML, v.Route)
	})
	return c
}

func routeNamespace(c *cobra.Command) *string {
	return c.Flags().StringP("namespace", "n", "default", "namespace of a route written without one")
}

// writing are the flags of commands that change routes.
type writing struct {
	dry, strict, allow *bool
	reason             *string
	wait               *time.Duration
}

// writing adds them. The reason is not required of a dry run.
func (a *apiCommand) writing() *writing {
	f := a.c.Flags()
	w := &writing{
		dry:    f.Bool("dry-run", false, "write nothing, and show what would become of it"),
		strict: f.Bool("strict", false, "take doubts for errors, such as arguments that a method does not have"),
		allow:  f.Bool("allow-unknown", false, "take routes to applications that are not known, which may come later"),
		reason: f.String("reason", "", "why this is done; it is kept in the history (required without --dry-run)"),
		wait:   f.Duration("wait", 0, "how long to wait until every gateway serves the change, at most 30s; 0 does not"),
	}
	a.check = append(a.check, func() error {
		switch {
		case !*w.dry && strings.TrimSpace(*w.reason) == "":
			return errors.New("a write needs a reason: say why with --reason")
		case *w.wait < 0 || *w.wait > 30*time.Second:
			return fmt.Errorf("--wait %s is not between 0s and 30s", *w.wait)
		}
		return nil
	})
	return w
}

// send writes or rehearses a change, and tells what became of it.
func (m *Main) send(ctx context.Context, cl *client.Client, change api.Apply, w *writing, format view.Format) error {
	q := url.Values{}
	if *w.strict {
		q.Set("strict", "true")
	}
	if *w.allow {
		q.Set("allowUnknown", "true")
	}
	req := client.Request{Method: http.MethodPost, Path: routesPath + ":plan", Query: q, Body: change}
	if !*w.dry {
		req.Path, req.Reason, req.Wait = routesPath+":apply", *w.reason, *w.wait
		if *w.wait > 0 {
			q.Set("wait", w.wait.String())
		}
	}
	var result api.Result
	if _, err := cl.Do(ctx, req, &result); err != nil {
		return placed(err, change)
	}
	if format != view.Table {
		if err := view.Encode(m.Stdout, format, result); err != nil {
			return err
		}
	} else {
		m.tellResult(result)
	}
	return unserved(result)
}

// placed puts the names of routes in place of their numbers in the request.
func placed(err error, change api.Apply) error {
	var refusal *client.Error
	if !errors.As(err, &refusal) || len(refusal.Errors) == 0 {
		return err
	}
	var says []string
	for _, d := range refusal.Errors {
		rest, ok := strings.CutPrefix(d.Location, "body.items[")
		number, field, found := strings.Cut(rest, "]")
		i, numErr := strconv.Atoi(number)
		if !ok || !found || numErr != nil || i < 0 || i >= len(change.Items) {
			return err
		}
		place := change.Items[i].Route.Key().String()
		if field = strings.TrimPrefix(strings.TrimPrefix(field, ".route"), "."); field != "" {
			place += ": " + field
		}
		says = append(says, place+": "+d.Message)
	}
	refusal.Detail = strings.Join(says, "\n")
	return err
}

// tellResult shows a change, line by line.
func (m *Main) tellResult(r api.Result) {
	width := 0
	for _, c := range r.Changes {
		width = max(width, len(c.Key.String()))
	}
	for _, f := range r.Findings {
		width = max(width, len(f.Key.String()))
	}
	line := func(sign string, key gateway.Key, text string) {
		fmt.Fprintf(m.Stdout, "%s %-*s   %s\n", sign, width, key, text)
	}
	for _, c := range r.Changes {
		switch c.Action {
		case api.Create:
			line("+", c.Key, "new")
		case api.Remove:
			line("-", c.Key, "deleted")
		case api.None:
			line("=", c.Key, "as it is")
		default:
			for i, f := range c.Fields {
				text := fmt.Sprintf("%s %s → %s", f.Field, shorten(f.Before), shorten(f.After))
				if i == 0 {
					line("~", c.Key, text)
				} else {
					fmt.Fprintf(m.Stdout, "  %-*s   %s\n", width, "", text)
				}
			}
		}
	}
	for _, w := range r.Warnings {
		text := w.Message
		if w.Field != "" {
			text = w.Field + ": " + text
		}
		line("!", w.Key, text)
	}
	for _, f := range r.Findings {
		line("!", f.Key, f.Message)
	}
	if r.Unfinished {
		fmt.Fprintln(m.Stderr, "the table is too large to look for every route that never matches")
	}
	if !r.DryRun {
		fmt.Fprintln(m.Stdout, servedText(r))
	}
}

// shorten cuts a value down to what fits into a line.
func shorten(v json.RawMessage) string {
	const most = 60
	if v == nil {
		return "(none)"
	}
	if text := []rune(string(v)); len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(v)
}

func servedText(r api.Result) string {
	text := fmt.Sprintf("revision %d", r.Revision)
	if r.Served == nil {
		return text
	}
	current := 0
	for _, g := range r.Gateways {
		if g.Current {
			current++
		}
	}
	return fmt.Sprintf("%s, served by %d of %s", text, current, view.Plural(len(r.Gateways), "gateway", "gateways"))
}

// unserved is an error when somebody waited and not every gateway serves.
func unserved(r api.Result) error {
	if r.Served == nil || *r.Served {
		return nil
	}
	var who []string
	for _, g := range r.Gateways {
		if !g.Current {
			who = append(who, fmt.Sprintf("%s is at %d", g.Name, g.Revision))
		}
		for _, q := range g.Quarantined {
			for _, c := range r.Changes {
				if c.Key == q.Key {
					who = append(who, fmt.Sprintf("%s cannot serve %s: %s", g.Name, q.Key, q.Reason))
				}
			}
		}
	}
	if len(r.Gateways) == 0 {
		who = []string{"no gateway was heard of in the last 30 seconds"}
	}
	return fmt.Errorf("revision %d is written, but not served by all: %s; `weir route gateways` shows how they are", r.Revision, strings.Join(who, "; "))
}

func (m *Main) routeApply() *cobra.Command {
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Write the routes of files, all or none",
		Long: `Apply writes every route of the files, of directories, or of standard input,
under one revision, or none of them when anything is wrong with one. Routes that
are already as written stay as they are; routes that are not in the files too.

With --dry-run it shows what would change (+ new, ~ changed, = as it is), doubts,
and routes that would never match because others take their requests. With --wait
it comes back once every gateway serves the change, and fails if one does not.`,
		Example: `  weir route apply -f routes/ --dry-run
  weir route apply -f cart.yaml --reason INC-2211 --wait 5s
  weir route get shop/cart | sed 's/2s/3s/' | weir route apply -f - --reason "slower"`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	var files []string
	c.Flags().StringSliceVarP(&files, "file", "f", nil, "file or directory with routes in YAML or JSON; - for standard input (repeatable)")
	w := ask.writing()
	format := output(c, view.Formats...)
	ask.check = append(ask.check, func() error {
		if len(files) == 0 {
			return errors.New("there is nothing to apply: name a file or directory with -f")
		}
		return nil
	})
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		routes, err := routefile.Load(files, m.Stdin)
		if err != nil {
			return usage(err)
		}
		change := api.Apply{Items: make([]api.Item, len(routes))}
		for i, r := range routes {
			change.Items[i].Route = r.Route
		}
		return m.send(ctx, cl, change, w, *format)
	})
	return c
}

func (m *Main) routeDelete() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete NAMESPACE/NAME …",
		Short: "Delete routes, all or none",
		Long:  "Delete takes routes away. Their history stays, and rollback brings them back.",
		Example: `  weir route delete shop/legacy --reason "nobody calls it" --wait 5s
  weir route delete shop/legacy shop/old --dry-run`,
		Args: cobra.MinimumNArgs(1),
	}
	ask := m.askAPI(c)
	w := ask.writing()
	namespace := routeNamespace(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var change api.Apply
		for _, arg := range args {
			key, err := routeKey(arg, *namespace)
			if err != nil {
				return err
			}
			change.Items = append(change.Items, api.Item{Route: gateway.Route{Namespace: key.Namespace, Name: key.Name}, Delete: true})
		}
		return m.send(ctx, cl, change, w, *format)
	})
	return c
}
