package main

import (
	"log/slog"
	"strings"

	"github.com/lmittmann/tint"
)

// logger builds the program's logger: readable on a terminal, JSON lines for
// machines. It writes to standard error only.
func (c *cli) logger(standard slog.Level) (*slog.Logger, error) {
	level := standard
	if c.logLevel != "" {
		if err := level.UnmarshalText([]byte(c.logLevel)); err != nil || strings.ContainsAny(c.logLevel, "+-") {
			return nil, usagef("", "--log-level %q is none of debug, info, warn, error", c.logLevel)
		}
	}
	if c.con.errTerminal {
		return slog.New(tint.NewTextHandler(c.con.err, &tint.Options{
			Level:      level,
			TimeFormat: "15:04:05.000",
			NoColor:    !c.con.errStyle().on,
		})), nil
	}
	return slog.New(slog.NewJSONHandler(c.con.err, &slog.HandlerOptions{Level: level})), nil
}
