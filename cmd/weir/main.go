// Command weir is Weir's one binary: it runs the mesh and asks it questions.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/weirmesh/weir/cmd/weir/internal/cli"
	"github.com/weirmesh/weir/internal/run"
)

// version is set by the linker; see the Makefile.
var version = "dev"

func main() {
	os.Exit(start())
}

func start() int {
	// Where the reader of a pipe has gone (weir up | tee log, and Ctrl-C ended
	// tee), writing fails; it must not end what has still to be ended in order.
	signal.Ignore(syscall.SIGPIPE)
	ctx, force, release := run.Signals(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer release()
	m := cli.Main{
		Version: version,
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env:   os.LookupEnv,
		Force: force,
	}
	return m.Run(ctx, os.Args[1:])
}
