//go:build linux

package proxy

import (
	"io"
	"testing"
)

func TestOptions(t *testing.T) {
	if _, err := ParseOptions(nil, io.Discard); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, args := range [][]string{{"-body", "0"}, {"-routes", "0"}, {"-rate", "0"}, {"-for", "10ms"}} {
		if o, err := ParseOptions(args, io.Discard); err == nil {
			t.Errorf("%q were taken: %+v", args, o)
		}
	}
}
