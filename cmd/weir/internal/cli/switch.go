package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/internal/config"
)

const switchesPath = "/api/v1/switches"

func (m *Main) switchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "switch",
		Short: "Pull, release and list degradation switches",
		Long: `Switch degrades a service on purpose: calls of a command are refused at once in
every instance, and callers get a fixed answer instead. Switches beat policies and
skip whatever delays other changes. Instances release one by themselves when its
time is over, even if no control plane is left.`,
		Example: `  weir switch pull shop/inventory/InventoryService.reserve --for 30m --value '{"reserved":false}' --reason "warehouse down"
  weir switch list
  weir switch release shop/inventory/InventoryService.reserve --reason "warehouse is back"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.switchPull(), m.switchRelease(), m.switchList())
	return c
}

// targetFlags adds the flags that say where a switch is enforced.
func targetFlags(c *cobra.Command) (at *string, from *[]string) {
	at = new(string)
	*at = string(governance.Provider)
	config.Choice(c.Flags(), at, "at", "", []string{string(governance.Provider), string(governance.Caller)}, "where it is enforced: in the application's own instances, or in those that call it")
	from = c.Flags().StringSlice("from", nil, "at the caller: only calls of these applications, as namespace/name")
	return at, from
}

func readTarget(arg, at string, from []string) (governance.Target, error) {
	app, command, err := splitTarget(arg)
	if err != nil {
		return governance.Target{}, err
	}
	t := governance.Target{App: app, Command: command, At: governance.At(at)}
	for _, f := range from {
		caller, err := governance.ParseApp(f)
		if err != nil {
			return t, usage(fmt.Errorf("--from: %q is no application: write namespace/name", f))
		}
		t.From = append(t.From, caller)
	}
	return t, nil
}

func (m *Main) switchPull() *cobra.Command {
	c := &cobra.Command{
		Use:   "pull NAMESPACE/APP[/COMMAND]",
		Short: "Pull a switch: refuse calls, and answer something else",
		Long: `Pull refuses the calls of a command, or of a whole application, at once. Callers
get --value, --empty or --error; with none of them, what the service has as a
fallback, or an error. With --cached they get the last good answer to an equal call,
and those others where there is none.

It waits for the instances to confirm. One that is pulled already is pulled anew.`,
		Example: `  weir switch pull shop/inventory/InventoryService.reserve --for 2m --reason demo
  weir switch pull shop/pricing --at caller --from shop/orders --empty --reason INC-2211`,
		Args: cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason, wait := ask.reason(), waitFlag(c)
	at, from := targetFlags(c)
	var body api.Pull
	var value, until string
	var lasts, cached time.Duration
	var allow bool
	c.Flags().StringVar(&body.Name, "name", "", "name of the switch (default: after its target)")
	c.Flags().StringVar(&value, "value", "", "JSON that callers get as the answer")
	c.Flags().BoolVar(&body.Empty, "empty", false, "callers get the zero value of the answer")
	c.Flags().StringVar(&body.Error, "error", "", "callers get an error with this text")
	c.Flags().DurationVar(&cached, "cached", 0, "callers get the last good answer to an equal call, if it is no older than this")
	c.Flags().DurationVar(&lasts, "for", 0, "release by itself after this long (default: stay until released)")
	c.Flags().StringVar(&until, "until", "", "release by itself at this time, such as 2026-11-20T15:00:00Z")
	c.Flags().BoolVar(&allow, "allow-unknown", false, "pull it though nothing is known of the application")
	format := output(c, view.Formats...)
	ask.check = append(ask.check, func() error {
		if value != "" && (body.Empty || body.Error != "") || body.Empty && body.Error != "" {
			return errors.New("callers get one thing: give one of --value, --empty and --error")
		}
		if lasts != 0 && until != "" {
			return errors.New("--for and --until say the same thing: give one")
		}
		if value != "" && !json.Valid([]byte(value)) {
			return fmt.Errorf("--value %s is no JSON: text stands in double quotes, as in --value '\"closed\"'", value)
		}
		if cached < 0 {
			return fmt.Errorf("--cached %s is no age", cached)
		}
		if lasts < 0 {
			return fmt.Errorf("--for %s is over already", lasts)
		}
		if until != "" {
			t, err := time.Parse(time.RFC3339, until)
			if err != nil {
				return fmt.Errorf("--until %q is no time: write it as 2026-11-20T15:00:00Z", until)
			}
			body.Until = t
		}
		return nil
	})
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var err error
		if body.Target, err = readTarget(args[0], *at, *from); err != nil {
			return err
		}
		body.For = governance.Duration(lasts)
		if value != "" {
			body.Value = json.RawMessage(value)
		}
		if cached > 0 {
			body.Cached = &governance.Cached{MaxAge: governance.Duration(cached)}
		}
		q := url.Values{}
		if allow {
			q.Set("allowUnknown", "true")
		}
		var done api.PolicyAnswer
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: switchesPath, Query: q, Body: body, Reason: *reason}, &done); err != nil {
			return err
		}
		if err := m.written(ctx, cl, "pulled", &done, *wait, *format); err != nil || *format != view.Table {
			return err
		}
		if e := done.Policy.Expires; !e.IsZero() {
			fmt.Fprintf(m.Stdout, "releases by itself at %s, where Weir's SDK runs even if this control plane is gone\n", clockText(e))
		} else {
			fmt.Fprintf(m.Stdout, "stays until it is released: weir switch release %s --reason …\n", done.Policy.Key())
		}
		return nil
	})
	return c
}

func (m *Main) switchRelease() *cobra.Command {
	c := &cobra.Command{
		Use:   "release NAMESPACE/APP/COMMAND | NAMESPACE/NAME",
		Short: "Release a switch",
		Long: `Release ends a switch, named as it was pulled, or by its own name. It waits for
