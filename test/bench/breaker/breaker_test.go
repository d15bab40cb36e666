//go:build linux

package breaker

import (
	"io"
	"testing"
)

func TestOptions(t *testing.T) {
	if _, err := ParseOptions(nil, io.Discard); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, args := range [][]string{{"-rounds", "0"}, {"-unknown"}} {
		if o, err := ParseOptions(args, io.Discard); err == nil {
			t.Errorf("%q were taken: %+v", args, o)
		}
	}
}
