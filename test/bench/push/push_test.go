//go:build linux

package push

import (
	"io"
	"testing"
)

func TestOptions(t *testing.T) {
	if _, err := ParseOptions(nil, io.Discard); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, args := range [][]string{{"-few", "0"}, {"-few", "10", "-many", "9"}, {"-rounds", "0"}} {
		if o, err := ParseOptions(args, io.Discard); err == nil {
			t.Errorf("%q were taken: %+v", args, o)
		}
	}
}
