package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/internal/run"
)

// kubernetes is the cluster: the user's, or a devcluster child of our own.
type kubernetes struct {
	up    *Up
	check *run.Check

	process *run.Process // nil for the user's cluster
	images  []string     // NAME=PATH of images to load into our own

	mu      sync.Mutex
	parts   map[string]string // states of the child's parts that are not ready
	order   []string
	last    string        // the child's last complaint
	summary *summary      // settled when ready closes
	ready   chan struct{} // closed once the child's cluster is ready
	client  *cluster.Client
}

// event is one line of `devcluster up --output json`.
type event struct {
	Part   string `json:"part"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	summary
}

// summary comes with the event that the cluster is ready.
type summary struct {
	Version    string `json:"version"`
	Mode       string `json:"mode"`
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
	// HostIP is this machine as pods see it; there is none without a node.
	HostIP netip.Addr `json:"hostIP,omitzero"`
}

func (k *kubernetes) part() run.Part {
	k.check = k.up.health.Check(partKubernetes, "starting")
	k.parts, k.ready = make(map[string]string), make(chan struct{})
	return run.Part{Name: partKubernetes, Start: k.start, Watch: k.watch, Stop: k.stop}
}

func (k *kubernetes) start(ctx context.Context) error {
	target := k.up.target
	if k.up.own() {
		if err := k.launch(ctx); err != nil {
			return err
		}
		var err error
		if target, err = cluster.FromFile(k.summary.Kubeconfig, "weir up in "+k.up.Config.DataDir); err != nil {
			return err
		}
	}
	client, err := cluster.Connect(target)
	if err != nil {
		return err
	}
	k.up.board.detail(partKubernetes, target.String())
	version, err := client.Version(ctx)
	if err != nil {
		return err
	}
	k.client = client
	k.check.OK()
	where := fmt.Sprintf("%s, %s", version, target)
	if k.up.own() {
		nodes := "1 node"
		if !k.up.Config.Node {
			nodes = "API server alone"
		}
		where = fmt.Sprintf("%s, %s, KUBECONFIG=%s", version, nodes, k.kubeconfig())
	}
	k.up.ready(partKubernetes, where)
	return nil
}

// kubeconfig is the path of our own cluster's kubeconfig, as short as it can be.
func (k *kubernetes) kubeconfig() string { return k.up.short(k.summary.Kubeconfig) }

// launch starts our own cluster and waits until it is ready.
func (k *kubernetes) launch(ctx context.Context) error {
	cfg := k.up.Config
	program, err := k.up.devcluster()
	if err != nil {
		return err
	}
	args := []string{"up", "--dir", cfg.data("devcluster"), "--name", "weir", "--output", "json"}
	if cfg.Node {
		args = append(args, "--slot", cfg.DevclusterSlot)
		for _, image := range k.images {
			args = append(args, "--load-image", image)
		}
	} else {
		args = append(args, "--control-plane-only")
	}
	k.process = run.NewProcess(run.Command{
		Name: "devcluster", Path: program, Args: args,
		LogFile:  cfg.data("log", "devcluster.log"),
		OnStdout: k.event, OnStderr: k.complaint,
	})
	if err := k.process.Start(ctx); err != nil {
		return err
	}
	select {
	case <-k.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-k.process.Done():
	}
	return k.died(ctx)
}

// died explains the child's end. While starting, its last complaint is a
// sentence for its user, in terms of its own flags.
func (k *kubernetes) died(ctx context.Context) error {
	err := k.process.Watch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	var exit *run.ExitError
	if k.last != "" && errors.As(err, &exit) && exit.State.ExitCode() == 1 {
		return errors.New(translate(k.last))
	}
	return err
}

// translate puts devcluster's advice in terms of weir's flags. Commands of
// devcluster itself stay as they are.
func translate(sentence string) string {
	return strings.NewReplacer(
		"devcluster down --dir", "devcluster down --dir",
		"--control-plane-only", "--node=false",
		"--slot", "--devcluster-slot",
		"--dir", "--data-dir",
		"devcluster up", "weir up",
	).Replace(sentence)
}

func (k *kubernetes) complaint(line string) {
	if sentence, ok := strings.CutPrefix(line, "devcluster: "); ok {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.last = sentence
	}
}

// event takes one line of the child's output.
func (k *kubernetes) event(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Part == "" {
		return // it is in the log
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.Part == "cluster" {
		if e.State == "ready" && k.summary == nil {
			k.summary = &e.summary
			close(k.ready)
		}
		return
	}
	what := e.Part
	if e.Part == "image" && e.Detail != "" {
		what = "image " + e.Detail
	}
	if e.State == "ready" {
		delete(k.parts, what)
	} else {
		if !slices.Contains(k.order, what) {
			k.order = append(k.order, what)
		}
		k.parts[what] = e.State
	}
	var text []string
	for _, part := range k.order {
		if state, ok := k.parts[part]; ok {
			text = append(text, part+" "+state)
		}
	}
	detail := strings.Join(text, ", ")
	switch {
	case k.summary == nil:
		k.up.set(partKubernetes, "starting", detail)
	case detail == "":
		k.check.OK()
		k.up.set(partKubernetes, "ready", "all parts run again")
	default:
		k.check.Fail(detail)
		if e.Detail != "" {
			detail += ": " + firstLine(e.Detail)
		}
		k.up.set(partKubernetes, "mending", detail)
	}
}

func (k *kubernetes) watch(ctx context.Context) error {
	if k.process == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return k.process.Watch(ctx)
}

func (k *kubernetes) stop(ctx context.Context) error {
	k.check.Fail("stopping")
	if k.process == nil {
		return nil
	}
	return k.process.Stop(ctx)
}

// devcluster finds the program that runs a cluster.
func (u *Up) devcluster() (string, error) {
	if named := u.Config.Devcluster; named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("--devcluster %s is no program that can be run: build it with `make build-devcluster`", named)
		}
		return filepath.Abs(path)
	}
	beside := filepath.Join(filepath.Dir(u.Executable), "devcluster")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	if path, err := exec.LookPath("devcluster"); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("there is no devcluster beside %s: build it with `make build-devcluster`, name it with --devcluster, or name your own cluster with --kubeconfig", u.Executable)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
