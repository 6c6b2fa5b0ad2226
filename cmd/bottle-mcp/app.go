package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// defaultLevel is the log level of every verb but serve: a person who types a
// command wants its answer.
const defaultLevel = slog.LevelWarn

// operator is who uses the command line.
var operator = provision.Principal{Kind: provision.Operator} //nolint:gochecknoglobals // a constant; Go has no constant structs

// wiring is what a verb asks of the parts it opens.
type wiring struct {
	roots   []string // host directories that copies and workspaces may touch
	backend string   // the operator's choice, "" = the platform's
	copying copyRules
	// merge lets one launch name several bottles: whoever types them means it.
	merge     bool
	recording ledgerRules
	observer  provision.Observer // nil = nobody counts
	longLived bool               // a server: it settles what others left and starts ahead
	// guests answers the calls of bottles that may launch bottles; nil = nobody does.
	guests provision.ServeGuest
}

// app is the parts of the program, wired.
type app struct {
	paths

	log     *slog.Logger
	bottles tools.Bottles
	tools   *toolbox
}

// paths are where things live on this host.
type paths struct {
	stateDir  string // everything that bottles keep
	manifests string // the operator's manifests
}

// open wires the parts for one verb.
func (c *cli) open(ctx context.Context, w wiring) (*app, error) {
	return c.openAt(ctx, w, defaultLevel)
}

// openAt is open with the log level that holds when the user names none.
func (c *cli) openAt(ctx context.Context, w wiring, level slog.Level) (*app, error) {
	log, err := c.logger(level)
	if err != nil {
		return nil, err
	}
	where, err := c.paths()
	if err != nil {
		return nil, err
	}
	box := &toolbox{log: log}
	if counts, ok := w.observer.(instrument); ok {
		box.counts = counts
	}
	w.guests = box.serve
	if box.bottles, err = c.connect(ctx, where, w, log); err != nil {
		return nil, err
	}
	if m, ok := box.bottles.(guestServer); ok && w.longLived {
		go m.ServeGuests(ctx)
	}
	return &app{paths: where, log: log, bottles: box.bottles, tools: box}, nil
}

// paths finds the directories: the flag, then XDG, then the home.
func (c *cli) paths() (paths, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return paths{}, withHint(fmt.Errorf("no home directory: %w", err), "set HOME")
	}
	where := c.stateDir
	if where == "" {
		if where, err = state.DefaultRoot(os.LookupEnv); err != nil {
			return paths{}, err
		}
	}
	if where, err = filepath.Abs(where); err != nil {
		return paths{}, fmt.Errorf("state directory: %w", err)
	}
	return paths{stateDir: where, manifests: filepath.Join(home, manifest.DirName)}, nil
}

// rootsFor are the roots of a verb whose user names one directory, or none.
// A person who types a path means it; only a tool's caller is held to roots.
func rootsFor(dir string) []string {
	if dir == "" {
		return nil
	}
	return []string{dir}
}

// freeBytes is the space left for this user below dir; negative when unknown.
func freeBytes(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return -1
	}
	return int64(fs.Bavail) * int64(fs.Bsize) //nolint:gosec,unconvert // the types differ by platform
}
