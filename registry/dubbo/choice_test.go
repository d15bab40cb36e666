package dubbo

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/weirmesh/weir/registry"
)

// A process may follow an interface in several clusters, of which one has a policy.
func TestOneSubscriptionsChoiceIsNotTakenBackByAnother(t *testing.T) {
	t.Parallel()
	c := &Chosen{}
	a, b := &subscription{}, &subscription{}
	for n, step := range []struct {
		by   *subscription
		says registry.Choice
		want registry.Choice
	}{
		{a, registry.ChooseKubernetes, registry.ChooseKubernetes},
		{b, "", registry.ChooseKubernetes},
		{b, registry.ChooseBoth, registry.ChooseBoth},
		{a, registry.ChooseKubernetes, registry.ChooseBoth},
		{a, registry.ChooseZooKeeper, registry.ChooseZooKeeper},
		{a, "", registry.ChooseBoth},
		{b, "", ""},
	} {
		if c.say(step.by, word{choice: step.says}); c.Load() != step.want {
			t.Errorf("step %d: %q holds, want %q", n, c.Load(), step.want)
		}
	}
	c.say(a, word{choice: registry.ChooseKubernetes})
	c.say(b, word{choice: registry.ChooseZooKeeper})
	c.leave(b)
	if c.Load() != registry.ChooseKubernetes {
		t.Errorf("one that has ended still says %q", c.Load())
	}
	c.leave(a)
	if c.Load() != registry.ChooseKubernetes {
		t.Errorf("%q holds after the last has ended", c.Load())
	}
}

// Applications that make one choice are all named as its reason, in one order.
func TestAllWhoChooseAreNamed(t *testing.T) {
	t.Parallel()
	const both = `first=both by="DiscoveryPolicy shop/one, DiscoveryPolicy shop/two"`
	says := func(name string, choice registry.Choice, policy string) (registry.App, *watch) {
		app := registry.App{Namespace: "shop", Name: name}
		return app, &watch{app: app, known: true, snapshot: registry.Snapshot{App: app, Choice: choice, ChoiceFrom: policy}}
	}
	for range 20 { // maps have no order
		var log bytes.Buffer
		b := &Binding{log: slog.New(slog.NewTextHandler(&log, nil))}
		s := &subscription{b: b, chosen: &Chosen{}, watches: map[registry.App]*watch{}}
		for _, in := range []struct {
			app    string
			choice registry.Choice
			policy string
		}{
			{"billing", registry.ChooseBoth, "DiscoveryPolicy shop/two"},
			{"cart", registry.ChooseBoth, "DiscoveryPolicy shop/one"},
			{"inventory", registry.ChooseBoth, "DiscoveryPolicy shop/two"},
			{"orders", registry.ChooseKubernetes, "DiscoveryPolicy shop/three"},
			{"stock", "", ""},
		} {
			app, w := says(in.app, in.choice, in.policy)
			s.watches[app] = w
		}
		s.decide()
		if !strings.Contains(log.String(), both) {
			t.Fatalf("no %s in %s", both, &log)
		}
		// Another subscription, as of another cluster, that says the same has a part in it.
		log.Reset()
		other := &subscription{b: b, chosen: s.chosen, watches: map[registry.App]*watch{}}
		app, w := says("orders", registry.ChooseZooKeeper, "DiscoveryPolicy shop/zero")
		other.watches[app] = w
		other.decide()
		if want := `first=zookeeper by="DiscoveryPolicy shop/zero"`; !strings.Contains(log.String(), want) {
			t.Fatalf("no %s in %s", want, &log)
		}
		log.Reset()
		app, w = says("orders", registry.ChooseBoth, "DiscoveryPolicy shop/nine")
		other.watches[app] = w
		other.decide()
		if want := `first=both by="DiscoveryPolicy shop/nine, DiscoveryPolicy shop/one, DiscoveryPolicy shop/two"`; !strings.Contains(log.String(), want) {
			t.Fatalf("no %s in %s", want, &log)
		}
	}
}
