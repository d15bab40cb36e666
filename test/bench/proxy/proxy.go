//go:build linux

// Package proxy compares what a request costs on its way through Weir's gateway
// with what it costs through nginx and Caddy, under the same load in the same run.
package proxy

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/turns"
)

// Options say how to measure.
type Options struct {
	turns.Options
	Body, Routes int
}

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("proxy", flag.ContinueOnError)
	fs.SetOutput(out)
	o.Flags(fs, 5000)
	fs.IntVar(&o.Body, "body", 1024, "bytes of each answer")
	fs.IntVar(&o.Routes, "routes", 1000, "routes in Weir's table; the peers have the one that is asked for")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Routes < 1 || o.Body < 1 {
		return o, errors.New("-body and -routes are at least 1")
	}
	err := o.Validate()
	return o, err
}

// RunBackend answers requests until the benchmark ends.
func RunBackend() error {
	return child.Serve(map[string]child.Handler{"serve": child.Handle(serveBackend)})
}

// RunGateway serves Weir's gateway.
func RunGateway() error {
	return child.Serve(map[string]child.Handler{"serve": child.Handle(serveGateway)})
}

// gatewayArgs tell the gateway what to serve.
type gatewayArgs struct {
	Backend string `json:"backend"`
	Routes  int    `json:"routes"`
}

// path is what is asked for, through each.
const path = "/bench/items/42"

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	dir, err := os.MkdirTemp("/var/tmp", "weir-bench-proxy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	backend, err := child.Start(RoleBackend, dir)
	if err != nil {
		return err
	}
	defer backend.Kill()
	var address string
	if err := backend.Call(ctx, "serve", o.Body, &address); err != nil {
		return err
	}
	var subjects []*turns.Subject
	defer func() {
		for _, s := range subjects {
			s.Process.Stop(3 * time.Second)
		}
	}()
	for _, start := range []func() (*turns.Subject, error){
		func() (*turns.Subject, error) {
			return startGateway(ctx, dir, gatewayArgs{Backend: address, Routes: o.Routes})
		},
		func() (*turns.Subject, error) { return startNginx(dir, address) },
		func() (*turns.Subject, error) { return startCaddy(dir, address) },
	} {
		s, err := start()
		if s != nil && s.Process != nil {
			subjects = append(subjects, s)
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Gateway: answers of %d bytes; Weir has %d routes, the others one.\n", o.Body, o.Routes)
	return turns.Take(ctx, o.Options, dir, path, subjects, out, progress)
}
