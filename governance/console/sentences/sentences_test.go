package sentences_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirmesh/weir/governance/console/sentences"
)

const root = "../../.."

func TestTheSentencesAreThoseOfTheCode(t *testing.T) {
	want, err := sentences.Text(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, sentences.File))
	if err != nil {
		t.Fatalf("%v: run `make generate`", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says: run `make generate`, and translate what is new in governance/console/web/src/said/zh", sentences.File)
	}
}

// Each way in which something is said is found: a collector that goes blind for one
// would take its sentences away unnoticed.
func TestWhatIsCollected(t *testing.T) {
	found, err := sentences.Collect(root)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"a format string":           "%s of %d calls failed in %s, less than %s allowed",
		"a constant text":           "nobody asks it to open by what it counts any more",
		"joined with +":             "something went wrong here that is not your fault: the log has it under id %s",
		"the message of a problem":  "there is no application %s in the registry: an application is a Service of that name; /api/v1/registry lists those there are",
		"a fix beside a message":    "read it again and repeat the change",
		"a fragment after a field":  "is missing: give app, url or dubbo",
		"of a composition in cmd":   "there is no cluster that could be asked whose the token is",
		"of the framework":          "expected required property %s to be present",
		"begun with what joins it":  "it has %s",
		"a refusal of an instance":  "policy %s, version %d, cannot be enforced",
		"an explanation of a route": "its method is %s, not %s",
	} {
		if !slices.Contains(found.Sentences, text) {
			t.Errorf("%s is not collected: %q", how, text)
		}
	}
	for what, text := range map[string]string{
		"a log":                     "the routes could not be read; those that are served stay",
		"a statement":               "SELECT current_setting('data_directory')",
		"the summary of operations": "List routes",
		"the help of a metric":      "Routes that are served.",
	} {
		if slices.Contains(found.Sentences, text) {
			t.Errorf("%s is collected: %q", what, text)
		}
	}
	for _, noun := range []string{"instance", "span"} {
		if !slices.Contains(found.Nouns, noun) {
			t.Errorf("the noun %q is not collected", noun)
		}
	}
}
