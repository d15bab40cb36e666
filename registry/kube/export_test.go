package kube

import (
	"context"
	"time"
)

// SetDial has the hub reach instances by f; before anybody follows one.
func (h *Hub) SetDial(f func(ctx context.Context, address string) error) { h.dial = f }

// SetLinger has namespaces be watched for so long after they were of use; before
// anything is asked.
func (h *Hub) SetLinger(d time.Duration) { h.linger = d }

// DialTCP is how it reaches them otherwise.
var DialTCP = dialTCP
