package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/api"
)

func (m *Main) routeHistory() *cobra.Command {
	c := &cobra.Command{
		Use:     "history NAMESPACE/NAME",
		Short:   "List the versions of a route: who wrote each, when and why",
		Long:    "History lists every version of a route, the newest first, also of one that was deleted.",
		Example: "  weir route history shop/cart",
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	namespace := routeNamespace(c)
	limit := c.Flags().Int("limit", 100, "how many versions at most, 1 to 1000")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		key, err := routeKey(args[0], *namespace)
		if err != nil {
			return err
		}
		versions, err := routeVersions(ctx, cl, key, *limit)
		if err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(versions.Items))
		for _, v := range versions.Items {
			says := matchText(v.Route.Match) + " → " + upstreamText(v.Route)
			if v.Deleted {
				says = "deleted"
			}
			rows = append(rows, view.Row{strconv.FormatInt(int64(v.Revision), 10), v.Created.Local().Format(time.DateTime), v.Actor, says, oneLine(v.Reason)})
		}
		return show(m, *format, versions, view.Row{"REVISION", "WRITTEN", "BY", "SAYS", "WHY"}, rows)
	})
	return c
}

func routeVersions(ctx context.Context, cl *client.Client, key gateway.Key, limit int) (api.History, error) {
	var h api.History
	_, err := cl.Do(ctx, client.Request{Path: routePath(key) + "/history", Query: url.Values{"limit": {strconv.Itoa(limit)}}}, &h)
	return h, err
}

func (m *Main) routeRollback() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback NAMESPACE/NAME --to REVISION",
		Short: "Write an earlier version of a route again, as a new one",
		Long: `Rollback writes the document of an earlier version, also of a route that was
deleted. It is a new version, so that it can be taken back too. It fails if
somebody changes the route meanwhile.`,
		Example: `  weir route rollback shop/cart --to 118 --reason "INC-2211: too slow" --wait 5s`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	w := ask.writing()
	namespace := routeNamespace(c)
	to := c.Flags().Int64("to", 0, "revision of the version to go back to, as history shows it (required)")
	format := output(c, view.Formats...)
	ask.check = append(ask.check, func() error {
		if *to <= 0 {
			return errors.New("name the revision to go back to with --to; `weir route history` shows them")
		}
		return nil
	})
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		key, err := routeKey(args[0], *namespace)
		if err != nil {
			return err
		}
		versions, err := routeVersions(ctx, cl, key, gateway.MaxHistory)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(versions.Items, func(v gateway.Version) bool { return int64(v.Revision) == *to })
		if i < 0 {
			return fmt.Errorf("%s has no version at revision %d; `weir route history %s` shows those it has", key, *to, key)
		}
		item := api.Item{Route: versions.Items[i].Route}
		seen := gateway.Revision(0)
		if newest := versions.Items[0]; !newest.Deleted {
			seen = newest.Revision
		}
		item.Expect = &seen
		if versions.Items[i].Deleted {
			return fmt.Errorf("%s was deleted at revision %d: use `weir route delete`, or name a version that was there", key, *to)
		}
		return m.send(ctx, cl, api.Apply{Items: []api.Item{item}}, w, *format)
	})
	return c
}

func (m *Main) routeExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain [METHOD] URL",
		Short: "Say which route takes a request, and why the others do not",
		Long: `Explain holds a request against the routes as the gateways do, and sends
nothing. It says which route takes it, where it would go, and why others that
come near would not take it.`,
		Example: `  weir route explain GET http://shop.example.com/shop/cart/42 -H 'X-User: 7'
  weir route explain POST /shop/stock/book/reserve`,
		Args: cobra.RangeArgs(1, 2),
	}
	ask := m.askAPI(c)
	var headers []string
	c.Flags().StringArrayVarP(&headers, "header", "H", nil, "a header of the request, as 'Name: value' (repeatable)")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		sample := gateway.Sample{Method: http.MethodGet, URL: args[len(args)-1], Header: map[string][]string{}}
		if len(args) == 2 {
			sample.Method = strings.ToUpper(args[0])
		}
		for _, h := range headers {
			name, value, ok := strings.Cut(h, ":")
			if !ok || strings.TrimSpace(name) == "" {
				return usage(fmt.Errorf("%q is no header: write it as 'Name: value'", h))
			}
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if name == "Host" {
				sample.Host = strings.TrimSpace(value)
				continue
			}
			sample.Header[name] = append(sample.Header[name], strings.TrimSpace(value))
		}
		var e gateway.Explanation
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: routesPath + ":explain", Body: sample}, &e); err != nil {
			return err
		}
		if *format != view.Table {
			return view.Encode(m.Stdout, *format, e)
		}
		m.tellExplanation(e)
		return nil
	})
	return c
}

func (m *Main) tellExplanation(e gateway.Explanation) {
	if w := e.Winner; w != nil {
		fmt.Fprintf(m.Stdout, "%s (revision %d) → %s", w.Key, w.Revision, w.Upstream)
		if len(w.Endpoints) > 0 {
			fmt.Fprintf(m.Stdout, " [%s]", strings.Join(w.Endpoints, ", "))
		}
		fmt.Fprintln(m.Stdout)
		if w.Why != "" {
			fmt.Fprintf(m.Stdout, "  won: %s\n", w.Why)
		}
		for _, name := range slices.Sorted(maps.Keys(w.Vars)) {
			fmt.Fprintf(m.Stdout, "  %s = %s\n", name, w.Vars[name])
		}
	} else {
		fmt.Fprintf(m.Stdout, "no route takes it; the gateway answers 404 (%d routes were looked at)\n", e.Routes)
	}
	for _, l := range e.Losers {
		fmt.Fprintf(m.Stdout, "%s lost: %s\n", l.Key, l.Why)
	}
}

func (m *Main) routeGateways() *cobra.Command {
	c := &cobra.Command{
		Use:   "gateways",
		Short: "Show which revision every gateway serves, and what it cannot serve",
		Long: `Gateways shows every gateway that was heard of in the last 30 seconds: the
revision of the routes that it serves, and the routes that it cannot serve as
written, with the reason and what it serves in their place.`,
		Example: "  weir route gateways",
		Args:    cobra.NoArgs,
	}
	ask := m.askAPI(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		var g api.Gateways
		if _, err := cl.Do(ctx, client.Request{Path: "/api/v1/gateways"}, &g); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(g.Items))
		for _, n := range g.Items {
			state := "current"
			if !n.Current {
				state = fmt.Sprintf("behind, the newest is %d", g.Revision)
			}
			rows = append(rows, view.Row{n.Name, strconv.FormatInt(int64(n.Revision), 10), state, strconv.Itoa(len(n.Quarantined)), n.Version, n.Seen.Local().Format(time.TimeOnly)})
		}
		if err := show(m, *format, g, view.Row{"GATEWAY", "REVISION", "STATE", "QUARANTINED", "VERSION", "SEEN"}, rows); err != nil || *format != view.Table {
			return err
		}
		for _, n := range g.Items {
			for _, q := range n.Quarantined {
				serving := "nothing in its place"
				if q.Serving > 0 {
					serving = fmt.Sprintf("revision %d in its place", q.Serving)
				}
				fmt.Fprintf(m.Stdout, "! %s cannot serve %s (revision %d), and serves %s: %s\n", n.Name, q.Key, q.Revision, serving, q.Reason)
			}
		}
		return nil
	})
	return c
}
