package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger/export"
)

func newLedger(c *cli) *cobra.Command {
	return verbs(&cobra.Command{Use: "ledger", Short: "Verify, read and export what bottles asked of the outside"},
		newLedgerVerify(c), newLedgerTail(c), newLedgerExport(c))
}

// ledgerSource is where a ledger is: a bottle's, or files that were named.
type ledgerSource struct {
	bottle string
	paths  []string
}

func (s *ledgerSource) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.bottle, "bottle", "", "the ledger of this bottle, also one that was cleaned up and preserved")
}

// check refuses a source that names nothing, or two things.
func (s *ledgerSource) check(verb string, args []string) error {
	s.paths = args
	if (s.bottle == "") == (len(args) == 0) {
		return usagef(verb, "name one ledger: with --bottle ID, or its files, or the directory that holds them")
	}
	return nil
}

// openedLedger is a ledger with what the host has seen of it.
type openedLedger struct {
	files  []*os.File
	reader *ledger.Reader
	anchor *ledger.Anchor // nil = nothing is known
}

func (o *openedLedger) close() {
	for _, f := range o.files {
		_ = f.Close() // read only: nothing to lose
	}
}

// ledgerStore opens the state that a bottle's ledger is in; nil where files are
// named.
func (c *cli) ledgerStore(s ledgerSource) (*state.Store, error) {
	if s.bottle == "" {
		return nil, nil
	}
	where, err := c.paths()
	if err != nil {
		return nil, err
	}
	store, err := state.Open(where.stateDir)
	if err != nil {
		return nil, withHint(fmt.Errorf("no state directory: %w", err), "name another one with --state-dir")
	}
	return store, nil
}

// withLedger opens a ledger once, for use.
func (c *cli) withLedger(s ledgerSource, use func(*openedLedger) error) error {
	store, err := c.ledgerStore(s)
	if err != nil {
		return err
	}
	if store != nil {
		defer func() { _ = store.Close() }()
	}
	o, err := openLedger(store, s)
	if err != nil {
		return err
	}
	defer o.close()
	return use(o)
}

// openLedger opens a ledger as it is now.
func openLedger(store *state.Store, s ledgerSource) (*openedLedger, error) {
	o := &openedLedger{}
	var err error
	if store != nil {
		err = openBottleLedger(store, backend.ID(s.bottle), o)
	} else {
		err = openLedgerFiles(s.paths, o)
	}
	if err == nil {
		o.reader, err = ledger.NewReader(o.files)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func openBottleLedger(store *state.Store, id backend.ID, o *openedLedger) (err error) {
	o.files, err = store.OpenLedger(id)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("bottle %.60q has no ledger here", string(id)), "see 'bottle-mcp list'; a bottle's ledger goes with it unless its directory holds .preserve")
	}
	if err != nil {
		return err
	}
	anchor, err := store.ReadAnchor(id)
	if err == nil {
		o.anchor = &anchor
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openLedgerFiles opens files by name. A directory stands for the ledger in it,
// with the head beside it.
func openLedgerFiles(paths []string, o *openedLedger) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("no ledger: %w", err)
		}
		if !info.IsDir() {
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("no ledger: %w", err)
			}
			o.files = append(o.files, f)
			continue
		}
		if err := openLedgerDir(path, o); err != nil {
			return err
		}
	}
	return nil
}

func openLedgerDir(dir string, o *openedLedger) error {
	for _, names := range [][]string{ledger.Names(), state.KeptLedger()} {
		for _, name := range names {
			f, err := os.Open(filepath.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("no ledger: %w", err)
			}
			o.files = append(o.files, f)
		}
		if len(o.files) > 0 {
			break
		}
	}
	if len(o.files) == 0 {
		return withHint(fmt.Errorf("there is no ledger in %s", dir), "its files are named "+strings.Join(ledger.Names(), ", "))
	}
	data, err := os.ReadFile(filepath.Join(dir, state.AnchorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	o.anchor = &ledger.Anchor{}
	if err = errors.Join(err, json.Unmarshal(data, o.anchor)); err != nil {
		return fmt.Errorf("read the head of the ledger in %s: %w", dir, err)
	}
	return nil
}

func newLedgerVerify(c *cli) *cobra.Command {
	var source ledgerSource
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [FILE…|DIR]",
		Short: "Check that nothing was changed, removed, moved or added in a ledger",
		Long: `verify checks every line of a ledger against the one before it, and the head
that the host keeps outside the sidecar's reach. It fails, and names the line,
when anything is not what was written.`,
		Example: `  bottle-mcp ledger verify --bottle my-bottle
  bottle-mcp ledger verify ./evidence`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := source.check("ledger verify", args); err != nil {
				return err
			}
			return c.withLedger(source, func(o *openedLedger) error { return c.verifyLedger(o, asJSON) })
		},
	}
	source.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *cli) verifyLedger(o *openedLedger, asJSON bool) error {
	var err error
	r := ledger.Verify(o.reader, o.anchor)
	if asJSON {
		err = printJSON(c.con, r)
	} else {
		c.printVerified(r, o.anchor != nil)
	}
	if err == nil && r.Problem != nil {
		err = &exitError{exitFailed}
	}
	return err
}

