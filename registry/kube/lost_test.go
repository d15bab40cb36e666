package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

var inventory = registry.App{Namespace: "shop", Name: "inventory"}

// fleet is an application whose pods a test lets come, fail and go. Their state is
// written as a word with one letter for each.
type fleet struct {
	*testing.T
	h *Hub

	mu   sync.Mutex
	dead map[string]int // how often nobody answers at an address; negative for always
	told []string       // what the follower saw, changes only
}

// newFleet makes one, each of its pods ready, that somebody follows. It belongs into
// a synctest bubble.
func newFleet(t *testing.T, size int, cfg Config) *fleet {
	t.Helper()
	f := &fleet{T: t, h: syncedHub(cfg), dead: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	f.h.ctx = ctx
	f.h.dial = func(_ context.Context, address string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.dead[address] == 0 {
			return nil
		}
		f.dead[address]--
		return errors.New("connection refused")
	}
	f.locked(func(now time.Time) { f.h.feed(serviceNamed("inventory"), false, now) })
	f.pods(0, size)
	f.slice(strings.Repeat("r", size))
	stop, err := f.h.Subscribe(inventory, func(s registry.Snapshot) {
		word := f.word(s, size)
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.told) == 0 || f.told[len(f.told)-1] != word {
			f.told = append(f.told, word)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		cancel()
		f.locked(func(time.Time) { f.h.closed = true })
	})
	synctest.Wait()
	return f
}

func (f *fleet) locked(do func(now time.Time)) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	do(f.h.clock.now())
}

// pods makes pods.
func (f *fleet) pods(from, to int) {
	f.locked(func(now time.Time) {
		for i := from; i < to; i++ {
			f.h.feed(bigPod(i), false, now)
		}
	})
}

// remove takes pods away.
func (f *fleet) remove(which ...int) {
	f.locked(func(now time.Time) {
		for _, i := range which {
			f.h.feed(bigPod(i), true, now)
		}
	})
}

// slice is what the EndpointSlice says: of each pod that it is ready (r), not (n) or
// terminating (t), or nothing (-).
func (f *fleet) slice(word string) {
	s := bigSlice(0, len(word))
	yes, no := true, false
	endpoints := s.Endpoints
	s.Endpoints = nil
	for i, letter := range word {
		e := endpoints[i]
		switch letter {
		case 'r':
			e.Conditions = discoveryv1.EndpointConditions{Ready: &yes}
		case 'n':
			e.Conditions = discoveryv1.EndpointConditions{Ready: &no}
		case 't':
			e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Terminating: &yes}
		default:
			continue
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	f.locked(func(now time.Time) { f.h.feed(s, false, now) })
}

// fail lets nobody answer at the pods the next times; always if negative.
func (f *fleet) fail(times int, which ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range which {
		f.dead[fmt.Sprintf("10.0.0.%d:20000", i)] = times
	}
}

// word writes a snapshot: of each pod that it is called (R), called though it is not
// ready (K) or listed (U), or not called (.).
func (f *fleet) word(s registry.Snapshot, size int) string {
	out := []byte(strings.Repeat(".", size))
	for i := range s.Instances {
		instance := &s.Instances[i]
		if !instance.Callable() {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(instance.Name, "inventory-7d9f8b6c5d-%d", &n); err != nil || n >= size {
			f.Errorf("an instance %s", instance.Name)
			continue
		}
		switch {
		case instance.Kept == nil:
			out[n] = 'R'
		case instance.Kept.Because == registry.KeptUnlisted:
			out[n] = 'U'
		default:
			out[n] = 'K'
		}
		if instance.Kept != nil && instance.Health == registry.Ready {
			f.Errorf("%s is kept and ready", instance.Name)
		}
	}
	return string(out)
}

// want waits and compares what the follower was told last.
func (f *fleet) want(when string, after time.Duration, want string) {
	f.Helper()
	if after > 0 {
		advance(after)
	}
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.told[len(f.told)-1]; got != want {
		f.Fatalf("%s: the follower sees %s, want %s; before that %v", when, got, want, f.told)
	}
}

// neverEmpty fails if the follower was told of nothing to call.
func (f *fleet) neverEmpty() {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, word := range f.told {
		if strings.Trim(word, ".") == "" {
			f.Fatalf("the follower had nothing to call: %v", f.told)
		}
	}
}

// unfollow leaves nobody who follows.
func (f *fleet) unfollow() {
	f.locked(func(time.Time) {
		a := f.h.spaceOf("").apps[inventory]
		a.topic, a.snapshot = nil, nil
	})
}

// ask compares what somebody is told who asks.
func (f *fleet) ask(when, want string) {
	f.Helper()
	s, err := f.h.Snapshot(f.Context(), inventory)
	if err != nil {
		f.Fatal(err)
	}
	if got := f.word(s, len(want)); got != want {
		f.Fatalf("%s: told %s, want %s", when, got, want)
	}
}

const soon = time.Second // above every window of coalescing, below every other wait

func TestMassUnreadinessIsDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, Config{})
		advance(soon)
		f.slice("nnnn")
		f.want("all at once", 0, "KKKK")
		f.want("minutes later", 5*time.Minute, "KKKK")
		f.slice("rnnr")
		f.want("some are ready again", soon, "RKKR")
		f.slice("rrrr")
		f.want("all are ready again", soon, "RRRR")
		f.slice("nrrr")
		f.want("one of them is not ready later", 10*time.Minute, ".RRR")
		f.neverEmpty()
	})
}

func TestMostUnreadyIsDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, Config{})
		advance(soon)
		f.slice("nnnr")
		f.want("three of four at once", soon, "KKKR")
	})
}

// Probes of readiness have phases, so what has one cause comes one by one.
func TestUnreadinessThatComesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, Config{})
		f.fail(-1, 1)
		for _, step := range []struct{ slice, told string }{
			{"nrrr", ".RRR"}, {"nnrr", "..RR"}, // the half is nothing to doubt
			{"nnnr", "K.KR"}, // who was told gone has to answer first, and one does not
			{"nnnn", "K.KK"},
		} {
			f.slice(step.slice)
			// In the middle of what it takes to give up the one that does not answer.
			f.want(step.slice, probeRetry, step.told)
			f.want(step.slice, 5*time.Second, step.told)
		}
		f.neverEmpty()
	})
}

func TestOrdinaryUnreadinessIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{})
		advance(soon)
		f.slice("nr")
		f.want("one of two", 0, ".R")
		f.want("later", 30*time.Second, ".R")
		f.slice("rr")
		f.want("it is back", soon, "RR")
		// Long after one another, so that one has nothing to do with the other.
		f = newFleet(t, 4, Config{})
		for _, word := range []string{"nrrr", "nnrr", "nnnr"} {
			f.slice(word)
			advance(2 * lossWindow)
		}
		f.want("three of four, minutes apart", 0, "...R")
	})
}

func TestWhoDoesNotAnswerIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, Config{})
		f.fail(-1, 0, 1, 2, 3)
		advance(soon)
		f.slice("nnnn")
		f.want("at first", 0, "KKKK")
		f.want("after three attempts", 2*probeRetry+soon, "....")
		f.fail(0, 0, 1, 2, 3)
		f.want("for good", time.Hour, "....")
		f.slice("rrrr")
		f.want("they are ready", soon, "RRRR")
	})
}

func TestWhoStopsAnsweringIsReleasedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, Config{})
		advance(soon)
		f.slice("nnn")
		f.want("at first", 2*time.Minute, "KKK")
		f.fail(probeFailures-1, 1)
		f.want("it answers again", time.Minute, "KKK")
		f.fail(-1, 1)
		f.want("it does not", probePauseMax*9/8+2*probeRetry+soon, "K.K")
	})
}

func TestScaleToZeroAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, Config{})
		advance(soon)
		f.slice("ttt") // the slice says that they end
		f.want("terminating", 0, "...")
		f.slice("---")
		f.remove(0, 1, 2)
		f.want("gone", soon, "...")
		f.pods(0, 3)
		f.slice("nnn")
		f.want("back, not ready yet", soon, "...")
		f.slice("rrr")
		f.want("back", soon, "RRR")
		f.slice("---") // the slice is ahead of the pods
		advance(10 * time.Millisecond)
		f.remove(0, 1, 2)
		f.want("gone at once", f.h.cfg.Coalesce, "...")
		if len(f.h.spaceOf("").losing) != 0 {
			f.Fatal("something still counts as lost")
		}
	})
}

func TestProofReleasesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 5, Config{})
		advance(soon)
		f.slice("nnnnn")
		f.want("all at once", soon, "KKKKK")
		f.remove(0)
		f.want("one is deleted", soon, ".KKKK")
		ending := bigPod(1)
		ending.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		f.locked(func(now time.Time) { f.h.feed(ending, false, now) })
		f.want("one ends", soon, "..KKK")
		draining := bigPod(2)
		draining.Annotations[AnnotationInstance] = `{"v":1,"app":"inventory","state":"draining"}`
		f.locked(func(now time.Time) { f.h.feed(draining, false, now) })
		f.want("one drains", soon, "...KK")
		f.slice("nnntn")
		f.want("one terminates, as the slice says", soon, "....K")
		f.locked(func(now time.Time) { f.h.feed(serviceNamed("inventory"), true, now) })
		f.want("the Service is deleted", soon, ".....")
	})
}

// As when somebody edits the selector of the Service.
func TestUnlistedInstancesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, Config{})
		advance(soon)
		f.slice("---")
		f.want("within the grace nothing is said", f.h.cfg.Grace-time.Millisecond, "RRR")
		f.want("after it", soon, "UUU")
		f.remove(1)
		f.want("one is deleted", soon, "U.U")
		f.slice("r-n")
		f.want("some are back", soon, "R.K")
		// A pod that ended keeps its object for a while, and its address goes to another.
		f.slice("r--")
		f.want("one is listed no more", 2*f.h.cfg.Grace, "R.U")
		other := bigSlice(0, 3)
		other.Name, other.Labels[discoveryv1.LabelServiceName] = "orders-abc", "orders"
		other.Endpoints = other.Endpoints[2:]
		other.Endpoints[0].TargetRef.UID = "another"
		f.locked(func(now time.Time) { f.h.feed(other, false, now) })
		f.want("its address belongs to another", soon, "R..")
	})
}

func TestTheHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{})
		advance(soon)
		f.slice("nn")
		f.want("just before", f.h.cfg.Protection.Hold-time.Millisecond, "KK")
		f.want("when time is up", soon, "..")
		f.slice("nr")
		f.slice("nn")
		f.want("it is not kept by itself again", time.Minute, ".K")
	})
}

// While Kubernetes cannot be heard, it cannot say that instances are ready again.
func TestTheHoldWaitsForTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{Protection: Protection{Hold: 20 * time.Second}})
		s := f.h.spaceOf("")
		f.slice("nn")
		f.want("at first", soon, "KK")
		f.h.link(true, s.sliceSource, s.podSource, s.serviceSource)
		f.want("an hour without it", time.Hour, "KK")
		f.unfollow()
		f.ask("nobody follows", "KK")
		advance(time.Hour)
		f.ask("an hour later", "KK")
		f.h.link(false, s.sliceSource, s.podSource, s.serviceSource)
		f.ask("it is heard again", "KK")
		advance(15 * time.Second)
		f.ask("the time without it does not count", "KK")
		advance(5 * time.Second)
		f.ask("it is heard, and the time is over", "..")
	})
}

// A wall clock that is set, by hours and either way, moves nothing.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-5 * time.Hour, 5 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, Config{})
				offset := time.Duration(0)
				f.locked(func(time.Time) {
					// As the kernel has it: the wall clock is one thing, steady time another.
					f.h.clock.wall = func() time.Time { return time.Now().Round(0).Add(offset) }
				})
				set := func(by time.Duration) { f.locked(func(time.Time) { offset += by }) }
				set(jump)
				f.want("the clock is set, nothing else", time.Minute, "RR")
				f.slice("nn")
				f.want("they are lost", soon, "KK")
				snapshot, err := f.h.Snapshot(t.Context(), inventory)
				if err != nil {
					t.Fatal(err)
				}
				kept := snapshot.Instances[0].Kept
				if kept.Until.Sub(kept.Since) != 10*time.Minute || kept.Since.Sub(time.Now().Add(offset)).Abs() > 2*soon {
					t.Errorf("people read %v, and their clock shows %v", kept, time.Now().Add(offset))
				}
				set(-2 * jump)
				f.want("the clock is set while they are kept", 5*time.Minute, "KK")
				f.want("the hold is as long as ever", 5*time.Minute, "..")
				f.slice("rr")
				f.want("they are ready", soon, "RR")

				// The link is lost and found around a jump.
				s := f.h.spaceOf("")
				f.h.link(true, s.sliceSource, s.podSource, s.serviceSource)
				set(jump)
				snapshot, err = f.h.Snapshot(t.Context(), inventory)
				if err != nil || len(snapshot.Callable()) != 2 || snapshot.StaleSince.Sub(time.Now().Add(offset)).Abs() > soon {
					t.Errorf("stale since %v by a clock that shows %v (%v): %d callable", snapshot.StaleSince, time.Now().Add(offset), err, len(snapshot.Callable()))
				}
				f.h.link(false, s.sliceSource, s.podSource, s.serviceSource)
				f.slice("rn")
				f.want("changes come as ever", soon, "R.")
			})
		})
	}
}

