package dubbo

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"dubbo.apache.org/dubbo-go/v3/common"

	"github.com/weirmesh/weir/registry"
)

// Chosen is by which registry an interface is called in a process that uses another
// one beside Kubernetes. It is safe for concurrent use.
type Chosen struct {
	value atomic.Value

	mu   sync.Mutex
	said map[*subscription]word // by each that follows the interface, of which clusters may differ
}

// word is a choice and all that made it, for people: sorted, each once.
type word struct {
	choice registry.Choice
	from   []string
}

// with returns what holds of a word and another.
func (w word) with(o word) word {
	switch all := cautious(w.choice, o.choice); {
	case all != w.choice:
		return o
	case all == o.choice:
		from := slices.Concat(w.from, o.from)
		slices.Sort(from)
		return word{all, slices.Compact(from)}
	}
	return w
}

// Load returns what DiscoveryPolicies say of the applications that provide the
// interface now; empty where none does.
func (c *Chosen) Load() registry.Choice {
	choice, _ := c.value.Load().(registry.Choice)
	return choice
}

// say takes over what a subscription finds, and reports what holds of all of them and
// whether that is new.
func (c *Chosen) say(s *subscription, said word) (all word, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = map[*subscription]word{}
	}
	c.said[s] = said
	return c.combine()
}

// leave forgets a subscription that ends. The last one's word stays: dubbo-go may
// follow the interface again, and until that is known nothing is taken back.
func (c *Chosen) leave(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.said, s)
	if len(c.said) > 0 {
		c.combine()
	}
}

func (c *Chosen) combine() (all word, changed bool) {
	for _, said := range c.said {
		all = all.with(said)
	}
	changed = c.Load() != all.choice
	c.value.Store(all.choice)
	return all, changed
}

// dubbo-go makes the cluster over registries before their lists, and keeps no way from
// one to the other but the reference's URL.
var (
	chosenMu sync.Mutex
	chosen   = map[string]*Chosen{} // by interface, group and version: as many as the process refers to
)

// ChosenOf returns where the choice for a reference is kept, whether or not a registry
// of this package is asked for it.
func ChosenOf(u *common.URL) *Chosen {
	if u.SubURL != nil {
		u = u.SubURL // the reference, where u is a registry's
	}
	key := u.ServiceKey()
	chosenMu.Lock()
	defer chosenMu.Unlock()
	c := chosen[key]
	if c == nil {
		c = &Chosen{}
		chosen[key] = c
	}
	return c
}

// caution is the order in which the choices of several applications that provide one
// interface count, whose lists are chosen between as a whole.
var caution = []registry.Choice{registry.ChooseZooKeeper, registry.ChooseBoth, registry.ChooseKubernetes}

// cautious returns the one of two choices that counts; none counts for nothing.
func cautious(a, b registry.Choice) registry.Choice {
	at := slices.Index(caution, b)
	if at >= 0 && (a == "" || at < slices.Index(caution, a)) {
		return b
	}
	return a
}

// decide takes over what the registry says of the applications that are followed.
// What is not known yet says nothing, and takes nothing back.
func (s *subscription) decide() {
	var said word
	for _, w := range s.watches {
		v := w.view()
		if !v.known {
			return
		}
		said = said.with(word{v.snapshot.Choice, []string{v.snapshot.ChoiceFrom}})
	}
	if len(s.watches) == 0 {
		return
	}
	all, changed := s.chosen.say(s, said)
	if !changed {
		return
	}
	if all.choice == "" {
		s.b.log.Info("which registry is called first is the process's own choice again", slog.String("interface", s.ref.iface))
		return
	}
	s.b.log.Info("which registry is called first was chosen", slog.String("interface", s.ref.iface), slog.String("first", string(all.choice)),
		slog.String("by", strings.Join(all.from, ", ")))
}
