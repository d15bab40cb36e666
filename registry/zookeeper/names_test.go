package zookeeper

import (
	"net/url"
	"strings"
	"testing"

	"github.com/weirmesh/weir/internal/testzk"
)

// While a bridge is given another name, replicas with either run for a while, and may
// both have found nobody and written. The later name yields; if both did, nobody would
// be there until both write again.
func TestOfTwoBridgesWithTwoNamesOneYields(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	first := b.run()
	b.finds("10.0.0.1")
	// What another has written that found nobody, too.
	at := b.cfg.Interfaces + "/org.example.Stock/providers"
	names, err := b.look.children(within(t), at)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	later := first.cfg.Name + "-z"
	text, err := url.QueryUnescape(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b.look.put(t, at+"/"+url.QueryEscape(strings.Replace(text, bridgeParam+"="+first.cfg.Name, bridgeParam+"="+later, 1)), "", 0)
	// What comes and what goes is written at once.
	b.instance(2)
	b.finds("10.0.0.1", "10.0.0.1", "10.0.0.2")
	b.run(func(c *BridgeConfig) { c.Name = later })
	b.finds("10.0.0.1", "10.0.0.2")
	list, err := b.providers("org.example.Stock")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Bridge != first.cfg.Name {
			t.Errorf("%s is left to %s", p.Host, p.Bridge)
		}
	}
}
