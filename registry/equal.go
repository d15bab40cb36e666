package registry

import (
	"maps"
	"slices"
)

// Equal reports whether a receiver could tell the two snapshots apart: it
// compares everything but Generation, Observed and StaleSince, which say how a
// snapshot came to be. Discoverers do not send a snapshot equal to the last.
func (s Snapshot) Equal(o Snapshot) bool {
	return s.App == o.App && s.Mode == o.Mode && s.ModeFrom == o.ModeFrom && s.Prefer.Equal(o.Prefer) &&
		s.Choice == o.Choice && s.ChoiceFrom == o.ChoiceFrom && s.Service.Equal(o.Service) &&
		slices.EqualFunc(s.Instances, o.Instances, func(a, b Instance) bool { return a.Equal(&b) })
}

// Equal reports whether both prefer the same, or neither anything.
func (p *Preference) Equal(o *Preference) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.ReturnAfter == o.ReturnAfter && p.From == o.From && slices.Equal(p.Clusters, o.Clusters) &&
		equalInt(p.ClusterPercent, o.ClusterPercent) && equalInt(p.ZonePercent, o.ZonePercent)
}

func equalInt(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

// Equal reports whether both Services have the same address and ports.
func (s Service) Equal(o Service) bool {
	return s.Host == o.Host && s.Headless == o.Headless && s.External == o.External && slices.Equal(s.Ports, o.Ports) &&
		(s.Govern == o.Govern || s.Govern != nil && o.Govern != nil && *s.Govern == *o.Govern)
}

// Equal reports whether both instances say the same in every field.
func (i *Instance) Equal(o *Instance) bool {
	return i.ID == o.ID && i.Name == o.Name && i.Host == o.Host &&
		i.Revision == o.Revision && i.Health == o.Health && i.Node == o.Node &&
		i.Zone == o.Zone && i.Cluster == o.Cluster && i.Problem == o.Problem && i.Warning == o.Warning && i.Standby == o.Standby &&
		i.Details.Equal(o.Details) && i.Kept.Equal(o.Kept) &&
		slices.Equal(i.Endpoints, o.Endpoints) && maps.Equal(i.Metadata, o.Metadata)
}

// Equal reports whether both say the same; times are compared as instants.
func (d Details) Equal(o Details) bool {
	return d.Weight == o.Weight && d.Tag == o.Tag && d.State == o.State && d.Started.Equal(o.Started)
}
