package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/tools/devcluster/internal/image"
)

func newMakeImage() *cobra.Command {
	var (
		trees, entrypoint []string
		out               string
	)
	c := &cobra.Command{
		Use:   "make-image NAME --layer DIR --entrypoint CMD --out FILE.tar",
		Short: "Make an image archive of directories, without Docker",
		Long: `Make-image writes an image as an archive, an OCI layout that load-image and up
take. Each directory becomes a layer with its contents at the image's root, the
first the lowest; images with layers in common share them in the cluster. The
image runs as user 65532. Equal contents give an equal archive.

For a static binary alone no archive is needed: load-image takes it as it is.`,
		Example: `  devcluster make-image shop.example/catalogue:dev --layer jre --layer catalogue \
      --entrypoint /opt/java/bin/java,-jar,/app/catalogue.jar --out catalogue.tar
  devcluster load-image shop.example/catalogue:dev --dir ./cluster --tar catalogue.tar`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("make-image wants one image name, such as shop.example/catalogue:dev")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			archive, err := image.NewOfTrees(args[0], trees, entrypoint)
			if err != nil {
				return err
			}
			// Nobody is to find half an archive.
			f, err := os.CreateTemp(filepath.Dir(out), ".make-image-")
			if err != nil {
				return fmt.Errorf("write the archive: %w; name its file with --out", err)
			}
			_, err = archive.WriteTo(f)
			err = errors.Join(err, f.Close())
			if err == nil {
				err = os.Chmod(f.Name(), 0o644)
			}
			if err == nil {
				err = os.Rename(f.Name(), out)
			}
			if err != nil {
				return fmt.Errorf("write the archive: %w", errors.Join(err, os.Remove(f.Name())))
			}
			fmt.Fprintf(c.OutOrStdout(), "made %s %s\n", archive.Name, archive.Digest)
			return nil
		},
	}
	f := c.Flags()
	f.StringArrayVar(&trees, "layer", nil, "directory that becomes a layer; may be repeated")
	f.StringSliceVar(&entrypoint, "entrypoint", nil, "command of the image, separated by commas")
	f.StringVar(&out, "out", "", "file to write, which has to end in .tar for up")
	_ = c.MarkFlagRequired("out") // it exists
	return c
}
