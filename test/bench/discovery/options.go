//go:build linux

// Package discovery compares how consumers learn of instances: Weir's registry on
// a real Kubernetes API server beside dubbo-go's own on ZooKeeper, in the same
// run on the same machine.
package discovery

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/kubernetes"
	"github.com/weirmesh/weir/test/bench/plan"
	"github.com/weirmesh/weir/test/bench/zookeeper"
)

// Options say what to measure.
type Options struct {
	Plan     plan.Plan
	Changes  int
	Rounds   int
	Quiet    time.Duration
	Timeout  time.Duration
	Subjects []consumer.Backend

	Outage bool
	Down   time.Duration
	After  time.Duration

	Upgrade bool
	Rollout kubernetes.Rollout

	Idle time.Duration

	DevCluster   string
	Kubeconfig   string
	ZooKeeperJar string
	JSON         string
	Profiles     string
	Keep         bool
}

// ParseOptions reads command-line arguments. It returns flag.ErrHelp when only
// help was asked for and has been written to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	var subjects string
	f := flag.NewFlagSet("discovery", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		_, _ = fmt.Fprint(out, usage)
		f.PrintDefaults()
	}
	f.IntVar(&o.Plan.Instances, "instances", 1000, "instances registered")
	f.IntVar(&o.Plan.Apps, "apps", 40, "applications they belong to; the consumer subscribes to all")
	f.IntVar(&o.Changes, "changes", 200, "changes measured with each subject, over all rounds: an instance goes or comes back")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds; in each the subjects take turns, with a fresh consumer")
	f.DurationVar(&o.Quiet, "quiet", 150*time.Millisecond, "a change is done with when nothing was notified for this long")
	f.DurationVar(&o.Timeout, "timeout", 20*time.Minute, "end the run after this long, with an error")
	f.StringVar(&subjects, "subjects", "weir,zookeeper,hub", "what to measure: weir (under dubbo-go), zookeeper (the peer, under dubbo-go), hub (Weir's registry alone)")
	f.BoolVar(&o.Plan.OwnRevisions, "own-revisions", false, "ZooKeeper: give every instance a metadata revision of its own, as dubbo-go does to replicas not started in the same second")
	f.BoolVar(&o.Outage, "outage", false, "instead of changes: kill the registry's server, restart it, and watch the consumer's lists")
	f.DurationVar(&o.Down, "down", 30*time.Second, "outage: how long the server is away")
	f.DurationVar(&o.After, "after", time.Minute, "outage: how long the lists are watched after its return")
	f.BoolVar(&o.Upgrade, "upgrade", false, "instead of changes: replace every instance by another, and watch for dead addresses in the consumer's lists")
	f.IntVar(&o.Rollout.Unavailable, "unavailable", 200, "upgrade: instances that are away at a time, at most")
	f.DurationVar(&o.Rollout.Starts, "starts", time.Second, "upgrade: what an instance takes to be ready, or to end")
	f.DurationVar(&o.Idle, "idle", 10*time.Second, "how long a consumer is watched while nothing changes, once with each subject; 0 for not at all")
	f.StringVar(&o.DevCluster, "devcluster", "../../bin/devcluster", "the command that starts an API server")
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "an administrator's kubeconfig of an API server to use instead; what the run makes in it is removed again")
	f.StringVar(&o.ZooKeeperJar, "zookeeper-jar", zookeeper.DefaultJar, "ZooKeeper's jar, which names its libraries")
	f.StringVar(&o.JSON, "json", "", "also write everything measured to this file")
	f.StringVar(&o.Profiles, "profiles", "", "write heap and processor profiles of the consumers into this directory; numbers of such a run count for nothing")
	f.BoolVar(&o.Keep, "keep", false, "keep the run's directory with all logs")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	for name := range strings.SplitSeq(subjects, ",") {
		b := consumer.Backend(strings.TrimSpace(name))
		if !slices.Contains([]consumer.Backend{consumer.Weir, consumer.ZooKeeper, consumer.Hub}, b) {
			return o, fmt.Errorf("-subjects: there is no %q; choose of weir, zookeeper, hub", name)
		}
		if !slices.Contains(o.Subjects, b) {
			o.Subjects = append(o.Subjects, b)
		}
	}
	o.Plan.Upgrade = o.Upgrade
	return o, o.validate()
}

func (o Options) validate() error {
	switch {
	case o.Rounds < 1:
		return errors.New("-rounds: at least one")
	case o.Changes < 2*o.Rounds:
		return fmt.Errorf("-changes: at least two a round, %d", 2*o.Rounds)
	case o.Quiet <= 0 || o.Timeout <= 0 || o.Down <= 0 || o.After <= 0:
		return errors.New("durations must be positive")
	case o.Idle < 0 || o.Rollout.Starts < 0:
		return errors.New("-idle, -starts: not less than nothing")
	case o.Rollout.Unavailable < 1:
		return errors.New("-unavailable: at least one")
	case o.Outage && o.Upgrade:
		return errors.New("-outage, -upgrade: one at a time")
	case o.Outage && o.Kubeconfig != "":
		return errors.New("-outage kills the API server: it does that only to one of its own, leave out -kubeconfig")
	}
	return o.Plan.Validate()
}

// wants reports whether a subject is measured.
func (o Options) wants(b consumer.Backend) bool { return slices.Contains(o.Subjects, b) }

const usage = `Measures a consumer of many Dubbo instances, over Weir's registry on a real
Kubernetes API server and over dubbo-go's own on ZooKeeper, in turn in one run.
Nothing listens but on loopback, and nothing is left behind. Linux only.

  go run . discovery                        1,000 instances, about 5 minutes
  go run . discovery -instances 5000 -apps 200
  go run . discovery -outage                what a registry's absence does to lists
  go run . discovery -upgrade -instances 3000 -apps 200
                                            dead addresses while all are replaced

`
