package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/internal/httpapi"
)

const policiesPath = "/api/v1/policies"

func (m *Main) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "List, publish and explain policies of breakers, timeouts, bulkheads and fallbacks",
		Long: `Policy manages what running services obey: circuit breakers, timeouts, bulkheads
and fallbacks. A published policy is in force in every live instance within
moments, without a restart, and each instance says that it is.

A policy is about the commands of one application, and is enforced in its own
instances (at: provider) or in those that call it (at: caller).`,
		Example: `  weir policy list
  weir policy publish -f reserve.yaml --reason INC-2211 --wait 5s
  weir policy explain shop/inventory/InventoryService.reserve`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.policyList(), m.policyGet(), m.policyPublish(), m.policyDelete(), m.policyVersions(), m.policyRollback(), m.policyStatus(), m.policyExplain())
	return c
}

// policyPath is the address of the policy that an argument names.
func policyPath(arg string) (string, error) {
	key, err := governance.ParseApp(arg)
	if err != nil {
		return "", usage(fmt.Errorf("%q is no policy: write namespace/name, as `weir policy list` does", arg))
	}
	return client.Path(policiesPath, key.Namespace, key.Name), nil
}

func (m *Main) policyList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the policies in force, with how many instances have confirmed each",
		Long:  "List shows policies and switches: what each says, where it is enforced, and how many of the live instances that have to enforce it do.",
		Example: `  weir policy list
  weir policy list -n shop --expired
  weir policy list --app shop/inventory -o yaml`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	var namespace, app string
	var expired bool
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	c.Flags().StringVar(&app, "app", "", "only policies about this application, as namespace/name")
	c.Flags().BoolVar(&expired, "expired", false, "also those that have expired")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		q := url.Values{"status": {"true"}, "expired": {strconv.FormatBool(expired)}}
		setIf(q, "namespace", namespace)
		setIf(q, "app", app)
		var list api.PolicyList
		if _, err := cl.Do(ctx, client.Request{Path: policiesPath, Query: q}, &list); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(list.Items))
		for _, p := range list.Items {
			rows = append(rows, view.Row{p.Policy.Key().String(), string(p.Policy.Kind), strconv.FormatInt(p.Version.Version, 10), targetText(p.Policy.Target), rulesText(p.Policy.Rules), confirmedText(p), endText(p.Policy.Expires)})
		}
		return show(m, *format, list, view.Row{"POLICY", "KIND", "VERSION", "TARGET", "SAYS", "CONFIRMED", "EXPIRES"}, rows)
	})
	return c
}

func setIf(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func (m *Main) policyGet() *cobra.Command {
	c := &cobra.Command{
		Use:     "get NAMESPACE/NAME",
		Short:   "Print a policy as a document that can be published again",
		Long:    "Get prints the newest version of a policy: its document as YAML, or, with -o json, with its version, who wrote it and why.",
		Example: "  weir policy get shop/inventory.InventoryService.reserve > reserve.yaml",
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	format := output(c, string(view.YAML), string(view.JSON))
	*format = view.YAML
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		path, err := policyPath(args[0])
		if err != nil {
			return err
		}
		var p api.PolicyAnswer
		if _, err := cl.Do(ctx, client.Request{Path: path}, &p); err != nil {
			return err
		}
		if *format == view.JSON {
			return view.Encode(m.Stdout, view.JSON, p)
		}
		fmt.Fprintf(m.Stdout, "# version %d, %s by %s: %s\n", p.Version.Version, p.Created.Local().Format(time.DateTime), p.Actor, oneLine(p.Reason))
		return view.Encode(m.Stdout, view.YAML, p.Policy)
	})
	return c
}

// readPolicies reads documents from files or, for "-", standard input.
func (m *Main) readPolicies(files []string) ([]governance.Policy, error) {
	var out []governance.Policy
	for _, name := range files {
		var raw []byte
		var err error
		if name == "-" {
			raw, err = io.ReadAll(m.Stdin)
		} else {
			raw, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, usage(fmt.Errorf("read a policy: %w", err))
		}
		for n, doc := range bytes.Split(append([]byte("\n"), raw...), []byte("\n---")) {
			if len(bytes.TrimSpace(doc)) == 0 {
				continue
			}
			p, err := decodePolicy(doc)
			if err != nil {
				return nil, usage(fmt.Errorf("%s, document %d: %w", name, n+1, err))
			}
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, usage(errors.New("there is no policy in these files: name one with -f"))
	}
	return out, nil
}

func decodePolicy(doc []byte) (governance.Policy, error) {
	var p governance.Policy
	raw, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return p, fmt.Errorf("it is no YAML: %w", err)
	}
	// One caller may be written without a list.
	var loose map[string]any
	if err := yaml.Unmarshal(doc, &loose); err == nil {
		if target, ok := loose["target"].(map[string]any); ok {
			if from, ok := target["from"].(string); ok {
				target["from"] = []string{from}
				if raw, err = yaml.Marshal(loose); err == nil {
					raw, err = yaml.YAMLToJSONStrict(raw)
				}
				if err != nil {
					return p, err
				}
			}
		}
	}
	if err := httpapi.DecodeBytes(raw, &p); err != nil {
		return p, err
	}
	return p, p.WithDefaults().Validate()
}

