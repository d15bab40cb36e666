package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/registry"
)

func (m *Main) explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain",
		Short: "Say why something is as it is",
		Long: `Explain says why an instance is called or not, and which route takes a request.
The console shows the same answers on the same objects.`,
		Example: `  weir explain instance shop/inventory/inventory-7d9f4-x2x8v
  weir explain route GET http://shop.example.com/shop/cart/42`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	route := m.routeExplain()
	route.Use = "route [METHOD] URL"
	route.Example = strings.ReplaceAll(route.Example, "weir route explain", "weir explain route")
	c.AddCommand(m.explainInstance(), route)
	return c
}

// registryExplain is explain instance where those look who have read the list of
// instances, and of a whole application too.
func (m *Main) registryExplain() *cobra.Command {
	c := m.explainInstance()
	c.Use = "explain NAMESPACE/NAME[/POD]"
	c.Short = "Say why instances are in their consumers' lists, or out of them"
	c.Example = strings.ReplaceAll(c.Example, "weir explain instance", "weir registry explain") + "\n  weir registry explain shop/inventory"
	return c
}

func (m *Main) explainInstance() *cobra.Command {
	cfg, fs := registrySettings()
	cfg.asConsumer(fs)
	c := &cobra.Command{
		Use:   "instance NAMESPACE/NAME[/POD]",
		Short: "Say why an instance is in its consumers' lists, or out of them",
		Long: `Explain instance goes through what has to hold for an instance to be called:
whether it is in its Service's endpoints, ready, and not on its way out, whether
it has registered itself, and whether that can be read. Of what does not hold it
says what follows, and what to do. It looks at the cluster itself, as the
commands of weir registry do, and also explains a pod that is missing.

The last part is the pod's name, or the instance's id; without it every instance
of the application is explained.`,
		Example: `  weir explain instance shop/inventory/inventory-7d9f4-x2x8v
  weir explain instance shop/inventory/inventory-7d9f4-x2x8v -o json`,
		Args: cobra.ExactArgs(1),
	}
	addSettings(c, fs)
	format := output(c, view.Formats...)
	c.RunE = func(c *cobra.Command, args []string) error {
		parts := strings.Split(args[0], "/")
		if len(parts) < 2 || len(parts) > 3 || parts[len(parts)-1] == "" {
			return usage(fmt.Errorf("%q names no instance: write it as NAMESPACE/NAME/POD, such as shop/inventory/inventory-7d9f4-x2x8v, or NAMESPACE/NAME for all", args[0]))
		}
		app := registry.App{Namespace: parts[0], Name: parts[1]}
		if err := app.Validate(); err != nil {
			return usage(err)
		}
		return m.withRegistry(c, cfg, fs, []string{app.Namespace}, func(ctx context.Context, r *opened) error {
			if len(parts) == 2 {
				return r.instances(ctx, m.Stdout, app, *format)
			}
			return r.instance(ctx, m.Stdout, app, parts[2], *format)
		})
	}
	return c
}
