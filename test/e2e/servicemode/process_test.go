package servicemode

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/metrics"
	"dubbo.apache.org/dubbo-go/v3/metrics/probe"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/server"

	dubbokubernetes "github.com/weirmesh/weir/registry/dubbo/kubernetes"
)

// roleEnv makes the test binary a process of a pod.
const roleEnv = "WEIR_SERVICEMODE_ROLE"

// The application, what it offers, and where.
const (
	echo       = "echo"
	direct     = "echo-direct" // a second Service of its pods, for one plain connection
	overTriple = "org.example.EchoTriple"
	overDubbo  = "org.example.EchoDubbo"
	dubboPort  = 20000
	triplePort = 20001
	adminPort  = 8081
)

// Echo says who it is.
type Echo struct{ pod, name string }

// Who returns the name of the pod that is asked.
func (e *Echo) Who(context.Context, string) (string, error) { return e.pod, nil }

// Reference names the service to dubbo-go.
func (e *Echo) Reference() string { return e.name }

// play runs a role until the pod ends.
func play(role string) int {
	run := map[string]func() error{"provider": provide, "consumer": consume}[role]
	if run == nil {
		run = func() error { return fmt.Errorf("there is no role %q", role) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// admin serves what the test asks of a process.
func admin(mux *http.ServeMux) {
	mux.HandleFunc("GET /sockets", func(w http.ResponseWriter, _ *http.Request) { answer(w, established) })
	go func() {
		srv := &http.Server{Addr: ":" + strconv.Itoa(adminPort), Handler: mux, ReadHeaderTimeout: time.Second}
		fmt.Fprintln(os.Stderr, srv.ListenAndServe())
	}()
}

func answer[T any](w http.ResponseWriter, of func() (T, error)) {
	v, err := of()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text)
}

func provide() error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (string, error) { return "registered", probe.CheckReadiness(r.Context()) })
	})
	admin(mux)
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName(echo),
		dubbogo.WithProtocol(protocol.WithDubbo(), protocol.WithPort(dubboPort), protocol.WithID("dubbo")),
		dubbogo.WithProtocol(protocol.WithTriple(), protocol.WithPort(triplePort), protocol.WithID("tri")),
		dubbogo.WithMetrics(metrics.WithProbeEnabled(), metrics.WithProbePort(22222)),
		dubbogo.WithLogger(dubbologger.WithLevel("warn")),
		dubbokubernetes.WithKubernetes(),
	)
	if err != nil {
		return err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return err
	}
	for name, proto := range map[string]string{overDubbo: "dubbo", overTriple: "tri"} {
		err := srv.RegisterService(&Echo{pod: os.Getenv("POD_NAME"), name: name},
			server.WithInterface(name), server.WithSerialization(constant.Hessian2Serialization),
			// server.WithProtocolIDs does nothing in dubbo-go v3.3.2.
			func(o *server.ServiceOptions) { o.Service.ProtocolIDs = []string{proto} })
		if err != nil {
			return err
		}
	}
	return srv.Serve()
}

// The ways by which a consumer calls.
const (
	byOne   = "one connection"
	byLanes = "lanes"
	byPool  = "pool"
)

// said is what a consumer was answered, by way and pod.
type said map[string]map[string]int

// consumer calls by all of the ways, once in a while on its own account.
type consumer struct {
	ways   map[string]*client.Connection
	failed atomic.Int64
	why    atomic.Value
	calls  atomic.Int64
}

func consume() error {
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName("caller"),
		dubbogo.WithLogger(dubbologger.WithLevel("error")),
		dubbokubernetes.WithKubernetes(),
	)
	if err != nil {
		return err
	}
	c := &consumer{ways: map[string]*client.Connection{}}
	for way, of := range map[string]struct {
		iface, protocol string
		opts            []client.ReferenceOption
	}{
		byOne: {overTriple, constant.TriProtocol, []client.ReferenceOption{
			client.WithURL(fmt.Sprintf("tri://%s.%s.svc:%d", direct, os.Getenv("POD_NAMESPACE"), triplePort)),
		}},
		byLanes: {overTriple, constant.TriProtocol, nil},
		byPool:  {overDubbo, constant.DubboProtocol, nil},
	} {
		cli, err := ins.NewClient()
		if err != nil {
			return err
		}
		if c.ways[way], err = cli.Dial(of.iface, append(of.opts,
			client.WithProtocol(of.protocol), client.WithSerialization(constant.Hessian2Serialization),
			client.WithIDL(constant.NONIDL), //nolint:staticcheck // Triple without generated stubs still needs it
			client.WithRequestTimeout(10*time.Second), client.WithLoadBalanceRandom(),
		)...); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		answer(w, func() (said, error) { return c.call(r.Context(), n), err })
	})
	mux.HandleFunc("GET /failed", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, func() ([]any, error) { return []any{c.failed.Load(), c.why.Load(), c.calls.Load()}, nil })
	})
	admin(mux)
	for range time.Tick(10 * time.Millisecond) {
		c.ask(byLanes)
		c.ask(byPool)
	}
	return errors.New("the clock has stopped")
}

// ask calls once, and returns who answered.
func (c *consumer) ask(way string) string {
	var who string
	c.calls.Add(1)
	if err := c.ways[way].CallUnary(context.Background(), []any{"you"}, &who, "Who"); err != nil {
		if way != byOne { // a plain connection breaks with its pod
			c.failed.Add(1)
			c.why.Store(way + ": " + err.Error())
		}
		return "nobody"
	}
	return who
}

// call calls n times by each way, a few at a time, unless nobody waits any more.
func (c *consumer) call(ctx context.Context, n int) said {
	out := said{}
	var mu sync.Mutex
	var callers sync.WaitGroup
	for way := range c.ways {
		out[way] = map[string]int{}
		for range 4 {
			callers.Go(func() {
				for k := 0; k < n/4 && ctx.Err() == nil; k++ {
					who := c.ask(way)
					mu.Lock()
					out[way][who]++
					mu.Unlock()
				}
			})
		}
	}
	callers.Wait()
	return out
}

// sockets are established connections of a pod, by "address:port" of the other side
// where that is a Service's or another pod's server, and by ":port" of its own.
type sockets map[string]int

// established reads the kernel's list of this pod's network namespace.
func established() (sockets, error) {
	out := sockets{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[3] != "01" {
				continue
			}
			_, own := address(fields[1])
			host, port := address(fields[2])
			out[fmt.Sprintf(":%d", own)]++
			out[fmt.Sprintf("%s:%d", host, port)]++
		}
		err = errors.Join(lines.Err(), f.Close())
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// address reads an address as the kernel writes it: hexadecimal, in the order of
// this machine's bytes, of which IPv6 has four words; IPv4's stands in the last.
func address(s string) (host string, port int64) {
	hex, p, _ := strings.Cut(s, ":")
	port, _ = strconv.ParseInt(p, 16, 32)
	if len(hex) < 8 {
		return "", port
	}
	n, _ := strconv.ParseUint(hex[len(hex)-8:], 16, 32)
	return fmt.Sprintf("%d.%d.%d.%d", byte(n), byte(n>>8), byte(n>>16), byte(n>>24)), port
}
