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

// opener opens a file for reading; it must not block on a pipe.
type opener func(flag int) (*os.File, error)

// read reads a whole manifest and splits it.
func read(file string, open opener) (document, error) {
	f, err := open(os.O_RDONLY | syscall.O_NONBLOCK)
	if err != nil {
		return document{}, unreadable(file, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return document{}, unreadable(file, err)
	}
	if !info.Mode().IsRegular() {
		return document{}, &Error{File: file, Problem: "it is not a regular file", Hint: "put a Markdown file there"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return document{}, unreadable(file, err)
	}
	return split(file, data)
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
		return &Error{File: file, Problem: fmt.Sprintf("it is larger than %d bytes", maxFile), Hint: "shorten it"}
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
