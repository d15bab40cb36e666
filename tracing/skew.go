package tracing

import "math"

// clock is how far ahead, in microseconds, a host's clock is of that of the host
// where the trace began.
type clock struct {
	host  *Endpoint
	ahead int64
}

// correctClocks moves the times of spans whose hosts' clocks differ, by Zipkin's
// rules: a server that seems to begin no later than its client is taken to be in
// the middle of it, and whatever of its host stands below it is moved as far. The
// clock of the root is the reference; without a root, or with several, there is
// none, and nothing is moved. It returns what was added to each span's times.
// order lists parents before their children.
func correctClocks(spans []Span, parent, order []int) []int64 {
	added := make([]int64, len(spans))
	below := make([]*clock, len(spans)) // what holds for the children of a span
	for _, i := range order {
		up := parent[i]
		if up < 0 {
			continue
		}
		s, c := &spans[i], below[up]
		if c != nil && sameHost(c.host, &s.Local) {
			added[i] = -c.ahead
		}
		if own := clockOf(&spans[up], s, moved(spans[up].Timestamp, added[up]), moved(s.Timestamp, added[i])); own != nil {
			if sameHost(own.host, &s.Local) {
				added[i] = plus(added[i], -own.ahead)
			}
			c = own
		}
		below[i] = c
	}
	return added
}

// clockOf returns what a call tells of its server's clock, nil for nothing: client
// and server are its two spans, which begin at the times given.
func clockOf(client, server *Span, sent, received int64) *clock {
	if client.Kind != Client || server.Kind != Server || sent == 0 || received == 0 || received > sent ||
		client.Local.IsZero() || server.Local.IsZero() || sameHost(&client.Local, &server.Local) {
		return nil
	}
	if client.Duration == 0 || server.Duration == 0 || client.Duration < server.Duration {
		// Nobody waited for the server. That it began later is all there is to know.
		return &clock{&server.Local, received - sent - 1}
	}
	travel := (client.Duration - server.Duration) / 2
	if ahead := plus(received-sent, -travel); ahead != 0 {
		return &clock{&server.Local, ahead}
	}
	return nil
}

// sameHost reports whether two endpoints are known to have one address.
func sameHost(a, b *Endpoint) bool {
	return a.IPv6.IsValid() && a.IPv6 == b.IPv6 || a.IPv4.IsValid() && a.IPv4 == b.IPv4
}

// moved is a time with what is added to it; 0, which is no time, stays so.
func moved(at, added int64) int64 {
	if at == 0 {
		return 0
	}
	return max(1, plus(at, added))
}

// plus is a sum that stops at the ends of what an int64 holds: senders write any
// time that they like.
func plus(a, b int64) int64 {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return -math.MaxInt64
	default:
		return sum
	}
}
