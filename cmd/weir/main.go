// Command weir is Weir's one binary: it runs the mesh and asks it questions.
package main

import (
	"context"
	"os"
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
