package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
)

// logDriver is the name under which dubbo-go finds slogger.
const logDriver = "shop-slog"

// logWith makes dubbo-go write to log what is at least as grave as level, so
// that a process has one log in one format.
func logWith(log *slog.Logger, level slog.Level) dubbologger.Option {
	extension.SetLogger(logDriver, func(*common.URL) (dubbologger.Logger, error) {
		return slogger{log.With("part", "dubbo-go"), level}, nil
	})
	return func(o *dubbologger.Options) { o.Logger.Driver = logDriver }
}

// slogger is dubbo-go's logger interface on slog.
type slogger struct {
	log   *slog.Logger
	level slog.Level
}

func (s slogger) print(level slog.Level, args []any) {
	if level >= s.level && s.log.Enabled(context.Background(), level) {
		s.log.Log(context.Background(), level, sentence(fmt.Sprint(args...))) //nolint:sloglint // the message is dubbo-go's
	}
}

func (s slogger) printf(level slog.Level, format string, args []any) {
	if level >= s.level && s.log.Enabled(context.Background(), level) {
		s.log.Log(context.Background(), level, sentence(fmt.Sprintf(format, args...))) //nolint:sloglint // the message is dubbo-go's
	}
}

func (s slogger) Debug(args ...any)                 { s.print(slog.LevelDebug, args) }
func (s slogger) Debugf(format string, args ...any) { s.printf(slog.LevelDebug, format, args) }
func (s slogger) Info(args ...any)                  { s.print(slog.LevelInfo, args) }
func (s slogger) Infof(format string, args ...any)  { s.printf(slog.LevelInfo, format, args) }
func (s slogger) Warn(args ...any)                  { s.print(slog.LevelWarn, args) }
func (s slogger) Warnf(format string, args ...any)  { s.printf(slog.LevelWarn, format, args) }
func (s slogger) Error(args ...any)                 { s.print(slog.LevelError, args) }
func (s slogger) Errorf(format string, args ...any) { s.printf(slog.LevelError, format, args) }

// Fatal ends the process: dubbo-go calls it where it cannot go on.
func (s slogger) Fatal(args ...any) {
	s.print(slog.LevelError, args)
	os.Exit(1)
}

// Fatalf is Fatal with a format.
func (s slogger) Fatalf(format string, args ...any) {
	s.printf(slog.LevelError, format, args)
	os.Exit(1)
}
