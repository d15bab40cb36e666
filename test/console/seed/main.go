// Command seed fills a control plane with a fleet that does not exist, through
// the APIs that real services use: applications with instances that hold streams,
// confirm the policies they get and report what they count, calls between them,
// policies, switches, routes, and traces. The console is looked at and tested on
// what it makes, in sizes that no machine of a developer runs.
//
// It is no load test and no model of one: numbers are plausible, not measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: seed [flags]

Fills a control plane with a fleet of made-up applications for a while, and stops
by itself. Some of them fail, are slow, have open circuits, lag behind or refuse
their policies. Needs a token of an administrator.

`

// settings are what the flags say.
type settings struct {
	server, tracing string
	token, dataDir  string
	apps            int
	seed            uint64
	last, every     time.Duration
	past            time.Duration
	anywhere        bool
	writes, clean   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // this is main
	err := seed(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func seed(ctx context.Context, args []string, out io.Writer) error {
	s, err := read(args)
	if err != nil {
		return err
	}
	c := newClient(s.server, s.tracing, s.token)
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, s.last)
	defer cancel()

	f := plan(s.apps, s.seed)
	fmt.Fprintf(out, "seeding %s with %d apps, %d instances, for %s\n", s.server, len(f.apps), len(f.instances), s.last)
	if err := c.check(ctx); err != nil {
		return err
	}
	fleet := make(chan error, 1)
	go func() { fleet <- f.run(ctx, c, s.every, s.past, out) }()
	if s.writes {
		if err := f.writeAll(ctx, c, out); err != nil {
			cancel()
			return errors.Join(err, <-fleet)
		}
		if s.clean {
			defer f.takeBack(c, out)
		}
	}
	if s.tracing != "" {
		if err := f.trace(ctx, c, out); err != nil {
			cancel()
			return errors.Join(err, <-fleet)
		}
	}
	err = <-fleet
	fmt.Fprintln(out, "done:", c.summary())
	return err
}

func read(args []string) (settings, error) {
	s := settings{}
	fs := flag.NewFlagSet("seed", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&s.server, "server", or(os.Getenv("WEIR_SERVER"), "http://127.0.0.1:9000"), "address of the control plane (WEIR_SERVER)")
	fs.StringVar(&s.tracing, "tracing-server", os.Getenv("WEIR_TRACING_SERVER"), "address of the collector; none for no traces (WEIR_TRACING_SERVER)")
	// Not shown as the default: help is pasted into places that others read.
	fs.StringVar(&s.token, "token", "", "token of an administrator (WEIR_TOKEN)")
	fs.StringVar(&s.dataDir, "data-dir", or(os.Getenv("WEIR_DATA_DIR"), "data"), "data directory of the weir up whose token to use when there is no other (WEIR_DATA_DIR)")
	fs.IntVar(&s.apps, "apps", 200, "how many applications, 1 to 2000")
	fs.Uint64Var(&s.seed, "seed", 1, "equal numbers make equal fleets")
	fs.DurationVar(&s.last, "for", 2*time.Minute, "how long to go on")
	fs.DurationVar(&s.every, "every", 2*time.Second, "how often an instance reports")
	fs.DurationVar(&s.past, "past", 15*time.Minute, "how much history the first twenty applications begin with, at most 24h")
	fs.BoolVar(&s.writes, "writes", true, "write policies, switches and routes")
	fs.BoolVar(&s.clean, "clean", false, "at the end, take back the policies, switches and routes that this run was the first to write")
	fs.BoolVar(&s.anywhere, "anywhere", false, "allow addresses of other machines")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("it takes no arguments, and was given %q", fs.Args())
	}
	switch {
	case s.apps < 1 || s.apps > 2000:
		return s, fmt.Errorf("-apps %d is not between 1 and 2000", s.apps)
	case s.last <= 0 || s.every < time.Second || s.past < 0 || s.past > 24*time.Hour:
		return s, errors.New("-for is a positive duration, -every at least 1s, -past at most 24h")
	}
	for _, address := range []string{s.server, s.tracing} {
		if address == "" {
			continue
		}
		if err := allowed(address, s.anywhere); err != nil {
			return s, err
		}
	}
	s.server, s.tracing = strings.TrimSuffix(s.server, "/"), strings.TrimSuffix(s.tracing, "/")
	err := s.findToken()
	return s, err
}

// allowed refuses what is not on this machine: a made-up fleet in somebody's real
// control plane is hard to tell from theirs.
func allowed(address string, anywhere bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no address: write one such as http://127.0.0.1:9000", address)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if anywhere || u.Hostname() == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not on this machine, and a made-up fleet there may be taken for a real one: -anywhere allows it", address)
}

// findToken looks where the command line of weir does.
func (s *settings) findToken() error {
	if s.token = or(s.token, os.Getenv("WEIR_TOKEN")); s.token != "" {
		return nil
	}
	file := s.dataDir + "/access/cli.token"
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("there is no token in %s: give one with -token (or WEIR_TOKEN), or name the data directory of a weir up with -data-dir", file)
	}
	s.token = strings.TrimSpace(string(raw))
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
