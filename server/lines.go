package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

// line is one line of input, or the mark that one was too long.
type line struct {
	data    []byte
	tooLong bool
}

// readLines sends the lines of in until it ends or ctx does, and then closes
// the channel. A line longer than limit is skipped and marked. What stands
// before the end without a line break is a line. Blank lines are none.
func readLines(ctx context.Context, in io.Reader, limit int) <-chan line {
	lines := make(chan line)
	go func() {
		defer close(lines)
		r := bufio.NewReaderSize(in, 64<<10)
		for {
			l, err := readLine(r, limit)
			if l.tooLong || len(bytes.TrimSpace(l.data)) > 0 {
				select {
				case lines <- l:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// readLine reads up to and including a line break. An error comes with what was
// read before it.
func readLine(r *bufio.Reader, limit int) (line, error) {
	var l line
	for {
		part, err := r.ReadSlice('\n')
		if room := limit - len(l.data); len(bytes.TrimRight(part, "\r\n")) > room {
			l.tooLong, l.data = true, nil
		}
		if !l.tooLong {
			l.data = append(l.data, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l, err
		}
	}
}
