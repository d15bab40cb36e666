package cli

import (
	"bytes"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/internal/config"
)

func (m *Main) openapiCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "openapi",
		Short: "Print the description of the APIs, for generators of clients",
		Long: `Openapi prints the OpenAPI 3.1 document of all APIs of the control plane, the
same that a running one serves at /openapi.json. Clients are generated from it;
the types of the console are. It needs no control plane, no database and no
network.`,
		Example: `  weir openapi > openapi.json
  weir openapi -o yaml | less`,
		Args: cobra.NoArgs,
	}
	format := string(view.JSON)
	config.Choice(c.Flags(), &format, "output", "o", []string{string(view.JSON), string(view.YAML)}, "how to write the document")
	c.RunE = func(c *cobra.Command, _ []string) error {
		doc, err := role.Describe(c.Context(), m.Version)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if format == string(view.YAML) {
			raw, err := doc.YAML()
			if err != nil {
				return err
			}
			out.Write(raw)
		} else {
			raw, err := doc.MarshalJSON()
			if err != nil {
				return err
			}
			if err := json.Indent(&out, raw, "", "  "); err != nil {
				return err
			}
			out.WriteByte('\n')
		}
		_, err = out.WriteTo(m.Stdout)
		return err
	}
	return c
}
