package cli

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/deploy"
	"github.com/weirmesh/weir/internal/config"
)

func (m *Main) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Version prints what this program is, what it was built with, and the libraries that speak to others.",
		Example: "  weir version",
		Args:    cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		fmt.Fprintf(m.Stdout, "weir %s\n%s %s/%s\n", m.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		info, ok := debug.ReadBuildInfo()
		if !ok {
			return nil
		}
		for _, d := range info.Deps {
			switch d.Path {
			case "k8s.io/client-go", "github.com/jackc/pgx/v5", "dubbo.apache.org/dubbo-go/v3":
				fmt.Fprintf(m.Stdout, "%s %s\n", d.Path, d.Version)
			}
		}
		return nil
	}
	return c
}

func (m *Main) manifestsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "manifests",
		Short: "Print what Weir needs in a cluster, for kubectl apply",
		Long: `Manifests prints the custom resource definitions, roles and admission policies
that Weir needs in a cluster. They are the same that ` + "`weir up --install`" + ` applies.
Applying them needs an administrator's rights; Weir itself does not.`,
		Example: `  weir manifests | kubectl apply --server-side -f -
  weir manifests > weir.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var b bytes.Buffer
			for i, manifest := range deploy.Manifests() {
				if i > 0 {
					b.WriteString("---\n")
				}
				b.Write(bytes.TrimSpace(manifest.YAML))
				b.WriteByte('\n')
			}
			_, err := m.Stdout.Write(b.Bytes())
			return err
		},
	}
}

func (m *Main) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Show the effective settings and where each comes from",
		Long: `Config shows the settings that a command would run with here and now, from the
environment, the file named by --config, and the defaults, and says where each
one comes from. Secrets are masked. It checks the values as the command would.`,
		Example: `  weir config
  weir config registry
  WEIR_DATA_DIR=/var/lib/weir weir config up -o json`,
	}
	names := make([]string, 0, len(allSettings()))
	for _, r := range allSettings() {
		names = append(names, r.name)
	}
	c.Use = "config [COMMAND]"
	c.ValidArgs = names
	c.Args = cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs)
	format := output(c, view.Formats...)
	c.RunE = func(c *cobra.Command, args []string) error {
		want := "up"
		if len(args) == 1 {
			want = args[0]
		}
		for _, r := range allSettings() {
			if r.name != want {
				continue
			}
			fs := pflag.NewFlagSet(r.name, pflag.ContinueOnError)
			check := r.bind(fs)
			values, err := m.load(c, fs)
			if err != nil {
				return err
			}
			if err := check(); err != nil {
				return usage(err)
			}
			return writeConfig(m, values, *format)
		}
		return nil
	}
	return c
}

func writeConfig(m *Main, values []config.Value, format view.Format) error {
	if format != view.Table {
		return view.Encode(m.Stdout, format, values)
	}
	rows := make([]view.Row, 0, len(values))
	for _, v := range values {
		value := v.Value
		if value == "" {
			value = "-"
		}
		rows = append(rows, view.Row{v.Name, value, v.Origin})
	}
	return view.WriteTable(m.Stdout, view.Row{"SETTING", "VALUE", "FROM"}, rows)
}
