package java

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

const (
	root      = "../.."
	namespace = "shop"
	adminPort = "8081"
)

// theMesh is shared by the tests, which run one after another.
var theMesh = &mesh.Mesh{Startup: 3 * mesh.Patience}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

// projects are those of examples/java that run, beside the shop's Go services:
// what JAVA was for make.
var projects = strings.Fields(cmp.Or(os.Getenv("WEIR_TEST_JAVA"), "dubbo-3.3 dubbo-3.2 spring-hystrix spring-resilience4j"))

// needs skips a test of an application that was asked to be left out.
func needs(t *testing.T, project string) {
	t.Helper()
	if !slices.Contains(projects, project) {
		t.Skipf("WEIR_TEST_JAVA is %q, without %s", projects, project)
	}
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-test-java-")
	if err == nil {
		err = manifests(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "test-java:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	images, err := links(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "test-java:", err)
		return 1
	}
	images = append(images, filepath.Join(root, "bin", "shop"), filepath.Join(root, "bin", "java", "go"))
	for _, project := range projects {
		images = append(images, filepath.Join(root, "bin", "java", project))
	}
	theMesh.Flags = []string{"--shop", "true", "--shop-dir", dir, "--shop-bin", strings.Join(images, ",")}
	return mesh.Run("test-java", root, theMesh, m.Run)
}

// kubectl runs kubectl in the shop's namespace.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return kubectlIn(t.Context(), t, args...)
}

// kubectlIn is kubectl for what is done after a test, whose own context has ended.
func kubectlIn(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, mesh.Patience)
	defer cancel()
	args = append([]string{"kubectl", "--kubeconfig", theMesh.Kubeconfig(), "--namespace", namespace}, args...)
	out, err := exec.CommandContext(ctx, filepath.Join(theMesh.Bin, "devcluster"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pod is what the tests read of a pod.
type pod struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               string            `json:"uid"`
		Annotations       map[string]string `json:"annotations"`
		DeletionTimestamp *time.Time        `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		PodIP             string `json:"podIP"`
		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct {
			ContainerID  string
			RestartCount int
			LastState    json.RawMessage
		}
	} `json:"status"`
}

// pods returns those of an application, sorted, which are all ready.
func pods(t *testing.T, app string) []pod {
	t.Helper()
	var list struct {
		Items []pod `json:"items"`
	}
	mesh.Eventually(t, "the pods of "+app+" are ready", func() error {
		list.Items = nil
		if err := json.Unmarshal([]byte(kubectl(t, "get", "pods", "-l", "app.kubernetes.io/name="+app, "-o", "json")), &list); err != nil {
			return err
		}
		for _, p := range list.Items {
			ready := slices.ContainsFunc(p.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
			if !ready || p.Metadata.DeletionTimestamp != nil {
				return fmt.Errorf("%s is not ready, or leaves", p.Metadata.Name)
			}
		}
		if len(list.Items) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	slices.SortFunc(list.Items, func(a, b pod) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return list.Items
}

// scale sets the number of an application's pods and waits until the others are gone.
func scale(t *testing.T, app string, replicas int) {
	t.Helper()
	kubectl(t, "scale", "deployment", app, fmt.Sprintf("--replicas=%d", replicas))
	rolledOut(t, app)
	mesh.Eventually(t, fmt.Sprintf("%s has %d pods", app, replicas), func() error {
		if n := len(pods(t, app)); n != replicas {
			return fmt.Errorf("it has %d", n)
		}
		return nil
	})
}

// restart replaces the pods of an application one by one.
func restart(t *testing.T, app string) {
	t.Helper()
	kubectl(t, "rollout", "restart", "deployment", app)
	rolledOut(t, app)
	pods(t, app) // waits for the last to leave
}

func rolledOut(t *testing.T, app string) {
	t.Helper()
	kubectl(t, "rollout", "status", "deployment", app, "--timeout", mesh.Patience.String())
}

// stats is what restock tells of the calls it makes to inventory.
type stats struct {
	Made struct {
		OK       int64 `json:"ok"`
		Failed   int64 `json:"failed"`
		Failures []struct{ Started, Ended, Error string }
	} `json:"made"`
	ServedBy map[string]int64 `json:"servedBy"`
}

func (l line) stats(t *testing.T) stats {
	t.Helper()
	return ask[stats](t, l.restock(), "/stats")
}

// ask asks an application something over HTTP, straight from this host.
func ask[T any](t *testing.T, app, path string) T {
	t.Helper()
	var answer T
	address := net.JoinHostPort(pods(t, app)[0].Status.PodIP, adminPort)
	if err := mesh.GetJSON(t.Context(), "http://"+address+path, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// more waits until restock has made n more calls than before.
func (l line) more(t *testing.T, before stats, n int64) stats {
	t.Helper()
	var now stats
	mesh.Eventually(t, fmt.Sprintf("%s has made %d more calls", l.restock(), n), func() error {
		if now = l.stats(t); now.Made.OK < before.Made.OK+n {
			return fmt.Errorf("%d of %d, and %d failed: %v", now.Made.OK-before.Made.OK, n, now.Made.Failed, now.Made.Failures)
		}
		return nil
	})
	return now
}

// article is what the storefront tells of an article: it asks the catalogue.
type article struct {
	Sku, Name, Category, Price, Views string
	Tags                              []string
	Listed                            time.Time
	Available                         *int32
	ServedBy, StockBy                 string
}

// storefront asks the storefront, straight from this host.
func storefront(ctx context.Context, address, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

// web is where an application answers HTTP.
func web(t *testing.T, app string) string {
	t.Helper()
	return net.JoinHostPort(pods(t, app)[0].Status.PodIP, "8080")
}

// shoppers look at an article through an application until they are told to stop.
type shoppers struct {
	app           string // whom they ask
	asked, failed atomic.Int64
	first         atomic.Value // what went wrong first
	stop          context.CancelFunc
	wg            sync.WaitGroup
}

func startShoppers(t *testing.T, app, path string) *shoppers {
	t.Helper()
	address := web(t, app)
	ctx, stop := context.WithCancel(t.Context())
	s := &shoppers{app: app, stop: stop}
	for range 2 {
		s.wg.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					s.look(address, path)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	t.Cleanup(func() { s.stop(); s.wg.Wait() })
	return s
}

// look is not ended by the end of the test: a request under way counts.
func (s *shoppers) look(address, path string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.asked.Add(1)
	resp, err := storefront(ctx, address, path)
	if err == nil {
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", resp.Status)
		}
		resp.Body.Close()
	}
	if err != nil {
		s.failed.Add(1)
		s.first.CompareAndSwap(nil, fmt.Sprintf("%s: %v", time.Now().Format(time.TimeOnly), err))
	}
}

// done ends them and fails the test if a request failed, or too few were made for
// that to say anything.
func (s *shoppers) done(t *testing.T) {
	t.Helper()
	s.stop()
	s.wg.Wait()
	if s.failed.Load() != 0 || s.asked.Load() < 20 {
		t.Errorf("%d of %d requests failed, first %v", s.failed.Load(), s.asked.Load(), s.first.Load())
		said(t, s.app)
	}
}

// said shows what an application wrote last, before its restart if there was one.
func said(t *testing.T, app string) {
	t.Helper()
	for _, p := range pods(t, app) {
		for _, c := range p.Status.ContainerStatuses {
			t.Logf("%s, restarts: %d, last end: %s\n%s", p.Metadata.Name, c.RestartCount, c.LastState,
				kubectl(t, "logs", p.Metadata.Name, "--tail=300", fmt.Sprintf("--previous=%t", c.RestartCount > 0)))
		}
	}
}
