//go:build linux

package spans

import (
	"io"
	"testing"
)

func TestOptions(t *testing.T) {
	if _, err := ParseOptions(nil, io.Discard); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, args := range [][]string{{"-spans", "10"}, {"-body", "0"}, {"-connections", "0"}, {"-kill-after", "0s"}} {
		if o, err := ParseOptions(args, io.Discard); err == nil {
			t.Errorf("%q were taken: %+v", args, o)
		}
	}
}
