package kube

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
)

// The API server is away from the first to the fifteenth minute: that is no part of
// the ten minutes, of which nine are left then.
func TestAnOutageDoesNotCount(t *testing.T) {
	for _, followed := range []bool{true, false} {
		t.Run(fmt.Sprintf("followed %v", followed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, Config{})
				s := f.h.spaceOf("")
				see := func(when string, want string) {
					t.Helper()
					if followed {
						f.want(when, 0, want)
					} else {
						f.ask(when, want)
					}
				}
				if !followed {
					f.unfollow()
				}
				advance(soon)
				began := time.Now()
				f.slice("nn")
				see("at first", "KK")
				at := func(minute int) { advance(time.Until(began.Add(time.Duration(minute) * time.Minute))) }
				at(1)
				f.h.link(true, s.sliceSource, s.podSource, s.serviceSource)
				at(15)
				f.h.link(false, s.sliceSource, s.podSource, s.serviceSource)
				advance(soon)
				see("a second after the outage", "KK")
				snapshot, err := f.h.Snapshot(t.Context(), inventory)
				if err != nil {
					t.Fatal(err)
				}
				if until := snapshot.Instances[0].Kept.Until; !until.Equal(began.Add(24 * time.Minute)) {
					t.Errorf("kept until %v, want 24 min after %v", until, began)
				}
				advance(8*time.Minute + 58*time.Second)
				see("a second before its end", "KK")
				advance(2 * time.Second)
				see("at its end", "..")
			})
		})
	}
}

// An outage in the last second of a hold leaves kubelets a while to report.
func TestAHoldDoesNotEndWithAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{})
		s := f.h.spaceOf("")
		f.slice("nn")
		f.want("a second before the end", 10*time.Minute-time.Second, "KK")
		f.h.link(true, s.sliceSource)
		advance(time.Hour)
		f.h.link(false, s.sliceSource)
		f.want("within the minute after the outage", heardLeast-time.Second, "KK")
		f.want("after it", 2*time.Second, "..")
	})
}

func TestAPolicyChangesAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{})
		hold := func(d time.Duration) {
			f.locked(func(now time.Time) {
				f.h.feed(&discoveryPolicy{
					TypeMeta: metav1.TypeMeta{Kind: "DiscoveryPolicy"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "all"},
					Spec: policySpec{Protection: &policyProtection{HoldSeconds: int32(d / time.Second)}},
				}, false, now)
			})
		}
		f.slice("nn")
		f.want("at first", 9*time.Minute, "KK")
		hold(20 * time.Minute)
		f.want("a longer hold", 10*time.Minute, "KK")
		hold(30 * time.Minute)
		hold(15 * time.Minute)
		f.want("a shorter one", soon, "..")
	})
}

// Nothing goes on in a hub that was closed.
func TestCloseStopsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{})
		f.slice("nn")
		f.want("kept", soon, "KK")
		var timers []*time.Timer
		f.locked(func(time.Time) {
			a := f.h.spaceOf("").apps[inventory]
			timers = append(timers, a.again)
			for _, l := range a.lost {
				timers = append(timers, l.timer)
			}
		})
		f.h.cancel = func() {}
		f.h.client = &client{rest: &rest.RESTClient{Client: &http.Client{}}, dialer: connrotation.NewDialer(nil)}
		f.h.Close()
		for i, timer := range timers {
			if timer.Stop() {
				t.Errorf("timer %d of %d goes on", i, len(timers))
			}
		}
	})
}
