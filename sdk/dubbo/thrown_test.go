package dubbo

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"dubbo.apache.org/dubbo-go/v3/server"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"
)

const attic = "org.example.shop.AtticService"

// BrokenError is an exception that a service throws.
type BrokenError struct {
	SerialVersionUID     int64
	DetailMessage        string
	StackTrace           []java_exception.StackTraceElement
	SuppressedExceptions []java_exception.Throwabler
	Cause                java_exception.Throwabler
}

func (b BrokenError) Error() string                                     { return b.DetailMessage }
func (BrokenError) JavaClassName() string                               { return "org.example.shop.BrokenException" }
func (b BrokenError) GetStackTrace() []java_exception.StackTraceElement { return b.StackTrace }

// Attic answers over both protocols, without a proto.
type Attic struct{}

func (Attic) Find(_ context.Context, what string) (*Stock, error) {
	switch what {
	case "vase":
		return nil, &BrokenError{DetailMessage: "in pieces", StackTrace: []java_exception.StackTraceElement{}}
	case "ghost":
		return nil, nil
	case "bat":
		return nil, errors.New("it flew away")
	case "list":
		return nil, triple_protocol.NewError(triple_protocol.CodeInvalidArgument, errors.New("the list @in is nil"))
	}
	return &Stock{Left: 4}, nil
}

// forking is the connection that makes each call twice at the same time, over Triple.
const forking = constant.ClusterKeyForking

// furnished are connections to the attic, over Dubbo and Triple. dubbo-go can be
// started once in a process.
var furnished = sync.OnceValues(func() (conns map[string]*client.Connection, err error) {
	hessian.RegisterPOJO(&BrokenError{})
	kit, err := newKit("attic")
	if err != nil {
		return nil, err
	}
	opts := []dubbogo.InstanceOption{
		dubbogo.WithName("attic"), dubbogo.WithLogger(dubbologger.WithLevel("fatal")), dubbogo.WithRemoteMetadata(),
		dubbogo.WithShutdown(graceful_shutdown.WithoutInternalSignal()), WithGovernance(kit),
	}
	at := map[string]string{}
	for _, p := range []string{constant.DubboProtocol, constant.TriProtocol} {
		var port int
		if at[p], port, err = address(); err != nil {
			return nil, err
		}
		opts = append(opts, dubbogo.WithProtocol(protocol.WithProtocol(p), protocol.WithIp("127.0.0.1"), protocol.WithPort(port)))
	}
	ins, err := dubbogo.NewInstance(opts...)
	if err != nil {
		return nil, err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return nil, err
	}
	if err := srv.RegisterService(&Attic{}, server.WithInterface(attic)); err != nil {
		return nil, err
	}
	go func() { _ = srv.Serve() }()
	conns = map[string]*client.Connection{}
	for p, address := range at {
		if err := waitFor(address); err != nil {
			return nil, err
		}
		cli, err := ins.NewClient(client.WithClientSerialization(constant.Hessian2Serialization))
		if err != nil {
			return nil, err
		}
		dial := func(url string, opts ...client.ReferenceOption) (*client.Connection, error) {
			return cli.Dial(attic, append(opts, client.WithURL(url), client.WithProtocol(p), client.WithProvidedBy("attic"),
				client.WithIDL(constant.NONIDL))...) //nolint:staticcheck // Triple without generated stubs still needs it
		}
		url := p + "://" + address
		if conns[p], err = dial(url); err != nil {
			return nil, err
		}
		if p == constant.TriProtocol {
			if conns[forking], err = dial(url+";"+url, client.WithClusterForking()); err != nil {
				return nil, err
			}
		}
	}
	return conns, nil
})

// Answers, exceptions and null come the same way over both protocols, to callers
// that say they are Dubbo Java as well as to those that do not.
func TestAnswersWithoutAProtoComeOverBothProtocols(t *testing.T) {
	newMesh(t) // with other instances of dubbo-go in the process
	conns, err := furnished()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{constant.DubboProtocol, constant.TriProtocol} {
		conn := conns[p]
		for _, java := range []bool{true, false} {
			t.Run(p+" java="+strconv.FormatBool(java), func(t *testing.T) {
				ctx := t.Context()
				if java {
					ctx = context.WithValue(ctx, constant.AttachmentKey, map[string]any{fromJava: "restock"})
				}
				find := func(what string) (*Stock, error) {
					s := new(Stock)
					return s, conn.CallUnary(ctx, []any{what}, s, "Find", client.WithCallRetries(0))
				}
				if s, err := find("chair"); err != nil || s.Left != 4 {
					t.Errorf("an answer came as %+v, %v", s, err)
				}
				if s, err := find("ghost"); err != nil || s.Left != 0 {
					t.Errorf("null came as %+v, %v", s, err)
				}
				_, err := find("vase")
				var thrown *hessian2.GenericException
				switch {
				case p == constant.TriProtocol && !java: // as dubbo-go tells it
					if err == nil || !strings.Contains(err.Error(), "in pieces") {
						t.Errorf("an exception came as %v", err)
					}
				case !errors.As(err, &thrown) || thrown.ExceptionClass != "org.example.shop.BrokenException" || thrown.ExceptionMessage != "in pieces":
					t.Errorf("an exception came as %T %v", err, err)
				}
				if _, err = find("bat"); err == nil || !strings.Contains(err.Error(), "it flew away") {
					t.Errorf("an error came as %v", err)
				}
				if _, listed := find("list"); listed == nil || !strings.Contains(listed.Error(), "@in is nil") {
					t.Errorf("an error that reads as dubbo-go's of null came as %v", listed)
				}
				if p == constant.DubboProtocol && (!errors.As(err, &thrown) || thrown.ExceptionClass != "java.lang.RuntimeException") {
					t.Errorf("an error came as %T %v", err, err)
				}
			})
		}
	}
}

// A forking cluster makes several attempts at the same time, with one invocation:
// each gets its answer, and none writes into a reply that the caller has.
func TestAttemptsAtTheSameTimeKeepTheirAnswersApart(t *testing.T) {
	newMesh(t)
	conns, err := furnished()
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		s := new(Stock)
		if err := conns[forking].CallUnary(t.Context(), []any{"chair"}, s, "Find"); err != nil || s.Left != 4 {
			t.Fatalf("an answer came as %+v, %v", s, err)
		}
		s.Left = 0 // it is the caller's
	}
	var thrown *hessian2.GenericException
	ctx := context.WithValue(t.Context(), constant.AttachmentKey, map[string]any{fromJava: "restock"})
	if err := conns[forking].CallUnary(ctx, []any{"vase"}, new(Stock), "Find"); !errors.As(err, &thrown) {
		t.Errorf("an exception came as %v", err)
	}
}
