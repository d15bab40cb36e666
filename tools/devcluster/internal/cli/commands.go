package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/image"
	"github.com/weirmesh/weir/tools/devcluster/internal/pki"
	"github.com/weirmesh/weir/tools/devcluster/internal/supervisor"
)

// downTimeout is well above what a cluster takes to end.
const downTimeout = 15 * time.Second

func newDown() *cobra.Command {
	var (
		dir   string
		purge bool
	)
	c := &cobra.Command{
		Use:   "down --dir DIR",
		Short: "Stop a cluster and sweep what it left",
		Long: `Down ends the cluster in DIR if it runs, and removes what a killed one left
outside DIR: its processes, its interface and its cgroups, and nothing else.
Its data stay for the next up, unless --purge removes them.`,
		Example: `  devcluster down --dir ./cluster
  devcluster down --dir ./cluster --purge`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), downTimeout)
			defer cancel()
			stopped, err := supervisor.Down(ctx, dir, purge)
			if err != nil {
				return err
			}
			what := "was not running"
			if stopped {
				what = "stopped"
			}
			data := "its data stay in " + dir
			if purge {
				data = "its data are removed"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s; %s\n", what, data)
			return nil
		},
	}
	addDir(c, &dir)
	c.Flags().BoolVar(&purge, "purge", false, "remove the cluster's data as well")
	return c
}

