package dubbo

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"dubbo.apache.org/dubbo-go/v3/common"

	"github.com/weirmesh/weir/registry"
)

// Chosen is by which registry an interface is called in a process that uses another
// one beside Kubernetes. It is safe for concurrent use.
type Chosen struct{ value atomic.Value }

// Load returns what DiscoveryPolicies say of the applications that provide the
// interface now; empty where none does.
func (c *Chosen) Load() registry.Choice {
	choice, _ := c.value.Load().(registry.Choice)
	return choice
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

// decide takes over what the registry says of the applications that are followed.
// What is not known yet says nothing, and takes nothing back.
func (s *subscription) decide() {
	var choice registry.Choice
	var from string
	for _, w := range s.watches {
		v := w.view()
		if !v.known {
			return
		}
		said := v.snapshot.Choice
		if at := slices.Index(caution, said); at >= 0 && (choice == "" || at < slices.Index(caution, choice)) {
			choice, from = said, v.snapshot.ChoiceFrom
		}
	}
	if len(s.watches) == 0 || s.chosen.Load() == choice {
		return
	}
	s.chosen.value.Store(choice)
	if choice == "" {
		s.b.log.Info("which registry is called first is the process's own choice again", slog.String("interface", s.ref.iface))
		return
	}
	s.b.log.Info("which registry is called first was chosen", slog.String("interface", s.ref.iface), slog.String("first", string(choice)), slog.String("by", from))
}