func (m *Main) policyPublish() *cobra.Command {
	c := &cobra.Command{
		Use:   "publish -f FILE",
		Short: "Publish policies from files",
		Long: `Publish writes each document of the files as a new version of its policy. A
document that names itself not is called after its target.

With --wait it shows how the live instances confirm, until all have or the time is
over. With --dry-run nothing is written: it shows what would be replaced, and how
many instances would have to enforce it.`,
		Example: `  weir policy publish -f reserve.yaml --reason INC-2211 --wait 5s
  weir policy publish -f policies.yaml --dry-run
  weir policy get shop/inventory.all | sed s/800ms/500ms/ | weir policy publish -f - --reason "tighter"`,
		Args: cobra.NoArgs,
	}
	ask := m.askAPI(c)
	var files []string
	var dry, allow bool
	var expect int64
	reason := c.Flags().String("reason", "", "why this is done; it is kept in the history (required without --dry-run)")
	c.Flags().StringSliceVarP(&files, "file", "f", nil, "file with documents in YAML or JSON; - for standard input (repeatable)")
	c.Flags().BoolVar(&dry, "dry-run", false, "write nothing, and show what would be written")
	c.Flags().BoolVar(&allow, "allow-unknown", false, "publish it though nothing is known of the application, which may come later")
	c.Flags().Int64Var(&expect, "expect", governance.AnyVersion, "version that the policy must be in, 0 for none; only for one document")
	wait := waitFlag(c)
	format := output(c, view.Formats...)
	ask.check = append(ask.check, func() error {
		switch {
		case len(files) == 0:
			return errors.New("there is nothing to publish: name a file with -f")
		case !dry && strings.TrimSpace(*reason) == "":
			return errors.New("a write needs a reason: say why with --reason")
		}
		return nil
	})
	ask.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		policies, err := m.readPolicies(files)
		if err != nil {
			return err
		}
		if expect != governance.AnyVersion && len(policies) > 1 {
			return usage(errors.New("--expect is for one document: publish them one by one"))
		}
		all := make([]api.PolicyAnswer, 0, len(policies))
		for _, p := range policies {
			p = p.WithDefaults()
			q := url.Values{}
			if allow {
				q.Set("allowUnknown", "true")
			}
			if dry {
				var would api.PolicyAnswer
				if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: policiesPath + "/check", Query: q, Body: p}, &would); err != nil {
					return fmt.Errorf("%s: %w", p.Key(), err)
				}
				all = append(all, would)
				if *format == view.Table {
					m.showDryRun(would)
				}
				continue
			}
			req := client.Request{Method: http.MethodPut, Path: client.Path(policiesPath, p.Namespace, p.Name), Query: q, Body: p, Reason: *reason, Header: expected(expect)}
			var done api.PolicyAnswer
			if _, err := cl.Do(ctx, req, &done); err != nil {
				return fmt.Errorf("%s: %w", p.Key(), err)
			}
			if *format == view.Table {
				fmt.Fprintf(m.Stdout, "published %s, version %d\n", done.Policy.Key(), done.Version.Version)
			}
			if err := m.awaitConfirmation(ctx, cl, &done, *wait, *format == view.Table); err != nil {
				return err
			}
			all = append(all, done)
		}
		if *format == view.Table {
			return nil
		}
		return view.Encode(m.Stdout, *format, map[string]any{"items": all})
	})
	return c
}

func expected(version int64) http.Header {
	switch {
	case version == 0:
		return http.Header{"If-None-Match": {"*"}}
	case version > 0:
		return http.Header{"If-Match": {httpapi.ETag(version)}}
	}
	return nil
}