// A server that has just come up is given time for its roles, and a set clock makes
// that time neither shorter nor longer.
func TestClockJumpsDoNotExcuseARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		refused := apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no role"))
		if h.premature(refused) {
			t.Fatal("a refusal without an absence before it")
		}
		h.premature(errors.New("connection refused"))
		h.clock.wall = func() time.Time { return time.Now().Add(-24 * time.Hour) }
		if !h.premature(refused) {
			t.Fatal("a refusal right after an absence is taken as meant")
		}
		advance(settling * h.cfg.MaxBackoff)
		if h.premature(refused) {
			t.Fatal("a refusal long after an absence is not taken as meant")
		}
	})
}

func TestPoliciesTuneProtection(t *testing.T) {
	policy := func(p policyProtection) *discoveryPolicy {
		return &discoveryPolicy{
			TypeMeta: metav1.TypeMeta{Kind: "DiscoveryPolicy"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "all"},
			Spec: policySpec{Protection: &p},
		}
	}
	for name, c := range map[string]struct {
		policy policyProtection
		slice  string
		after  time.Duration
		want   string
	}{
		"disabled":               {policyProtection{Disabled: true}, "nnnn", soon, "...."},
		"a lower share":          {policyProtection{Percent: 20}, "nrrr", soon, "KRRR"},
		"a higher share":         {policyProtection{Percent: 80}, "nnnr", soon, "...R"},
		"none left, any share":   {policyProtection{Percent: 100}, "nnnn", soon, "KKKK"},
		"a short hold":           {policyProtection{HoldSeconds: 30}, "nnnn", 30 * time.Second, "...."},
		"a short hold, within":   {policyProtection{HoldSeconds: 30}, "nnnn", 29 * time.Second, "KKKK"},
		"what it leaves unsaid":  {policyProtection{HoldSeconds: 30}, "nnrr", soon, "..RR"},
		"nothing of one's worth": {policyProtection{}, "nnnn", soon, "KKKK"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 4, Config{})
				f.locked(func(now time.Time) { f.h.feed(policy(c.policy), false, now) })
				advance(soon)
				f.slice(c.slice)
				f.want(name, c.after, c.want)
			})
		})
	}
	t.Run("disabled while some are kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 4, Config{})
			f.slice("nnnn")
			f.want("kept", soon, "KKKK")
			f.locked(func(now time.Time) { f.h.feed(policy(policyProtection{Disabled: true}), false, now) })
			f.want("released", soon, "....")
		})
	})
}

// Who only asks is told the same, as the control plane does.
func TestWhoAsksIsToldOfWhatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0, Config{})
		f.pods(0, 3)
		f.slice("rrr")
		f.unfollow()
		f.ask("at first", "RRR")
		f.slice("nnn")
		f.ask("lost", "KKK")
		f.fail(-1, 0, 1, 2)
		advance(time.Hour)
		// Nobody asked, so nobody tried; the hold is over all the same.
		f.ask("an hour later", "...")
		f.slice("rrr")
		f.slice("nnn")
		f.ask("lost again", "KKK")
		advance(2 * time.Second)
		f.ask("while somebody asks, it is tried", "...")
	})
}

// What was never ready is nothing that was lost.
func TestNothingIsKeptThatWasNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, Config{})
		f.pods(2, 4)
		f.slice("rrnn")
		advance(soon)
		f.slice("rr--")
		f.want("the others come to nothing", 10*time.Second, "RR")
		f.slice("nrnn")
		f.want("one of four", soon, ".R")
	})
}

// Slices that are not kept up, as when the controller is away, list pods that are gone
// or end. The pods themselves are believed, and nothing is doubted of them.
func TestStaleSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, Config{})
		advance(soon)
		f.remove(0)
		f.want("the slice says ready, and the pod is gone", soon, ".RR")
		ending := bigPod(1)
		ending.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		f.locked(func(now time.Time) { f.h.feed(ending, false, now) })
		f.want("the slice says ready, and the pod ends", soon, "..R")
		f.remove(1, 2)
		f.want("the slice says ready, and all are gone", soon, "...")
	})
}

func TestProtectionIsValidated(t *testing.T) {
	for _, p := range []Protection{{Percent: -1}, {Percent: 101}, {Hold: -time.Second}} {
		if err := (Config{Protection: p}).Validate(); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
