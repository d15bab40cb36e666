package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// choice is a setting that takes one of a few words.
type choice struct {
	value   *string
	allowed []string
}

// Choice binds a setting that takes one of the allowed words; *value is its
// default. The shorthand may be empty.
func Choice(fs *pflag.FlagSet, value *string, name, shorthand string, allowed []string, usage string) {
	fs.VarP(&choice{value: value, allowed: allowed}, name, shorthand, usage)
}

func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("it takes %s", strings.Join(c.allowed, ", "))
	}
	*c.value = s
	return nil
}
