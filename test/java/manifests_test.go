package java

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

// line is a line of Dubbo Java. Its applications are called by the names in
// examples/java/dubbo with the suffix behind them.
type line struct{ project, suffix string }

var allLines = []line{{"dubbo-3.3", ""}, {"dubbo-3.2", "-32"}}

// lines are those that run.
func lines() []line {
	return slices.DeleteFunc(slices.Clone(allLines), func(l line) bool { return !slices.Contains(projects, l.project) })
}

// eachLine runs a test for each line of Dubbo Java that runs.
func eachLine(t *testing.T, test func(t *testing.T, l line)) {
	t.Helper()
	for _, l := range lines() {
		t.Run(l.project, func(t *testing.T) {
			registered(t, l.catalogue(dubbo2))
			registered(t, l.catalogue(triple))
			test(t, l)
		})
	}
}

// registered replaces the pods of a provider whose registration met a conflict with
// the kubelet's word on their state: Dubbo Java does not repeat it, as
// docs/java/dubbo.md tells. The manifests keep the two apart, but for a start that
// takes longer than they allow for, as when all applications start at once.
func registered(t *testing.T, app string) {
	t.Helper()
	mesh.Eventually(t, "the pods of "+app+" are registered", func() error {
		var lost error
		for _, p := range pods(t, app) {
			err := mesh.WaitFor(10*time.Second, p.Metadata.Name+" is registered", func() error {
				var all pod
				if err := json.Unmarshal([]byte(kubectl(t, "get", "pod", p.Metadata.Name, "-o", "json")), &all); err != nil {
					return err
				}
				if !strings.Contains(all.Metadata.Annotations["io.dubbo/metadata"], "dubbo.endpoints") {
					return errors.New("it is not")
				}
				return nil
			})
			if err != nil {
				lost = err
				t.Logf("%v; it is replaced", err)
				kubectl(t, "delete", "pod", p.Metadata.Name)
			}
		}
		return lost
	})
}

// catalogue is the provider of a line over a protocol.
func (l line) catalogue(protocol string) string {
	if protocol == triple {
		return "catalogue-tri" + l.suffix
	}
	return "catalogue" + l.suffix
}

func (l line) restock() string { return "restock" + l.suffix }

// Protocols, as Dubbo names them, and their ports.
const (
	dubbo2 = "dubbo"
	triple = "tri"
)

// manifests puts those of the Java applications into one directory with those
// of the shop that they have to do with: two cores are few for all of it.
func manifests(dir string) error {
	put := func(name, text string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	for name, from := range map[string]string{
		"00-namespace.yaml": "examples/shop/deploy/00-namespace.yaml",
		"storefront.yaml":   "examples/shop/deploy/storefront.yaml",
		"polyglot.yaml":     "test/java/testdata/polyglot.yaml",
	} {
		text, err := read(from)
		if err == nil {
			err = put(name, text)
		}
		if err != nil {
			return err
		}
	}
	inventory, err := read("examples/shop/deploy/inventory.yaml")
	if err != nil {
		return err
	}
	if err := put("inventory.yaml", withEnv(inventory, "SHOP_TRIPLE_LISTEN", ":20001")); err != nil {
		return err
	}
	for _, project := range projects {
		if i := slices.IndexFunc(allLines, func(l line) bool { return l.project == project }); i >= 0 {
			if err := allLines[i].manifests(put); err != nil {
				return err
			}
			continue
		}
		found, err := filepath.Glob(filepath.Join(root, "examples", "java", project, "deploy", "*.yaml"))
		if err != nil {
			return err
		}
		if project == resilience4j { // which asks pricing
			found = append(found, filepath.Join(root, "examples", "shop", "deploy", "pricing.yaml"))
		}
		if len(found) == 0 {
			return fmt.Errorf("JAVA names %s, and examples/java/%s has no manifests", project, project)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err == nil {
				err = put(filepath.Base(file), string(text))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// manifests puts the applications of one line: the catalogue over either protocol,
// with spans by Brave or by Dubbo itself, and a restock that reserves over both.
func (l line) manifests(put func(name, text string) error) error {
	const dir = "examples/java/dubbo/deploy/"
	namespace, err := read(dir + "00-java.yaml")
	if err != nil {
		return err
	}
	catalogue, err := read(dir + "catalogue.yaml")
	if err != nil {
		return err
	}
	restock, err := read(dir + "restock.yaml")
	if err != nil {
		return err
	}
	own := "dubbo"
	if l.project == "dubbo-3.2" {
		own = "observation"
	}
	files := map[string]string{
		"00-java.yaml":                   namespace,
		"catalogue" + l.suffix + ".yaml": l.named(catalogue, "catalogue", l.catalogue(dubbo2)),
		"catalogue-tri" + l.suffix + ".yaml": withEnv(l.named(catalogue, "catalogue", l.catalogue(triple)),
			"DUBBO_PROTOCOL", triple, "INVENTORY_PROTOCOL", triple, "TRACING", own),
		"restock" + l.suffix + ".yaml": withEnv(l.named(restock, "restock", l.restock()), "INVENTORY_PROTOCOLS", dubbo2+","+triple),
	}
	for name, text := range files {
		if err := put(name, text); err != nil {
			return err
		}
	}
	return nil
}

// links makes a directory in which weir up finds the images of each line by the
// names of its applications.
func links(dir string) (images []string, err error) {
	images = []string{filepath.Join(dir, "images")}
	if err := os.Mkdir(images[0], 0o700); err != nil {
		return nil, err
	}
	for _, l := range lines() {
		for name, was := range map[string]string{l.catalogue(dubbo2): "catalogue", l.catalogue(triple): "catalogue", l.restock(): "restock"} {
			image, err := filepath.Abs(filepath.Join(root, "bin", "java", l.project, was+".tar"))
			if err == nil {
				err = os.Symlink(image, filepath.Join(images[0], name+".tar"))
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return images, nil
}

// named gives an application of the examples another name, and the line's image.
func (l line) named(text, was, name string) string {
	const image = "image: shop.example/"
	text = strings.ReplaceAll(text, was, name)
	text = strings.ReplaceAll(text, image+name+":dubbo-3.3", image+was+":"+l.project)
	return withEnv(text, "APPLICATION", name)
}

// withEnv sets environment variables of the first container.
func withEnv(text string, pairs ...string) string {
	const env = "          env:\n"
	for i := 0; i < len(pairs); i += 2 {
		was := regexp.MustCompile(`            - \{name: ` + pairs[i] + `, value: .*\}\n`)
		text = was.ReplaceAllString(text, "")
		text = strings.Replace(text, env, fmt.Sprintf("%s            - {name: %s, value: %q}\n", env, pairs[i], pairs[i+1]), 1)
	}
	return text
}

func read(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, file))
	return string(text), err
}
