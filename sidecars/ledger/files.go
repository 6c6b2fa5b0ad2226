package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Segments is how many files a ledger has, and segmentBytes the size at which
// the next one is begun.
const (
	Segments     = 4
	segmentBytes = 64 << 20
)

// Names are the files of a ledger, in the order of their first use. They are
// made before the writer starts, which gets them opened for reading and
// appending and needs no directory.
func Names() []string {
	names := []string{sidecars.EgressLog}
	for i := 1; i < Segments; i++ {
		names = append(names, "egress."+strconv.Itoa(i)+".jsonl")
	}
	return names
}

// File is one file of a ledger, opened for reading and appending.
type File interface {
	io.Writer
	io.ReaderAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
}

// ErrFull means that all files of a ledger are full.
var ErrFull = errors.New("all files of the ledger are full")

// errUnwritable is a fault of the disk, which may pass.
var errUnwritable = errors.New("the ledger cannot be written")

// files are where a ledger is written. Several processes may have them open:
// each write happens under a lock and behind whatever the others wrote.
type files struct {
	all   []File
	limit int64 // bytes of one file
	reuse bool  // drop the oldest file when all are full

	found bool
	live  int
	size  int64 // of the live file as far as it was read or written
	base  int64 // bytes in the files before it
	// removed is what was cut off the end of a file and not noted yet.
	removed int64
	syncing atomic.Pointer[File]
}

// catchUp brings the chain to the end of what is there.
func (f *files) catchUp(c *Chain) error {
	if !f.found {
		f.find()
	}
	for {
		if err := f.scan(c); err != nil {
			return err
		}
		if c.Last != TypeRotate {
			return nil
		}
		next, begun := first(f.all[f.next()])
		if !begun || next.Seq < c.Next {
			return nil // the next file is to be begun
		}
		f.live, f.base, f.size = f.next(), f.base+f.size, 0
	}
}

func (f *files) next() int { return (f.live + 1) % len(f.all) }

// find looks for the file that was begun last.
func (f *files) find() {
	f.found = true
	var newest uint64
	for i := range f.all {
		if e, ok := first(f.all[i]); ok && e.Seq >= newest {
			newest, f.live, f.base = e.Seq, i, e.Base
		}
	}
}

// first reads the first line of a file.
func first(f io.ReaderAt) (Entry, bool) {
	line, err := bufio.NewReaderSize(io.NewSectionReader(f, 0, MaxLine), 4<<10).ReadSlice('\n')
	if err != nil {
		return Entry{}, false
	}
	e, err := Decode(line)
	return e, err == nil && (e.Type == TypeGenesis || e.Type == TypeSegment)
}

// scan feeds the chain with what was written to the live file since.
func (f *files) scan(c *Chain) error {
	info, err := f.all[f.live].Stat()
	if err != nil {
		return fmt.Errorf("look at the ledger: %w", err)
	}
	switch {
	case info.Size() == f.size:
		return nil
	case info.Size() < f.size:
		return fmt.Errorf("the ledger has %d bytes and had %d: somebody shortened it", info.Size(), f.size)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f.all[f.live], f.size, info.Size()-f.size), MaxLine)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return f.cut(c, line)
		case err != nil:
			return fmt.Errorf("read the ledger: %w", err)
		}
		if _, err := c.Feed(line); err != nil {
			return fmt.Errorf("the ledger is damaged at line %d: %w; look at it with `bottle-mcp ledger verify`", c.Next, err)
		}
		f.size += int64(len(line))
	}
}

// cut removes half a line at the end, when a writer that died left one.
func (f *files) cut(c *Chain, rest []byte) error {
	if len(rest) == 0 {
		return nil
	}
	if !c.torn(rest) {
		return fmt.Errorf("the ledger ends in %d bytes that are no part of it; look at it with `bottle-mcp ledger verify`", len(rest))
	}
	if err := f.all[f.live].Truncate(f.size); err != nil {
		return fmt.Errorf("remove half a line from the ledger: %w", err)
	}
	f.removed += int64(len(rest))
	return nil
}

// fits reports whether n more bytes may go into the live file.
func (f *files) fits(n int) bool { return f.size == 0 || f.size+int64(n) <= f.limit }

// put appends whole lines to the live file, or nothing.
func (f *files) put(lines []byte) error {
	file := f.all[f.live]
	n, err := file.Write(lines)
	if err == nil && n == len(lines) {
		f.size += int64(n)
		f.syncing.Store(&file)
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	if n > 0 {
		// Half a batch would be taken for another writer's.
		err = errors.Join(err, file.Truncate(f.size))
	}
	return fmt.Errorf("%w: %w", errUnwritable, err)
}

// rotate ends the live file and begins the next one.
func (f *files) rotate(c *Chain, head event) error {
	if c.Last != TypeRotate {
		if _, used := first(f.all[f.next()]); used && !f.reuse {
			return ErrFull
		}
		if err := c.write(event{Type: TypeRotate, Time: head.Time, Bottle: head.Bottle, Counts: &c.Counts}, f.put); err != nil {
			return err
		}
		if err := f.all[f.live].Sync(); err != nil {
			return fmt.Errorf("%w: %w", errUnwritable, err)
		}
	}
	if err := f.all[f.next()].Truncate(0); err != nil {
		return fmt.Errorf("begin its next file: %w: %w", errUnwritable, err)
	}
	live, base, size := f.live, f.base, f.size
	f.live, f.base, f.size = f.next(), base+size, 0
	head.Type, head.Base, head.Counts = TypeSegment, f.base, &c.Counts
	err := c.write(head, f.put)
	if err != nil {
		f.live, f.base, f.size = live, base, size // to be begun again
	}
	return err
}

// write has one line that is no decision put, and goes past it when it is.
func (c *Chain) write(e event, put func([]byte) error) error {
	var line bytes.Buffer
	next := *c
	if err := next.extend(&line, e); err != nil {
		return err
	}
	if err := put(line.Bytes()); err != nil {
		return err
	}
	*c = next
	return nil
}

// extend appends a line of e to out and goes past it.
func (c *Chain) extend(out *bytes.Buffer, e event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode a line of the ledger: %w", err)
	}
	hash := seal(out, c.Next, c.prev(), body)
	c.Next, c.Head, c.Last, c.Bottle = c.Next+1, hash, e.Type, e.Bottle
	return nil
}

// sync has what was written on the disk.
func (f *files) sync() error {
	file := f.syncing.Load()
	if file == nil {
		return nil
	}
	if err := (*file).Sync(); err != nil {
		return fmt.Errorf("have the ledger on the disk: %w", err)
	}
	return nil
}

// lockWait bounds the wait for another process that writes; it holds the lock
// for one write.
const (
	lockWait = 2 * time.Second
	lockPoll = time.Millisecond
)
