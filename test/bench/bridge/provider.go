//go:build linux

// Package bridge compares what a call of a Dubbo method costs on its way from
// HTTP through Weir's gateway with what it costs through an HTTP server on
// dubbo-go's own generic client, against one provider on dubbo-go.
package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	genericfilter "dubbo.apache.org/dubbo-go/v3/filter/generic"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	"dubbo.apache.org/dubbo-go/v3/server"
	hessian "github.com/apache/dubbo-go-hessian2"

	"github.com/weirmesh/weir/test/bench/child"
)

// Roles of this program.
const (
	RoleProvider = "bridge-provider"
	RoleGateway  = "bridge-gateway"
	RoleGeneric  = "bridge-generic"
)

const (
	iface  = "org.example.bench.GreetService"
	method = "greet"
	path   = "/greet/Ada?count=7"
)

// Greeting is what the provider answers.
type Greeting struct {
	Name  string
	Text  string
	Count int32
	Lines []string
}

// JavaClassName returns the class that Java knows the type by.
func (*Greeting) JavaClassName() string { return "org.example.bench.Greeting" }

// GreetService is exported for dubbo-go, which finds its methods by reflection.
type GreetService struct{}

// Greet answers at once.
func (*GreetService) Greet(_ context.Context, name string, count int32) (*Greeting, error) {
	return &Greeting{Name: name, Text: "hello, " + name, Count: count, Lines: []string{"one", "two", "three"}}, nil
}

// RunProvider serves the interface until the benchmark ends.
func RunProvider() error {
	hessian.RegisterPOJO(&Greeting{})
	return child.Serve(map[string]child.Handler{"serve": child.Handle(func(port int) (string, error) {
		ins, err := dubbo.NewInstance(dubbo.WithName("greeter"), dubbo.WithRemoteMetadata(), // nobody to describe the service to
			dubbo.WithShutdown(graceful_shutdown.WithoutInternalSignal()),
			dubbo.WithProtocol(protocol.WithProtocol(constant.DubboProtocol), protocol.WithIp("127.0.0.1"), protocol.WithPort(port)))
		if err != nil {
			return "", err
		}
		srv, err := ins.NewServer()
		if err != nil {
			return "", err
		}
		if err := srv.Register(&GreetService{}, nil, server.WithInterface(iface)); err != nil {
			return "", err
		}
		go func() { _ = srv.Serve() }() // until the process ends
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		for until := time.Now().Add(20 * time.Second); ; {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", address)
			if err == nil {
				return address, conn.Close()
			}
			if time.Now().After(until) {
				return "", fmt.Errorf("the provider does not listen: %w", err)
			}
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // dubbo-go does not say when it listens
		}
	})})
}

// RunGeneric serves HTTP by dubbo-go's generic client.
func RunGeneric() error {
	return child.Serve(map[string]child.Handler{"serve": child.Handle(func(provider string) (string, error) {
		cli, err := client.NewClient()
		if err != nil {
			return "", err
		}
		greet, err := cli.NewGenericService(iface, client.WithURL(constant.DubboProtocol+"://"+provider), client.WithProtocolDubbo(),
			client.WithSerialization(constant.Hessian2Serialization), client.WithRetries(0))
		if err != nil {
			return "", err
		}
		return serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { generic(w, r, greet) }))
	})})
}

// generic answers as the gateway does: arguments by their types, the answer as
// JSON without its class.
func generic(w http.ResponseWriter, r *http.Request, greet *genericfilter.GenericService) {
	count, err := strconv.ParseInt(r.URL.Query().Get("count"), 10, 32)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := r.URL.Path[len("/greet/"):]
	answer, err := greet.Invoke(r.Context(), method, []string{"java.lang.String", "int"}, []hessian.Object{name, int32(count)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fields, ok := answer.(map[any]any)
	if !ok {
		http.Error(w, fmt.Sprintf("%T", answer), http.StatusBadGateway)
		return
	}
	out := make(map[string]any, len(fields))
	for k, v := range fields {
		if key, ok := k.(string); ok && key != "class" {
			out[key] = v
		}
	}
	body, err := json.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that left is seen by the load
}

func serve(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return l.Addr().String(), nil
}
