package breaker

import "github.com/weirmesh/weir/governance"

// Configure replaces what WithSettings gave the circuit: settings over the set's
// and under every policy. Calls that begin afterwards obey; what was counted
// stays. A circuit that stands for others is left as it is. It is for those whose
// own settings can change while they run, such as a gateway's routes.
func (c *Circuit) Configure(r governance.Rules) {
	if c.others {
		return
	}
	s := c.set
	s.mu.Lock()
	c.settings, c.breakerSet = merge(r, s.settings), s.breakerSet || r.Breaker != nil
	now := s.mono()
	c.apply(s.policies, now)
	s.arm(now)
	s.mu.Unlock()
	s.events.deliver()
}