func (m *Main) showDryRun(p api.PolicyAnswer) {
	sign, what := "+", "new"
	if p.Version.Version > 0 {
		sign, what = "~", fmt.Sprintf("replaces version %d", p.Version.Version)
	}
	fmt.Fprintf(m.Stdout, "%s %s   %s; %s: %s; %s\n", sign, p.Policy.Key(), what, targetText(p.Policy.Target), rulesText(p.Policy.Rules), instancesText(p.Confirmation.Live, "would have to enforce it"))
	m.showWarnings(p.Warnings)
}

func instancesText(n int, rest string) string {
	if n == 1 {
		return "1 live instance " + rest
	}
	return fmt.Sprintf("%d live instances %s", n, rest)
}

func (m *Main) showWarnings(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(m.Stderr, "! "+w)
	}
}

func (m *Main) policyDelete() *cobra.Command {
	c := &cobra.Command{
		Use:     "delete NAMESPACE/NAME",
		Short:   "End a policy",
		Long:    "Delete ends a policy. Its versions stay, and `weir policy rollback` brings one back.",
		Example: `  weir policy delete shop/inventory.all --reason "no longer needed"`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason, wait := ask.reason(), waitFlag(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		path, err := policyPath(args[0])
		if err != nil {
			return err
		}
		var done api.PolicyAnswer
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodDelete, Path: path, Reason: *reason}, &done); err != nil {
			return err
		}
		return m.written(ctx, cl, "ended", &done, *wait, *format)
	})
	return c
}

func (m *Main) policyVersions() *cobra.Command {
	c := &cobra.Command{
		Use:     "versions NAMESPACE/NAME",
		Short:   "List the versions of a policy: who wrote each, when and why",
		Long:    "Versions lists every version of a policy, the newest first, also of one that was deleted.",
		Example: "  weir policy versions shop/inventory.all",
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		path, err := policyPath(args[0])
		if err != nil {
			return err
		}
		var list struct {
			Items []governance.Version `json:"items"`
		}
		if _, err := cl.Do(ctx, client.Request{Path: path + "/versions"}, &list); err != nil {
			return err
		}
		rows := make([]view.Row, 0, len(list.Items))
		for _, v := range list.Items {
			says := rulesText(v.Policy.Rules)
			if v.Deleted {
				says = "ended"
			}
			rows = append(rows, view.Row{strconv.FormatInt(v.Version, 10), v.Created.Local().Format(time.DateTime), v.Actor, says, oneLine(v.Reason)})
		}
		return show(m, *format, list, view.Row{"VERSION", "WRITTEN", "BY", "SAYS", "WHY"}, rows)
	})
	return c
}

func (m *Main) policyRollback() *cobra.Command {
	c := &cobra.Command{
		Use:     "rollback NAMESPACE/NAME --to VERSION",
		Short:   "Write an earlier version of a policy again, as a new one",
		Long:    "Rollback publishes the document of an earlier version. It is a new version, so that it can be rolled back too.",
		Example: `  weir policy rollback shop/inventory.all --to 12 --reason "INC-2211: too tight"`,
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	reason, wait := ask.reason(), waitFlag(c)
	to := c.Flags().Int64("to", 0, "version to write again (required)")
	format := output(c, view.Formats...)
	ask.check = append(ask.check, func() error {
		if *to < 1 {
			return errors.New("say which version with --to: `weir policy versions` lists them")
		}
		return nil
	})
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		path, err := policyPath(args[0])
		if err != nil {
			return err
		}
		var done api.PolicyAnswer
		q := url.Values{"to": {strconv.FormatInt(*to, 10)}}
		if _, err := cl.Do(ctx, client.Request{Method: http.MethodPost, Path: path + "/rollback", Query: q, Reason: *reason}, &done); err != nil {
			return err
		}
		return m.written(ctx, cl, fmt.Sprintf("rolled back to version %d:", *to), &done, *wait, *format)
	})
	return c
}

