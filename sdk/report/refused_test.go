package report_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A control plane that refuses every report is logged once, not once a second, and
// has not been told of the policies in force.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Fail("", http.StatusBadRequest, -1)
		b.apply(7)
		for range 120 {
			b.count("reserve", 1)
			pass(time.Second)
		}
		b.stop()
		s := b.reporter.Stats()
		if s.Dropped["samples"] < 100 || s.Acknowledged != 0 || s.Failures > 200 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(b.log.String(), "refused a report"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

func TestPasswordsOfTheAddressAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "weir:hunter2@")
		b.mesh.Down()
		b.count("reserve", 1)
		pass(3 * time.Second)
		b.mesh.Heal()
		pass(time.Minute)
		b.stop()
		if l := b.log.String(); strings.Contains(l, "hunter2") || !strings.Contains(l, "delivered again") {
			t.Error(l)
		}
	})
}