func newStatus() *cobra.Command {
	var dir, output string
	c := &cobra.Command{
		Use:   "status --dir DIR",
		Short: "Show where a cluster stands",
		Long: `Status shows the parts of the running cluster in DIR with their processes,
addresses and memory. It fails if the cluster is not running.`,
		Example: `  devcluster status --dir ./cluster
  devcluster status --dir ./cluster --output json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			_, st, err := running(c.Context(), dir)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(st)
			}
			printStatus(c.OutOrStdout(), st)
			return nil
		},
	}
	addDir(c, &dir)
	addOutput(c, &output)
	return c
}

func running(ctx context.Context, path string) (cluster.Dir, supervisor.Status, error) {
	dir, err := cluster.FindDir(path)
	if err != nil {
		return "", supervisor.Status{}, err
	}
	st, err := supervisor.NewClient(dir).Status(ctx)
	if errors.Is(err, supervisor.ErrNotRunning) {
		err = fmt.Errorf("the cluster in %s is not running: start it with `devcluster up --dir %s`", dir, dir)
	}
	return dir, st, err
}

func printStatus(w io.Writer, st supervisor.Status) {
	state := "ready"
	if !st.Ready {
		state = "not ready"
	}
	fmt.Fprintf(w, "%s  %s  Kubernetes %s at %s, up %s, pid %d\n", st.Name, state, st.Version, st.Server, time.Since(st.Since).Round(time.Second), st.PID)
	fmt.Fprintf(w, "kubeconfig %s\n", st.Kubeconfig)
	if st.Mode == cluster.WithNode {
		fmt.Fprintf(w, "slot %d: node %s, host %s, pods %s, Services %s, DNS %s\n", st.Slot, st.NodeIP, st.HostIP, st.PodCIDR, st.ServiceCIDR, st.DNSIP)
	}
	fmt.Fprintf(w, "%d processes, %d MiB\n\n", st.Processes, st.Memory>>20)
	for _, p := range st.Parts {
		fmt.Fprintf(w, "%-14s %s\n", p.Part, p.State)
		for _, m := range p.Processes {
			line := fmt.Sprintf("  %-13s %-9s", m.Name, m.State)
			if m.PID != 0 {
				line += fmt.Sprintf(" pid %d", m.PID)
			}
			if m.Restarts > 0 {
				line += fmt.Sprintf(", %d restarts", m.Restarts)
			}
			if m.Detail != "" {
				line += "  " + indent(m.Detail)
			}
			fmt.Fprintln(w, line)
		}
	}
}

func newLoadImage() *cobra.Command {
	var (
		dir, binary, tar string
		files            []string
		entrypoint       []string
	)
	c := &cobra.Command{
		Use:   "load-image NAME --dir DIR (--binary PATH | --tar PATH)",
		Short: "Bring an image into a running cluster",
		Long: `Load-image makes an image of a static binary, without Docker, and gives it to
the cluster's containerd; an image whose contents are there already is left
alone. The binary becomes /app and runs as user 65532. With --tar it loads an
archive (an OCI layout, or what docker save writes).

Pods must not pull such an image: leave imagePullPolicy out, or set it to
IfNotPresent or Never, and give the image a tag other than latest.`,
		Example: `  CGO_ENABLED=0 go build -o bin/orders ./orders
  devcluster load-image shop.example/orders:dev --dir ./cluster --binary bin/orders
  devcluster load-image shop.example/orders:dev --dir ./cluster --binary bin/orders \
      --file orders.yaml=/etc/orders.yaml --entrypoint /app,--config,/etc/orders.yaml
  devcluster load-image shop.example/orders:dev --dir ./cluster --tar orders.tar`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("load-image wants one image name, such as shop.example/orders:dev")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if (binary == "") == (tar == "") {
				return errors.New("load-image wants either --binary or --tar")
			}
			var archive *image.Archive
			if binary != "" {
				b := image.Build{Binary: binary, Entrypoint: entrypoint, Files: map[string]string{}}
				for _, f := range files {
					host, in, ok := strings.Cut(f, "=")
					if !ok {
						return fmt.Errorf("--file %q is not HOST=/IN/IMAGE: give a file's path and its place in the image", f)
					}
					b.Files[in] = host
				}
				var err error
				if archive, err = image.New(args[0], b); err != nil {
					return err
				}
			}
			_, st, err := running(c.Context(), dir)
			if err != nil {
				return err
			}
			if st.Mode != cluster.WithNode {
				return errors.New("this cluster has no node to run images: start one without --control-plane-only")
			}
			containerd := supervisor.Containerd(st.Containerd.Tools, st.Containerd.NodePID, st.Containerd.Snapshotter)
			if archive == nil {
				if err := containerd.LoadTar(c.Context(), args[0], tar); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "loaded %s\n", args[0])
				return nil
			}
			loaded, err := containerd.Load(c.Context(), archive)
			if err != nil {
				return err
			}
			verb := "unchanged"
			if loaded {
				verb = "loaded"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s %s %s\n", verb, archive.Name, archive.Digest)
			return nil
		},
	}
	addDir(c, &dir)
	f := c.Flags()
	f.StringVar(&binary, "binary", "", "static Linux binary to make the image of")
	f.StringVar(&tar, "tar", "", "image archive to load instead")
	f.StringArrayVar(&files, "file", nil, "HOST=/IN/IMAGE: another file for the image; may be repeated")
	f.StringSliceVar(&entrypoint, "entrypoint", nil, "command of the image, separated by commas; its first element is the binary's place (default /app)")
	c.MarkFlagsMutuallyExclusive("tar", "file")
	c.MarkFlagsMutuallyExclusive("tar", "entrypoint")
	return c
}

func newFault() *cobra.Command {
	var (
		dir string
		d   time.Duration
	)
	names := slices.Sorted(maps.Keys(supervisor.Faults))
	c := &cobra.Command{
		Use:   "fault PROCESS --dir DIR --for DURATION",
		Short: "Kill a part of a running cluster and keep it down for a while",
		Long: `Fault kills a process of the cluster with SIGKILL and holds its restart, to
show what an outage does. PROCESS is one of ` + strings.Join(names, ", ") + `.
The API server shares its process with etcd, the controllers and the scheduler.`,
		Example:   "  devcluster fault apiserver --dir ./cluster --for 60s",
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || supervisor.Faults[args[0]] == "" {
				return fmt.Errorf("fault wants one of %s", strings.Join(names, ", "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if d <= 0 {
				return fmt.Errorf("--for %s is no outage: give a duration such as 60s", d)
			}
			path, _, err := running(c.Context(), dir)
			if err != nil {
				return err
			}
			if err := supervisor.NewClient(path).Fault(c.Context(), supervisor.Faults[args[0]], d); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is down for %s\n", args[0], d)
			return nil
		},
	}
	addDir(c, &dir)
	c.Flags().DurationVar(&d, "for", time.Minute, "how long it stays down")
	return c
}

func newKubeconfig() *cobra.Command {
	var (
		dir, user string
		groups    []string
		life      time.Duration
	)
	c := &cobra.Command{
		Use:   "kubeconfig --dir DIR --user NAME",
		Short: "Print a kubeconfig for a user of one's choosing",
		Long: `Kubeconfig prints a kubeconfig whose certificate says that its holder is the
named user in the named groups. What the user may do is up to the cluster's
RBAC: without a binding, nothing.`,
		Example: `  devcluster kubeconfig --dir ./cluster --user ann --group developers > ann.kubeconfig
  kubectl --kubeconfig ann.kubeconfig auth can-i get pods`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if user == "" {
				return errors.New("no user given: name one with --user")
			}
			path, err := cluster.FindDir(dir)
			if err != nil {
				return err
			}
			r, ok, err := path.Record()
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("there is no cluster in %s: start one with `devcluster up --dir %s`", path, path)
			}
			n := cluster.ControlPlaneNetwork()
			if r.Mode == cluster.WithNode {
				if n, err = cluster.SlotNetwork(r.Slot); err != nil {
					return err
				}
			}
			b, err := pki.User(path.PKI(), supervisor.Plan(r.Name, r.Mode, n, r.Port), user, groups, life, time.Now())
			if errors.Is(err, os.ErrPermission) {
				return fmt.Errorf("the cluster in %s is another user's: call as that user, or with sudo", path)
			}
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
	addDir(c, &dir)
	f := c.Flags()
	f.StringVar(&user, "user", "", "name of the user (required)")
	f.StringArrayVar(&groups, "group", nil, "group of the user; may be repeated")
	f.DurationVar(&life, "valid", 24*time.Hour, "how long the certificate is valid")
	return c
}
