//go:build unix && !linux

package pg_test

import (
	"errors"
	"syscall"
)

func mountSmall(string) error { return errors.New("only on Linux") }

var ownMounts *syscall.SysProcAttr