the instances to confirm.`,
		Example: `  weir switch release shop/inventory/InventoryService.reserve --reason "warehouse is back"
  weir switch release shop/inventory.InventoryService.reserve.switch --reason "warehouse is back"`,
		Args: cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason, wait := ask.reason(), waitFlag(c)
	at, from := targetFlags(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		target, err := readTarget(args[0], *at, *from)
		if err != nil {
			return err
		}
		key := governance.Key{Namespace: target.App.Namespace, Name: target.App.Name}
		byTarget := governance.Policy{Kind: governance.KindSwitch, Target: target}.WithDefaults().Key()
		if target.Command != "" {
			key = byTarget
		}
		var done api.PolicyAnswer
		release := func(key governance.Key) error {
			_, err := cl.Do(ctx, client.Request{Method: http.MethodDelete, Path: client.Path(switchesPath, key.Namespace, key.Name), Reason: *reason}, &done)
			return err
		}
		err = release(key)
		if client.Status(err) == http.StatusNotFound && key != byTarget {
			err = release(byTarget) // of a whole application, named by that
		}
		if err != nil {
			return err
		}
		return m.written(ctx, cl, "released", &done, *wait, *format)
	})
	return c
}

func (m *Main) switchList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the switches that are pulled",
		Long:  "List shows every switch that is pulled: what callers get, who pulled it and why, how many of the live instances have confirmed it and which have not, and when it releases by itself.",
		Example: `  weir switch list
  weir switch list -n shop -o json`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	var namespace string
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		q := url.Values{}
		setIf(q, "namespace", namespace)
		var list api.PolicyList
		if _, err := cl.Do(ctx, client.Request{Path: switchesPath, Query: q}, &list); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(list.Items))
		for _, p := range list.Items {
			answers := "what the service has"
			if f := p.Policy.Fallback; f != nil {
				answers = strings.TrimPrefix(fallbackText(*f), "answers ")
			}
			rows = append(rows, view.Row{p.Policy.Key().String(), targetText(p.Policy.Target), answers, confirmedText(p), or(missing(p.Confirmation), "-"), endText(p.Policy.Expires), p.Actor, oneLine(p.Reason)})
		}
		return show(m, *format, list, view.Row{"SWITCH", "REFUSES", "ANSWERS", "CONFIRMED", "NOT BY", "RELEASES", "BY", "WHY"}, rows)
	})
	return c
}

// missing names the instances that have not confirmed.
func missing(c *api.Confirmation) string {
	if c == nil {
		return ""
	}
	var names []string
	for _, i := range c.Instances {
		if i.State != api.Confirmed {
			names = append(names, or(i.Name, i.Instance))
		}
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("and %d more", len(names)-3))
	}
	return strings.Join(names, ", ")
}
