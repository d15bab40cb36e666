//go:build linux

// Command bench compares Weir with its peers, in the same run on the same
// machine. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/discovery"
	"github.com/weirmesh/weir/test/bench/zookeeper"
)

func main() {
	if err := bench(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func bench(args []string) error {
	switch role := child.Role(); role {
	case "":
	case consumer.Role:
		return consumer.Run()
	case zookeeper.Role:
		return zookeeper.RunProviders()
	default:
		return fmt.Errorf("no part is called %q", role)
	}
	name := "-h"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	ctx, _, release := run.Signals(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	switch name {
	case "-h", "-help", "--help", "help":
		return usage(os.Stdout)
	case "discovery":
		options, err := discovery.ParseOptions(args, os.Stderr)
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		if err != nil {
			return err
		}
		return discovery.Run(ctx, options, os.Stdout, os.Stderr)
	default:
		return fmt.Errorf("no benchmark is called %q; there is: discovery", name)
	}
}

func usage(w io.Writer) error {
	_, err := fmt.Fprint(w, `Bench compares Weir with its peers, in the same run on the same machine.

Usage: go run . BENCHMARK [flags]

  discovery   how consumers learn of instances: Kubernetes through Weir beside
              dubbo-go's own registry on ZooKeeper

go run . BENCHMARK -h lists the flags of one. Progress goes to standard error,
the report to standard output.
`)
	return err
}
