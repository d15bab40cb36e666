package reference_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weirmesh/weir/cmd/weir/internal/reference"
)

const root = "../../../.."

func TestTheReferenceIsThatOfTheCode(t *testing.T) {
	files, err := reference.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	again, err := reference.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if again[name] != want {
			t.Errorf("%s differs from one time to the next", name)
		}
		got, err := os.ReadFile(filepath.Join(root, reference.Dir, name))
		if err != nil {
			t.Errorf("%v: run `make generate`", err)
			continue
		}
		if string(got) != want {
			t.Errorf("%s/%s is not what the code says: run `make generate`. %s", reference.Dir, name, difference(string(got), want))
		}
	}
	kept, err := filepath.Glob(filepath.Join(root, reference.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range kept {
		if files[filepath.Base(path)] == "" {
			t.Errorf("%s is made by nothing: delete it", path)
		}
	}
}

// difference is the first line that differs.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "It has\n  " + g[i] + "\nwhere it should have\n  " + w[i]
		}
	}
	return "One is longer than the other."
}

// What the pages promise is in them: a generator that loses half of a page says
// so here.
func TestThePagesHaveWhatTheyAreFor(t *testing.T) {
	files, err := reference.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"cli.md": {
			"## weir policy publish", "| `--database-url string` |", "`WEIR_DATABASE_URL`", "| `--namespaces strings` | namespaces that bound it (default: all) |  |  |",
		},
		"metrics.md": {
			"| `weir_gateway_request_seconds` | histogram | `route` |", "| `weir_pg_pool_connections` | gauge | `pool`, `state` |",
			"| `weir_sdk_circuit_state` | gauge | `command`, `at`, `peer`, `state` |", "`weir_registry_staleness_seconds`", "`weir_registry_dubbo_lists_total`",
			"| `weir_gateway_dubbo_request_seconds` | histogram |", "`weir_control_publish_seconds`", "`weir_tracing_spool_bytes`",
		},
		"api.md": {
			"### PUT /api/v1/routes/{namespace}/{name}", "| everybody |", "| running services, operators |", "| admin |", "### GovernancePolicy",
		},
		"objects.md": {
			"## DiscoveryPolicy", "`discpol`", "| `spec.protection.holdSeconds` | integer |  | How long what vanished is kept for at most, in seconds, from 1 to 86400. |",
			"| `spec` | the policy says nothing: give mode (pod or service), registry, protection or prefer |", "| `status.unusedSince` | time (RFC 3339) |",
			"| `RegistrationUnreadable` |", "| `call-mode` |", "| `remote.timestamp` |", "| `spec.consumer` | \"…\" is no name of an application: use",
		},
		"annotations.md": {"| `io.dubbo/metadata` |", "| `weirmesh.io/app` |", "| `startTime` |"},
		"events.md":      {"| `policy.confirmed` |", "| `weir.policy.version` |", "| `halfOpen` |", "| `route.quarantined` |"},
	} {
		for _, want := range wants {
			if !strings.Contains(files[name], want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}

var emptyFlag = regexp.MustCompile("(?m)^\\| `-[^|]*` \\|  \\|")

func TestEveryFlagSaysWhatItIsFor(t *testing.T) {
	files, err := reference.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range emptyFlag.FindAllString(files["cli.md"], -1) {
		t.Errorf("a flag has no help: %s", line)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links between pages lead to files, and within the reference to headings.
func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) < 10 {
		t.Fatalf("only %d pages were found", len(pages))
	}
	headings := map[string][]string{}
	for _, path := range pages {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		headings[filepath.Clean(path)] = anchors(string(raw))
	}
	for _, path := range pages {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(raw), -1) {
			to := found[1]
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			file, at, _ := strings.Cut(to, "#")
			target := filepath.Clean(path)
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s leads to %s, which is not there", path, to)
				continue
			}
			if known, ok := headings[target]; ok && at != "" && !slices.Contains(known, at) {
				t.Errorf("%s leads to %s, and there is no such heading", path, to)
			}
		}
	}
}

var (
	notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
	fence        = regexp.MustCompile("(?s)\n```.*?\n```")
)

// anchors are those that GitHub gives the headings of a page.
func anchors(text string) []string {
	var all []string
	seen := map[string]int{}
	for line := range strings.SplitSeq(fence.ReplaceAllString(text, ""), "\n") {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		a := strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		if n := seen[a]; n > 0 {
			all = append(all, a+"-"+string(rune('0'+n)))
		} else {
			all = append(all, a)
		}
		seen[a]++
	}
	return all
}
