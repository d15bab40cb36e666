package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
)

// waitFlag adds the flag that says how long to wait for confirmations.
func waitFlag(c *cobra.Command) *time.Duration {
	return c.Flags().Duration("wait", 5*time.Second, "how long to wait for the instances to confirm; 0 does not")
}

// awaitConfirmation shows how instances confirm what was written, until all have
// said something or the time is over.
func (m *Main) awaitConfirmation(ctx context.Context, cl *client.Client, done *api.PolicyAnswer, most time.Duration, tell bool) error {
	if tell {
		m.showWarnings(done.Warnings)
	}
	if done.Confirmation == nil {
		return nil
	}
	key, version := done.Policy.Key(), done.Version.Version
	end := time.Now().Add(most)
	shown := ""
	for {
		c := done.Confirmation
		if tell && most > 0 && c.Live > 0 && c.Confirmed < c.Live {
			if now := fmt.Sprintf("%d of %d have confirmed …", c.Confirmed, c.Live); now != shown {
				shown = now
				fmt.Fprintln(m.Stderr, now)
			}
		}
		if c.Confirmed+c.Refused == c.Live || time.Now().After(end) || c.Version != version {
			break
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		var next api.Confirmation
		if _, err := cl.Do(ctx, client.Request{Path: client.Path(policiesPath, key.Namespace, key.Name) + "/status"}, &next); err != nil {
			return fmt.Errorf("version %d is written; who has confirmed it cannot be asked: %w", version, err)
		}
		done.Confirmation = &next
	}
	if tell {
		m.showConfirmation(done.Policy, *done.Confirmation)
	}
	return nil
}

func (m *Main) showConfirmation(p governance.Policy, c api.Confirmation) {
	who := p.Target.App.Name + " instances"
	if p.Target.At == governance.Caller {
		who = "instances that call " + p.Target.App.Name
	}
	if c.Live == 1 {
		who = strings.Replace(who, "instances", "instance", 1)
		who = strings.Replace(who, "that call ", "that calls ", 1)
	}
	switch {
	case c.Live == 0:
		fmt.Fprintf(m.Stdout, "confirmed by nobody: there are 0 live %s; those that come will obey\n", who)
		return
	case c.All():
		fmt.Fprintf(m.Stdout, "confirmed by %d of %d %s in %s\n", c.Confirmed, c.Live, who, tookText(time.Duration(c.Took)))
		return
	}
	fmt.Fprintf(m.Stdout, "confirmed by %d of %d %s so far\n", c.Confirmed, c.Live, who)
	for _, i := range c.Instances {
		switch i.State {
		case api.Refused:
			fmt.Fprintf(m.Stdout, "  %s refuses: %s\n", or(i.Name, i.Instance), oneLine(i.Reason))
		case api.Pending:
			fmt.Fprintf(m.Stdout, "  %s has not said so yet; it enforces version %d\n", or(i.Name, i.Instance), i.Applied)
		}
	}
}

func tookText(d time.Duration) string {
	return fmt.Sprintf("%.2f s", max(d, 0).Seconds())
}

// written tells of a write and waits for its confirmation.
func (m *Main) written(ctx context.Context, cl *client.Client, verb string, done *api.PolicyAnswer, wait time.Duration, format view.Format) error {
	tell := format == view.Table
	if tell {
		fmt.Fprintf(m.Stdout, "%s %s, version %d\n", verb, done.Policy.Key(), done.Version.Version)
	}
	if err := m.awaitConfirmation(ctx, cl, done, wait, tell); err != nil {
		return err
	}
	if tell {
		return nil
	}
	return view.Encode(m.Stdout, format, done)
}
