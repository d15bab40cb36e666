package setting

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

func TestParsePrecedence(t *testing.T) {
	env := map[string]string{"SHOP_RATE": "30", "SHOP_ADMIN_ADDRESS": ":9"}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	rate := fs.Int("rate", 20, "calls per `second`")
	admin := fs.String("admin-address", ":8081", "`address`")
	wait := fs.Duration("timeout", time.Second, "how long")
	if err := Parse(fs, []string{"-rate", "40"}, lookup, nil); err != nil {
		t.Fatal(err)
	}
	if *rate != 40 || *admin != ":9" || *wait != time.Second {
		t.Errorf("rate %d, admin %s, timeout %v: want the flag's, the variable's, the default", *rate, *admin, *wait)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want []string
	}{
		"unknown flag": {[]string{"-nope"}, nil, []string{"nope", "load -h"}},
		"bad value":    {[]string{"-rate", "many"}, nil, []string{"many", "rate"}},
		"argument":     {[]string{"now"}, nil, []string{"now", "flags only"}},
		"bad variable": {nil, map[string]string{"SHOP_RATE": "many"}, []string{"SHOP_RATE", "many", "-rate"}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := flag.NewFlagSet("load", flag.ContinueOnError)
			fs.Int("rate", 20, "calls per second")
			err := Parse(fs, c.args, func(k string) (string, bool) { v, ok := c.env[k]; return v, ok }, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %q", err, w)
				}
			}
		})
	}
}

func TestHelpNamesVariables(t *testing.T) {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	fs.Int("rate", 20, "calls per `second`")
	var out strings.Builder
	if err := Parse(fs, []string{"-h"}, func(string) (string, bool) { return "", false }, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, w := range []string{"-rate second", "(default 20)", "[SHOP_RATE]"} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("help lacks %q:\n%s", w, &out)
		}
	}
}
