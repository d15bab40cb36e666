package dubbo

import (
	"testing"
	"time"

	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
)

// A list that is due again while nothing can be read stays due, later: a time
// that has passed would keep the subscription spinning.
func TestResendWaitsForDocuments(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")
	s := r.binding.subs[l][0]
	s.close() // what belongs to run is the test's from here on

	ref := &subscription{
		b: r.binding, ref: s.ref, listener: l, mapped: true, apps: s.apps, started: true, sent: s.sent, at: s.at,
		watches: map[registry.App]*watch{app("inventory"): {b: r.binding, app: app("inventory")}}, // knows nothing
		removed: map[string]time.Time{}, first: s.first,
		resend: time.Now().Add(-time.Second),
	}
	sent := l.count()
	ref.deliver(true)
	if !ref.resend.After(time.Now()) {
		t.Errorf("the list is due at %v, which has passed", ref.resend)
	}
	if got := l.count(); got != sent {
		t.Errorf("%d lists were handed on while nothing was known", got-sent)
	}
	// A change meanwhile neither hands on the list nor puts it off.
	due := ref.resend
	ref.deliver(false)
	if !ref.resend.Equal(due) {
		t.Errorf("the list is due at %v, want %v", ref.resend, due)
	}
}

// gone is a listener whose directory was destroyed.
type gone struct{ goregistry.NotifyListener }

func (gone) IsDestroyed() bool { return true }

// What is due to a listener that is gone is not due any more.
func TestNothingIsDueToAListenerThatIsGone(t *testing.T) {
	t.Parallel()
	s := &subscription{listener: gone{}, resend: time.Now().Add(-time.Second)}
	s.deliver(true)
	if !s.resend.IsZero() {
		t.Errorf("the list is due at %v", s.resend)
	}
}
