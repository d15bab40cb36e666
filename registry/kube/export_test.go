package kube

import "context"

// SetDial has the hub reach instances by f; before anybody follows one.
func (h *Hub) SetDial(f func(ctx context.Context, address string) error) { h.dial = f }

// DialTCP is how it reaches them otherwise.
var DialTCP = dialTCP
