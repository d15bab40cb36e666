package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	// What dubbo-go finds by name among what a program imports.
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	_ "dubbo.apache.org/dubbo-go/v3/metadata/mapping/metadata"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	_ "dubbo.apache.org/dubbo-go/v3/registry/directory"
	_ "dubbo.apache.org/dubbo-go/v3/registry/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/registry/servicediscovery"
	"dubbo.apache.org/dubbo-go/v3/server"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java8_time"
	gxbig "github.com/dubbogo/gost/math/big"
)

// processEnv makes the test binary a provider process instead of running tests.
const processEnv = "WEIR_DUBBO_INTEROP_PROCESS"

// processConfig is a provider process.
type processConfig struct {
	Protocol string // "dubbo" or "tri"
	Port     int
	Name     string
}

// probe is the interface of these tests.
const probe = "org.example.Probe"

// Address is part of a Person.
type Address struct {
	Street string
	Zip    int32
}

// JavaClassName returns the class that Java knows the type by.
func (*Address) JavaClassName() string { return "org.example.Address" }

// Person is a class of the tests.
type Person struct {
	Name    string
	Age     int32
	Weight  float64
	Admin   bool
	Tags    []string
	Home    *Address
	Friends []*Person
	Born    time.Time
}

// JavaClassName returns the class that Java knows the type by.
func (*Person) JavaClassName() string { return "org.example.Person" }

// Color is an enum.
type Color hessian.JavaEnum

// The colors.
const (
	Red Color = iota + 1
	Green
)

// JavaClassName returns the class that Java knows the type by.
func (Color) JavaClassName() string { return "org.example.Color" }

// String returns the name of the constant.
func (c Color) String() string {
	if c == Green {
		return "GREEN"
	}
	return "RED"
}

// EnumValue returns the constant of a name.
func (Color) EnumValue(s string) hessian.JavaEnum {
	if s == "GREEN" {
		return hessian.JavaEnum(Green)
	}
	return hessian.JavaEnum(Red)
}

// Probe answers what it is asked.
type Probe struct{ name string }

// Who tells which process answers.
func (p *Probe) Who(context.Context) (string, error) { return p.name, nil }

// Describe shows the arguments as Go has them.
func (p *Probe) Describe(_ context.Context, s string, b bool, i8 int8, i16 int16, i32 int32, i64 int64, f float64) (string, error) {
	return fmt.Sprintf("%q %v %d %d %d %d %v", s, b, i8, i16, i32, i64, f), nil
}

// Person returns the person as Go has it.
func (p *Probe) Person(_ context.Context, who *Person) (*Person, error) { return who, nil }

// Lists shows lists, sets and maps as Go has them.
func (p *Probe) Lists(_ context.Context, names []string, numbers []int64, byName map[string]int64, people []*Person) (string, error) {
	text, err := json.Marshal([]any{names, numbers, byName, people})
	return string(text), err
}

// Exact shows the arguments that are easily bent.
func (p *Probe) Exact(_ context.Context, d *gxbig.Decimal, when time.Time, local java8_time.LocalDateTime, raw []byte, c Color) (string, error) {
	return fmt.Sprintf("%s %s %d %d %q %s", d, when.UTC().Format(time.RFC3339Nano), local.Date.Year, local.Time.Second, raw, c), nil
}

// Results answers one of everything that dubbo-go's generic filter leaves whole:
// of decimals, big integers, and dates outside structs it does not.
func (p *Probe) Results(context.Context) (map[string]any, error) {
	return map[string]any{
		"long": int64(1)<<53 + 1, "int": int32(-7), "double": 0.5, "local": java8_time.LocalDate{Year: 2026, Month: 11, Day: 20},
		"color": Green, "null": nil, "text": "é😀\u2028\"",
		"person": &Person{Name: "bob", Home: &Address{Street: "x"}, Born: time.UnixMilli(1700000000123)}, "class": "economy",
	}, nil
}

// Slow answers after some milliseconds, whatever time the call has.
func (p *Probe) Slow(_ context.Context, ms int64) (string, error) {
	fmt.Fprintln(os.Stderr, slowBegan)
	<-time.After(time.Duration(ms) * time.Millisecond)
	return p.name, nil
}

// slowBegan is what a provider says on each slow call.
const slowBegan = "a slow call has begun"

// Attached tells an attachment that came along.
func (p *Probe) Attached(ctx context.Context, key string) (string, error) {
	if m, ok := ctx.Value(constant.AttachmentKey).(map[string]any); ok {
		for k, v := range m {
			if strings.EqualFold(k, key) {
				return fmt.Sprint(v), nil
			}
		}
	}
	return "", nil
}

// Fail throws.
func (p *Probe) Fail(_ context.Context, what string) (string, error) {
	if what == "exit" {
		os.Exit(3)
	}
	return "", errors.New(what)
}

// Big answers a string of n characters.
func (p *Probe) Big(_ context.Context, n int32) (string, error) {
	return strings.Repeat("x", int(n)), nil
}

// Nothing answers nothing.
func (p *Probe) Nothing(context.Context) error { return nil }

// registerClasses tells Hessian the classes of the tests.
func registerClasses() {
	hessian.RegisterPOJO(&Person{})
	hessian.RegisterPOJO(&Address{})
	hessian.RegisterJavaEnum(Red)
	hessian.RegisterPOJO(&java8_time.LocalDateTime{})
}

// provide runs a provider until it is told to end.
func provide(text string) int {
	var cfg processConfig
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		err = serve(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(cfg processConfig) error {
	registerClasses()
	p := protocol.WithDubbo()
	if cfg.Protocol == constant.TriProtocol {
		p = protocol.WithTriple()
	}
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName("probe"), dubbogo.WithRemoteMetadata(), dubbogo.WithLogger(dubbologger.WithLevel("warn")),
		dubbogo.WithProtocol(p, protocol.WithIp("127.0.0.1"), protocol.WithPort(cfg.Port)),
		dubbogo.WithShutdown(graceful_shutdown.WithConsumerUpdateWaitTime(time.Second), graceful_shutdown.WithStepTimeout(2*time.Second),
			graceful_shutdown.WithOfflineRequestWindowTimeout(100*time.Millisecond)),
	)
	if err != nil {
		return err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return err
	}
	opts := []server.ServiceOption{server.WithInterface(probe), server.WithSerialization(constant.Hessian2Serialization)}
	var info *common.ServiceInfo
	if cfg.Protocol == constant.TriProtocol {
		opts = append(opts, server.WithIDLMode(constant.NONIDL)) //nolint:staticcheck // without it dubbo-go v3.3.2 serves no method
	}
	if err := srv.Register(&Probe{name: cfg.Name}, info, opts...); err != nil {
		return err
	}
	return srv.Serve()
}
