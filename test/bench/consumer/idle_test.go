//go:build linux

package consumer

import (
	"testing"
)

// A process that stands for one without dubbo-go opens as any other does: stopping
// dubbo-go's clock waits for nobody.
func TestAProcessWithoutDubbo(t *testing.T) {
	s := &session{}
	if _, err := s.open(OpenArgs{Backend: Nothing, Fixed: true, WithoutDubbo: true}); err != nil {
		t.Fatal(err)
	}
	if s.source != nil {
		t.Fatal("it has a registry")
	}
}
