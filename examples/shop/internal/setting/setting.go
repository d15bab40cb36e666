// Package setting reads a program's settings: flags first, then environment
// variables, then defaults.
package setting

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Prefix begins the name of every environment variable of the shop.
const Prefix = "SHOP_"

// Variable returns the environment variable that stands in for a flag.
func Variable(flagName string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// Parse sets the flags of fs from args, and those not among args from the
// environment. It returns flag.ErrHelp after printing help to out.
func Parse(fs *flag.FlagSet, args []string, lookup func(string) (string, bool), out io.Writer) error {
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			Usage(fs, out)
			return err
		}
		return fmt.Errorf("%w; %s -h lists the flags", err, fs.Name())
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; %s takes flags only, %s -h lists them", fs.Arg(0), fs.Name(), fs.Name())
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		if given[f.Name] {
			return
		}
		if v, ok := lookup(Variable(f.Name)); ok {
			if err := f.Value.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %q is not a value for -%s: %w", Variable(f.Name), v, f.Name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Usage prints each flag with its variable and default.
func Usage(fs *flag.FlagSet, out io.Writer) {
	fmt.Fprintf(out, "Usage of %s:\n", fs.Name())
	fs.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(out, "  -%s %s\n      %s", f.Name, kind, strings.ReplaceAll(text, "\n", "\n      "))
		if f.DefValue != "" {
			fmt.Fprintf(out, " (default %s)", f.DefValue)
		}
		fmt.Fprintf(out, " [%s]\n", Variable(f.Name))
	})
}
