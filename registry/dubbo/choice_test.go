package dubbo

import (
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
		if c.say(step.by, step.says); c.Load() != step.want {
			t.Errorf("step %d: %q holds, want %q", n, c.Load(), step.want)
		}
	}
	c.say(a, registry.ChooseKubernetes)
	c.say(b, registry.ChooseZooKeeper)
	c.leave(b)
	if c.Load() != registry.ChooseKubernetes {
		t.Errorf("one that has ended still says %q", c.Load())
	}
	c.leave(a)
	if c.Load() != registry.ChooseKubernetes {
		t.Errorf("%q holds after the last has ended", c.Load())
	}
}