func (m *Main) policyStatus() *cobra.Command {
	c := &cobra.Command{
		Use:     "status NAMESPACE/NAME",
		Short:   "Show which instances enforce the newest version of a policy",
		Long:    "Status shows each live instance that has to enforce a policy: whether it has confirmed it, which version of the policies it enforces, and why if it refuses.",
		Example: "  weir policy status shop/inventory.all",
		Args:    cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		path, err := policyPath(args[0])
		if err != nil {
			return err
		}
		var s api.Confirmation
		if _, err := cl.Do(ctx, client.Request{Path: path + "/status"}, &s); err != nil {
			return err
		}
		if *format == view.Table {
			fmt.Fprintf(m.Stdout, "version %d: %d of %d confirmed\n", s.Version, s.Confirmed, s.Live)
			if s.Note != "" {
				_, err := fmt.Fprintln(m.Stdout, s.Note)
				return err
			}
		}
		rows := make([]view.Row, 0, len(s.Instances))
		for _, i := range s.Instances {
			rows = append(rows, view.Row{or(i.Name, i.Instance), i.App.String(), i.State, strconv.FormatInt(i.Applied, 10), strconv.FormatInt(i.Wanted, 10), or(oneLine(i.Reason), "-")})
		}
		return show(m, *format, s, view.Row{"INSTANCE", "APPLICATION", "STATE", "ENFORCES", "SHOULD", "WHY NOT"}, rows)
	})
	return c
}

func (m *Main) policyExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain NAMESPACE/APP/COMMAND",
		Short: "Say which rules hold for a command, and by which policies",
		Long: `Explain joins all policies about a command as an instance does, and shows for
each field what holds and which policy set it, and what became of the others.`,
		Example: `  weir policy explain shop/inventory/InventoryService.reserve
  weir policy explain "shop/storefront/GET /cart/{id}" --at caller --from shop/orders`,
		Args: cobra.ExactArgs(1),
	}
	ask := m.askAPI(c)
	at := string(governance.Provider)
	var from string
	config.Choice(c.Flags(), &at, "at", "", []string{string(governance.Provider), string(governance.Caller)}, "the side of the call")
	c.Flags().StringVar(&from, "from", "", "at the caller: the application that calls, as namespace/name")
	format := output(c, view.Formats...)
	ask.run(func(ctx context.Context, cl *client.Client, args []string) error {
		app, command, err := splitTarget(args[0])
		if err != nil {
			return err
		}
		if command == "" {
			return usage(fmt.Errorf("%q names no command: write namespace/app/command", args[0]))
		}
		q := url.Values{"command": {command}, "at": {at}}
		setIf(q, "from", from)
		var e api.Explanation
		if _, err := cl.Do(ctx, client.Request{Path: client.Path("/api/v1/apps", app.Namespace, app.Name) + "/explain", Query: q}, &e); err != nil {
			return err
		}
		if *format != view.Table {
			return view.Encode(m.Stdout, *format, e)
		}
		return m.showExplanation(e)
	})
	return c
}

func (m *Main) showExplanation(e api.Explanation) error {
	if e.Note != "" {
		fmt.Fprintln(m.Stdout, e.Note)
	} else {
		fmt.Fprintln(m.Stdout, rulesText(e.Rules))
	}
	if !e.Until.IsZero() {
		fmt.Fprintln(m.Stdout, "until "+clockText(e.Until))
	}
	fields := make([]string, 0, len(e.Sources))
	for f := range e.Sources {
		fields = append(fields, f)
	}
	slices.Sort(fields)
	rows := make([]view.Row, 0, len(fields))
	for _, f := range fields {
		rows = append(rows, view.Row{f, e.Sources[f].Policy, strconv.FormatInt(e.Sources[f].Version, 10)})
	}
	if len(rows) > 0 {
		fmt.Fprintln(m.Stdout)
		if err := view.WriteTable(m.Stdout, view.Row{"FIELD", "SET BY", "VERSION"}, rows); err != nil {
			return err
		}
	}
	if len(e.Considered) == 0 {
		return nil
	}
	fmt.Fprintln(m.Stdout)
	rows = rows[:0]
	for _, c := range e.Considered {
		rows = append(rows, view.Row{c.Policy, strconv.FormatInt(c.Version, 10), c.Verdict})
	}
	return view.WriteTable(m.Stdout, view.Row{"POLICY", "VERSION", "VERDICT"}, rows)
}

// splitTarget reads namespace/app or namespace/app/command; a command may hold
// slashes of its own.
func splitTarget(arg string) (app governance.App, command string, err error) {
	parts := strings.SplitN(arg, "/", 3)
	if len(parts) < 2 || slices.Contains(parts, "") {
		return app, "", usage(fmt.Errorf("%q is no target: write namespace/app/command, such as shop/inventory/InventoryService.reserve, or namespace/app for all of its commands", arg))
	}
	app = governance.App{Namespace: parts[0], Name: parts[1]}
	if len(parts) == 3 {
		command = parts[2]
	}
	return app, command, nil
}
