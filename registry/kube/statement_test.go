package kube

import (
	"strings"
	"testing"
)

// A weight that is not one is replaced, and said where the pod's owner looks. That holds
// for 0 as well: nobody is to believe that it stops calls.
func TestWeightsOfAnInstance(t *testing.T) {
	for text, want := range map[string]struct {
		weight int
		fault  string
	}{
		`{"v":1}`:                {100, ""},
		`{"v":1,"weight":1}`:     {1, ""},
		`{"v":1,"weight":10000}`: {10000, ""},
		`{"v":1,"weight":0}`:     {100, "names weight 0, which is not between 1 and 10000"},
		`{"v":1,"weight":-3}`:    {100, "names weight -3, which is not between 1 and 10000"},
		`{"v":1,"weight":10001}`: {100, "names weight 10001, which is not between 1 and 10000"},
	} {
		got, _, _ := parseInstance(text)
		if got.weight != want.weight || !strings.HasSuffix(got.warning, want.fault) || (got.warning == "") != (want.fault == "") {
			t.Errorf("%s: weight %d and warning %q, want %+v", text, got.weight, got.warning, want)
		}
	}
}