func (c *cli) printVerified(r ledger.Report, known bool) {
	st := c.con.outStyle()
	line := func(name, format string, args ...any) {
		c.con.printf("  %-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Problem != nil {
		c.con.printf("%s %s\n", st.mark(false), st.red("the ledger is not what was written"))
		line("where", "%s", oneLine(r.Problem.Error(), 0))
		line("before it", "%d lines are right", r.Entries)
		return
	}
	c.con.printf("%s ledger of bottle %s: OK\n", st.mark(true), orDash(oneLine(r.Bottle, 60)))
	if r.Entries == 0 {
		line("entries", "0")
		return
	}
	line("entries", "%d (number %d to %d) in %d files", r.Entries, r.First, r.Last, r.Files)
	line("range", "%s to %s", r.Begin.Local().Format(time.DateTime), r.End.Local().Format(time.DateTime))
	line("decisions", "%d allowed, %d refused", r.Counts.Allowed, r.Counts.Denied)
	line("bytes", "%d out, %d in", r.Counts.BytesOut, r.Counts.BytesIn)
	line("head", "%s", r.Head)
	if known {
		line("host", "its head is the one the host has seen, or was added to since")
	} else {
		line("host", "%s", st.yellow("the host knows no head of it, so that its end was not cut off is not proven"))
	}
	if r.Missed > 0 {
		line("dropped", "%d lines before these, by rotation", r.Missed)
	}
	if r.Torn > 0 {
		line("torn", "%d bytes of a last line that is not finished: its writer died, or writes just now", r.Torn)
	}
	if !r.Stopped {
		line("end", "open: its sidecar runs, or was killed")
	}
}

func newLedgerExport(c *cli) *cobra.Command {
	var source ledgerSource
	var asHAR, asCSV, asJSON bool
	cmd := &cobra.Command{
		Use:   "export (--har | --csv | --json) [FILE…|DIR]",
		Short: "Print the decisions of a ledger for other programs",
		Long: `export prints decisions as an HTTP Archive (HAR 1.2), CSV or JSON lines. A ledger
holds no header value, query, body or secret, and neither does what is printed.
A ledger that does not verify is exported nevertheless, and the command fails.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := source.check("ledger export", args); err != nil {
				return err
			}
			var format export.Format
			chosen := 0
			for f, on := range map[export.Format]bool{export.HAR: asHAR, export.CSV: asCSV, export.JSON: asJSON} {
				if on {
					format = f
					chosen++
				}
			}
			if chosen != 1 {
				return usagef("ledger export", "name one format: --har, --csv or --json")
			}
			return c.withLedger(source, func(o *openedLedger) error { return c.exportLedger(o, format) })
		},
	}
	source.add(cmd)
	cmd.Flags().BoolVar(&asHAR, "har", false, "HTTP Archive 1.2")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "comma-separated values with a heading")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func (c *cli) exportLedger(o *openedLedger, format export.Format) error {
	w, err := export.New(format, c.con.out, readVersion().Version)
	if err == nil {
		err = export.Decisions(o.reader, w.Write)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("the ledger cannot be exported: %w", err)
	}
	if r := ledger.Verify(o.reader, o.anchor); r.Problem != nil {
		return withHint(fmt.Errorf("what was exported is not what was written: %w", r.Problem), "see 'bottle-mcp ledger verify'")
	}
	return nil
}

// followLedger calls each with every line of a ledger from the last n on, and with
// what is added until ctx ends, when asked to.
func (c *cli) followLedger(ctx context.Context, s ledgerSource, t tailing, each func([]byte)) error {
	store, err := c.ledgerStore(s)
	if err != nil {
		return err
	}
	if store != nil {
		defer func() { _ = store.Close() }()
	}
	offset := int64(-1)
	for {
		o, err := openLedger(store, s) // the files anew: they rotate, and bottles come and go
		if err != nil && (offset < 0 || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
		if err == nil {
			if offset < 0 {
				offset = lastLines(o.reader, t.lines)
			}
			in, start := o.reader.From(offset, max(0, o.reader.End()-offset))
			var n int64
			n, err = eachLine(in, each)
			offset = start + n
			o.close()
		}
		if err != nil || !t.follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// followEvery is how often a ledger that is followed is looked at.
const followEvery = 200 * time.Millisecond

func eachLine(in io.Reader, each func([]byte)) (int64, error) {
	return ledger.Lines(in, func(line []byte) error {
		each(line)
		return nil
	})
}
