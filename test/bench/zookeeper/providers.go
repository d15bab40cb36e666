//go:build linux

package zookeeper

import (
	"errors"
	"fmt"
	"sync"
	"time"

	dubboregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"github.com/dubbogo/go-zookeeper/zk"
	gxzookeeper "github.com/dubbogo/gost/database/kv/zk"

	// What providers register through.
	_ "dubbo.apache.org/dubbo-go/v3/metadata/report/zookeeper"
	_ "dubbo.apache.org/dubbo-go/v3/registry/zookeeper"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/clock"
	"github.com/weirmesh/weir/test/bench/dubbo"
	"github.com/weirmesh/weir/test/bench/plan"
)

// Role names the providers' process to child.Start.
const Role = "zookeeper-providers"

// RegisterArgs say what to register where.
type RegisterArgs struct {
	Plan    plan.Plan `json:"plan"`
	Address string    `json:"address"`
}

// ChangeArgs say which instance goes or comes back.
type ChangeArgs struct {
	Instance int  `json:"instance"`
	Up       bool `json:"up"`
}

// Changed tells when a change was asked for and when the server had taken it, by
// clock.Now.
type Changed struct {
	Asked int64 `json:"asked"`
	Taken int64 `json:"taken"`
}

type providers struct {
	plan     plan.Plan
	captured *dubbo.Captured
}

// RunProviders serves the calls of a process that stands for all providers.
func RunProviders() error {
	p := &providers{}
	return child.Serve(map[string]child.Handler{
		"register": child.Handle(p.register),
		"change":   child.Handle(p.change),
		"upgrade":  child.Handle(p.upgrade),
	})
}

const (
	captureName = "bench-zookeeper"
	atOnce      = 32 // registrations; a thousand at once would measure a stampede
)

func (p *providers) register(args RegisterArgs) (struct{}, error) {
	p.plan = args.Plan
	if err := dubbo.Quiet(); err != nil {
		return struct{}{}, err
	}
	if err := dubbo.StoreMetadata(); err != nil {
		return struct{}{}, err
	}
	report := dubbo.Registry{ID: "default", Protocol: "zookeeper", Address: args.Address}
	if err := report.ReportMetadata(); err != nil {
		return struct{}{}, err
	}
	p.captured = dubbo.Capture(captureName, "zookeeper")
	started := time.Now().Unix()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	slots := make(chan struct{}, atOnce)
	for i := range args.Plan.Instances {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := p.registerOne(args, i, started); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, fmt.Errorf("register instance %d: %w", i, err))
			}
		})
	}
	wg.Wait()
	return struct{}{}, failed
}

// registerOne does what dubbo-go's server does for one process. dubbo-go finds
// its ZooKeeper clients by the registry's address: a client under a name of its
// own gives the instance a session of its own, as every process has.
func (p *providers) registerOne(args RegisterArgs, i int, started int64) error {
	timeout, err := time.ParseDuration(dubbo.Timeout)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("provider-%d", i)
	client, err := gxzookeeper.NewZookeeperClient(name, []string{args.Address}, true, gxzookeeper.WithZkTimeOut(timeout))
	if err != nil {
		return err
	}
	if err := awaitSession(client); err != nil {
		return err
	}
	reg, err := dubbo.Registry{ID: name, Protocol: captureName, Address: name}.Open()
	if err != nil {
		return err
	}
	if err := reg.Register(dubbo.ProviderURL(args.Plan, i, started)); err != nil {
		return err
	}
	sdr, ok := reg.(dubboregistry.ServiceDiscoveryRegistry)
	if !ok {
		return fmt.Errorf("%T cannot register instances", reg)
	}
	return sdr.RegisterService()
}

// awaitSession waits until the client is connected. Its calls would fail while
// its first attempts do, as they may on a machine that is busy.
func awaitSession(client *gxzookeeper.ZookeeperClient) error {
	look, patience := time.NewTicker(5*time.Millisecond), time.NewTimer(30*time.Second)
	defer look.Stop()
	defer patience.Stop()
	for client.Conn.State() != zk.StateHasSession {
		select {
		case <-look.C:
		case <-patience.C:
			return errors.New("ZooKeeper gives no session")
		}
	}
	return nil
}

func (p *providers) change(args ChangeArgs) (Changed, error) {
	r, ok := p.captured.Of(plan.Host(args.Instance))
	if !ok {
		return Changed{}, fmt.Errorf("instance %d was never registered", args.Instance)
	}
	var out Changed
	var err error
	out.Asked = clock.Now()
	if args.Up {
		err = r.Discovery.Register(r.Instance)
	} else {
		err = r.Discovery.Unregister(r.Instance)
	}
	out.Taken = clock.Now()
	return out, err
}

// UpgradeArgs say how instances give way to others.
type UpgradeArgs struct {
	From        int           `json:"from"` // the generation that goes
	Unavailable int           `json:"unavailable"`
	Starts      time.Duration `json:"starts"`
}

// upgrade has every instance of a generation unregister, and its successor
// register after a while. It returns when each was asked to, by instance.
func (p *providers) upgrade(args UpgradeArgs) ([]int64, error) {
	asked := make([]int64, p.plan.Total())
	work := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range args.Unavailable {
		wg.Go(func() {
			for i := range work {
				old, successor := i+args.From*p.plan.Instances, i+(1-args.From)*p.plan.Instances
				var err error
				if asked[old], err = p.replace(old, successor, args.Starts); err != nil {
					mu.Lock()
					failed = errors.Join(failed, fmt.Errorf("replace instance %d: %w", old, err))
					mu.Unlock()
				}
			}
		})
	}
	for i := range p.plan.Instances {
		work <- i
	}
	close(work)
	wg.Wait()
	return asked, failed
}

func (p *providers) replace(old, successor int, starts time.Duration) (asked int64, err error) {
	r, ok := p.captured.Of(plan.Host(old))
	if !ok {
		return 0, errors.New("it was never registered")
	}
	was, ok := r.Instance.(*dubboregistry.DefaultServiceInstance)
	if !ok {
		return 0, fmt.Errorf("a %T cannot be copied", r.Instance)
	}
	is := *was
	is.Host, is.Address = plan.Host(successor), ""
	is.ID = fmt.Sprintf("%s:%d", is.Host, is.Port)
	asked = clock.Now()
	if err := r.Discovery.Unregister(was); err != nil {
		return asked, err
	}
	time.Sleep(starts) //nolint:forbidigo // as long as a successor takes to start
	if err := r.Discovery.Register(&is); err != nil {
		return asked, err
	}
	p.captured.Put(dubbo.Registered{Instance: &is, Discovery: r.Discovery})
	return asked, nil
}
