package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// Bounds of a manifest. The front matter is a page of settings; YAML of
// megabytes would cost seconds to refuse.
const (
	maxFile  = 1 << 20
	maxFront = 64 << 10
)

// fence begins and ends the front matter.
const fence = "---"

// document is a manifest's text, split.
type document struct {
	file  string
	front []byte // YAML; its first line is line 2 of the file
	body  string
}

// source is a file to be read.
type source struct {
	file string
	// open opens it for reading; it must not block on a pipe.
	open func(flag int) (*os.File, error)
	// own is set for the operator's files, which nobody else may have written.
	own bool
}

// own is a file of the operator's home. Links are followed, since people keep
// their settings elsewhere and link them; what they lead to is judged.
func own(file string) source {
	return source{file: file, own: true, open: func(flag int) (*os.File, error) { return os.OpenFile(file, flag, 0) }}
}

// read reads a whole manifest and splits it.
func (s source) read() (document, error) {
	f, err := s.open(os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY)
	if err != nil {
		return document{}, s.missing(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return document{}, unreadable(s.file, err)
	}
	if err := s.accept(info); err != nil {
		return document{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return document{}, unreadable(s.file, err)
	}
	return split(s.file, data)
}

// accept judges a file before any of it is read.
func (s source) accept(info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return &Error{File: s.file, Problem: "it is " + kindOf(info.Mode()) + ", not a regular file", Hint: "put a Markdown file there"}
	case info.Size() > maxFile:
		return tooLarge(s.file)
	case s.own:
		return trusted(s.file, info)
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}

func tooLarge(file string) error {
	return &Error{File: file, Problem: fmt.Sprintf("it is larger than %d bytes", maxFile), Hint: "shorten it"}
}

// missing tells a link that leads nowhere from a file that is not there.
func (s source) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) && s.own {
		if info, lerr := os.Lstat(s.file); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			return &Error{File: s.file, Problem: "it is a symbolic link that leads nowhere", Hint: "mend or remove the link"}
		}
	}
	if errors.Is(err, syscall.ENXIO) { // opening a socket, on Linux
		return &Error{File: s.file, Problem: "it is a socket, not a regular file", Hint: "put a Markdown file there", cause: err}
	}
	return unreadable(s.file, err)
}

func unreadable(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &Error{File: file, Problem: fmt.Sprintf("it cannot be read: %v", err), cause: err}
}

// split checks the bytes and finds the front matter.
func split(file string, data []byte) (document, error) {
	if err := checkBytes(file, data); err != nil {
		return document{}, err
	}
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if !isFence(first) {
		return document{}, &Error{File: file, Line: 1, Problem: "the front matter is missing", Hint: `begin the file with a line "---", then YAML, then another "---"`}
	}
	for at := 0; at < len(rest); {
		line, _, _ := bytes.Cut(rest[at:], []byte("\n"))
		if isFence(line) {
			after := min(at+len(line)+1, len(rest))
			doc := document{file: file, front: rest[:at], body: strings.TrimSpace(string(rest[after:]))}
			return doc, checkFront(doc)
		}
		at += len(line) + 1
	}
	return document{}, &Error{File: file, Line: 1, Problem: "the front matter does not end", Hint: `end it with a line "---"`}
}

func isFence(line []byte) bool { return string(bytes.TrimRight(line, " \r")) == fence }

// checkBytes refuses what no text editor writes.
func checkBytes(file string, data []byte) error {
	switch {
	case len(data) > maxFile:
		return tooLarge(file)
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return &Error{File: file, Line: 1, Problem: "it begins with a byte order mark", Hint: "save it as UTF-8 without one"}
	}
	if at := bytes.IndexByte(data, 0); at >= 0 {
		return &Error{File: file, Line: lineOf(data, at), Problem: "it holds a NUL byte", Hint: "save it as plain text"}
	}
	if at := invalidUTF8(data); at >= 0 {
		return &Error{File: file, Line: lineOf(data, at), Problem: "it is not UTF-8", Hint: "save it as UTF-8"}
	}
	return nil
}

// checkFront refuses what YAML allows but people misread.
func checkFront(doc document) error {
	if len(doc.front) > maxFront {
		return &Error{File: doc.file, Line: 1, Problem: fmt.Sprintf("the front matter is larger than %d bytes", maxFront), Hint: "shorten it; text for people goes below it"}
	}
	if at := bytes.IndexByte(doc.front, '\t'); at >= 0 {
		return &Error{File: doc.file, Line: lineOf(doc.front, at) + 1, Problem: "there is a tab in the front matter", Hint: `indent with spaces; in a value write "\t" in double quotes`}
	}
	for i, line := range bytes.Split(doc.front, []byte("\n")) {
		if bytes.HasPrefix(line, []byte("%")) {
			return &Error{File: doc.file, Line: i + 2, Problem: "YAML directives are not accepted", Hint: "remove the line"}
		}
		if bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\r")), unicode.IsControl) {
			return &Error{File: doc.file, Line: i + 2, Problem: "there is a control character in the front matter", Hint: "remove it"}
		}
	}
	return nil
}

func lineOf(data []byte, at int) int { return bytes.Count(data[:at], []byte("\n")) + 1 }

func invalidUTF8(data []byte) int {
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}
