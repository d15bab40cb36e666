package up

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/cmd/weir/internal/routefile"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/registry"
)

// The shop's images are named after its programs.
const (
	shopImage = "shop.example/%s:dev"
	// binaryAnnotation on a pod template makes a rebuilt program a new rollout:
	// the image's name stays the same.
	binaryAnnotation = "shop.example/binary"
)

// shop is the example shop.
type shop struct {
	up         *Up
	kubernetes *kubernetes
	registrar  *registrar
	check      *run.Check
	console    *hosted
	needs      []string // besides the cluster, the registry and the console
	routes     []routefile.Route

	objects     []*unstructured.Unstructured
	deployments []*unstructured.Unstructured
	programs    map[string]string // paths by name
}

// findShop returns the shop if it is wanted and there; nil if it is neither.
func (u *Up) findShop() (*shop, error) {
	cfg := u.Config
	if cfg.Shop == no || cfg.Shop == auto && (!u.own() || !cfg.Node) {
		return nil, nil //nolint:nilnil // no shop is a usual answer
	}
	lacking := func(err error) (*shop, error) {
		if cfg.Shop == auto && len(cfg.ShopDir)+len(cfg.ShopBin) == 0 {
			u.noShop = err.Error()
			return nil, nil //nolint:nilnil // as above; the reader is told
		}
		return nil, err
	}
	s := &shop{up: u, programs: make(map[string]string)}
	manifests, err := u.shopManifests()
	if err != nil {
		return lacking(err)
	}
	for _, file := range manifests {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("the shop's manifests: %w; name their directory with --shop-dir", err)
		}
		objects, err := cluster.Decode(file, raw)
		if err != nil {
			return nil, fmt.Errorf("the shop's manifests: %w", err)
		}
		s.objects = append(s.objects, objects...)
	}
	for _, dir := range directories(manifests) {
		routes, err := findRoutes(dir)
		if err != nil {
			return nil, err
		}
		s.routes = append(s.routes, routes...)
	}
	slices.SortStableFunc(s.objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	for _, o := range s.objects {
		if o.GetKind() == "Deployment" {
			s.deployments = append(s.deployments, o)
		}
	}
	if !u.own() {
		return s, nil // its images are the user's affair
	}
	for _, d := range s.deployments {
		path, err := u.shopProgram(d.GetName())
		if err != nil {
			return lacking(err)
		}
		s.programs[d.GetName()] = path
		if err := stamp(d, path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// archive is the ending of a file that holds an image, in place of a program
// that one is made of.
const archive = ".tar"

// shopProgram finds what a Deployment runs: a static program of its name, or an
// image of it in an archive.
func (u *Up) shopProgram(name string) (string, error) {
	dirs := u.Config.ShopBin
	if len(dirs) == 0 {
		dirs = []string{filepath.Join(filepath.Dir(u.Executable), "shop")}
	}
	for _, dir := range dirs {
		for _, file := range []string{name, name + archive} {
			path := filepath.Join(dir, file)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is missing: build the shop with `make build-shop`, or name its directory with --shop-bin", u.short(filepath.Join(dirs[0], name)))
}

// shopManifests returns the files of the named directories, or of the first of
// the usual ones that has any.
func (u *Up) shopManifests() ([]string, error) {
	if named := u.Config.ShopDir; len(named) > 0 {
		var all []string
		for _, dir := range named {
			files, err := u.manifestsIn(dir)
			if err != nil {
				return nil, err
			}
			all = append(all, files...)
		}
		return all, nil
	}
	beside := filepath.Join("examples", "shop", "deploy")
	usual := filepath.Join(filepath.Dir(filepath.Dir(u.Executable)), beside)
	files, err := u.manifestsIn(usual)
	if err != nil {
		if here, herr := u.manifestsIn(beside); herr == nil {
			return here, nil
		}
	}
	return files, err
}

func (u *Up) manifestsIn(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("the shop's manifests: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no manifests of the shop in %s: name their directory with --shop-dir", u.short(dir))
	}
	slices.Sort(files)
	return files, nil
}

// directories returns those that files are in, each once, in the files' order.
func directories(files []string) []string {
	var dirs []string
	for _, file := range files {
		if dir := filepath.Dir(file); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// rank orders kinds so that what others need comes first.
func rank(o *unstructured.Unstructured) int {
	order := []string{"Namespace", "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret", "Service"}
	if i := slices.Index(order, o.GetKind()); i >= 0 {
		return i
	}
	return len(order)
}

// stamp notes a program's contents in the Deployment that runs it.
func stamp(deployment *unstructured.Unstructured, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the shop's programs: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("the shop's programs: %w", err)
	}
	return unstructured.SetNestedField(deployment.Object, hex.EncodeToString(sum.Sum(nil))[:16],
		"spec", "template", "metadata", "annotations", binaryAnnotation)
}

// images are the images that a cluster of our own has to load.
func (s *shop) images() []string {
	var out []string
	for _, name := range s.names() {
		if path := s.programs[name]; path != "" { // an archive names its image itself
			out = append(out, fmt.Sprintf(shopImage, name)+"="+path)
		}
	}
	return out
}

func (s *shop) names() []string {
	var out []string
	for _, d := range s.deployments {
		out = append(out, d.GetName())
	}
	slices.Sort(out)
	return out
}

func (s *shop) part() run.Part {
	s.check = s.up.health.Check(partShop, "starting")
	return run.Part{Name: partShop, Needs: append([]string{partKubernetes, partRegistry, partConsole}, s.needs...), Start: s.start, Watch: s.watch, Stop: s.stop}
}

func (s *shop) start(ctx context.Context) error {
	s.up.set(partShop, "starting", "writing its routes")
	if err := s.writeRoutes(ctx); err != nil {
		return err
	}
	s.up.set(partShop, "starting", "applying its manifests")
	client := s.kubernetes.client
	if err := client.Apply(ctx, s.objects); err != nil {
		return err
	}
	// What yesterday's objects say of pods holds until the node has looked at
	// them: in a cluster of our own only containers begun since then count.
	var since time.Time
	if s.up.own() {
		since = s.up.began
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := s.look(ctx, since)
		if err != nil && ctx.Err() == nil {
			// The API server may be away for a moment; the reader is told.
			s.up.board.detail(partShop, err.Error())
		}
		if err == nil {
			s.up.board.detail(partShop, state.text)
			if state.ready {
				s.check.OK()
				s.up.ready(partShop, state.text)
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// state is how far the shop is.
type state struct {
	ready bool
	text  string // "inventory 2 of 2, load 1 of 1, orders 0 of 1 (ImagePullBackOff)"
}

// look counts the pods of each Deployment that are ready.
func (s *shop) look(ctx context.Context, since time.Time) (state, error) {
	st := state{ready: true}
	var parts []string
	for _, d := range s.deployments {
		o, found, err := s.kubernetes.client.Get(ctx, d)
		if err != nil {
			return state{}, err
		}
		want := int64(1)
		settled := false
		if found {
			if n, ok, err := unstructured.NestedInt64(o.Object, "spec", "replicas"); err == nil && ok {
				want = n
			}
			observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			updated, _, _ := unstructured.NestedInt64(o.Object, "status", "updatedReplicas")
			settled = observed >= o.GetGeneration() && updated >= want
		}
		pods, err := s.kubernetes.client.Pods(ctx, d)
		if err != nil {
			return state{}, err
		}
		have, why := int64(0), ""
		for _, p := range pods {
			switch {
			case p.Ready && p.Started.Add(time.Second).After(since):
				have++ // container times have whole seconds
			case p.Why != "" && !p.Leaving:
				why = p.Why
			}
		}
		text := fmt.Sprintf("%s %d of %d", d.GetName(), min(have, want), want)
		if have < want || !settled {
			st.ready = false
			if why != "" {
				text += " (" + why + ")"
			}
		}
		parts = append(parts, text)
	}
	slices.Sort(parts)
	st.text = strings.Join(parts, ", ")
	return st, nil
}

// watch follows the shop: its calls, and which of its instances are called.
func (s *shop) watch(ctx context.Context) error {
	return follow(ctx, func(ctx context.Context) {
		text, err := s.status(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.check.Fail(err.Error())
			text = "cannot be asked: " + firstLine(err.Error())
		} else {
			s.check.OK()
		}
		s.up.board.show(fmt.Sprintf("%s  shop  %s", time.Now().Format(time.TimeOnly), text))
	})
}

// loadStats is the part of load's /stats that the status shows.
type loadStats struct {
	Load struct {
		Rate   float64 `json:"rate"`
		OK     int64   `json:"ok"`
		Failed int64   `json:"failed"`
	} `json:"load"`
	Made struct {
		ByClass map[string]int64 `json:"byClass"`
	} `json:"made"`
}

func (s *shop) status(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var parts []string
	stats, err := s.stats(ctx)
	if err == nil {
		parts = append(parts, fmt.Sprintf("%.1f orders/s, %d ok, %d failed", stats.Load.Rate, stats.Load.OK, stats.Load.Failed))
		for _, class := range sortedKeys(stats.Made.ByClass) {
			if n := stats.Made.ByClass[class]; class != "ok" && n > 0 {
				parts[0] += fmt.Sprintf(", %d %s", n, class)
			}
		}
	} else {
		parts = append(parts, "no counts ("+firstLine(err.Error())+")")
	}
	var called []string
	for _, d := range s.deployments {
		if !s.serves(d) {
			continue
		}
		have, all, err := s.registrar.callable(ctx, registry.App{Namespace: d.GetNamespace(), Name: d.GetName()})
		if err != nil {
			return "", err
		}
		called = append(called, fmt.Sprintf("%s %d of %d", d.GetName(), have, all))
	}
	slices.Sort(called)
	if len(called) > 0 {
		parts = append(parts, "callable: "+strings.Join(called, ", "))
	}
	return strings.Join(parts, "; "), nil
}

// serves reports whether a Deployment is an application that others call.
func (s *shop) serves(d *unstructured.Unstructured) bool {
	return slices.ContainsFunc(s.objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "Service" && o.GetName() == d.GetName() && o.GetNamespace() == d.GetNamespace()
	})
}

func (s *shop) stats(ctx context.Context) (*loadStats, error) {
	i := slices.IndexFunc(s.deployments, func(d *unstructured.Unstructured) bool { return d.GetName() == "load" })
	if i < 0 {
		return nil, errors.New("the shop has no load")
	}
	pods, err := s.kubernetes.client.Pods(ctx, s.deployments[i])
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if !p.Ready || p.Leaving {
			continue
		}
		stats := &loadStats{}
		return stats, s.kubernetes.client.ProxyJSON(ctx, s.deployments[i].GetNamespace(), p.Name, adminPort(s.deployments[i]), "stats", stats)
	}
	return nil, errors.New("load is not ready")
}

// adminPort is the port that a Deployment's pods name "admin".
func adminPort(d *unstructured.Unstructured) int64 {
	containers, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		container, _ := c.(map[string]any)
		ports, _, _ := unstructured.NestedSlice(container, "ports")
		for _, p := range ports {
			port, _ := p.(map[string]any)
			if n, ok := port["containerPort"].(int64); ok && port["name"] == "admin" {
				return n
			}
		}
	}
	return 8081
}

func (s *shop) stop(context.Context) error {
	s.check.Fail("stopping")
	if !s.up.own() {
		s.up.board.say("  the shop goes on in " + s.kubernetes.client.Target().String() + "; remove it with kubectl delete namespace " + s.objects[0].GetName())
	}
	return nil
}
