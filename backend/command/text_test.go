package command

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestErrorsShowNoValues(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"list"}, "list"},
		{[]string{"network", "create", "--label=k=s3cret", "--", "s3cret"}, "network create (and 3 arguments)"},
		{[]string{"exec", "--env=K=s3cret", "--", "id", "s3cret"}, "exec (and 4 arguments)"},
		{[]string{"clone", "https://u:s3cret@host/r"}, "clone (and 1 arguments)"},
		{[]string{"login", "s3cret"}, "login (and 1 arguments)"},
		{[]string{"--version"}, "(and 1 arguments)"},
	}
	for _, tt := range tests {
		e := newError(Spec{Name: "/usr/bin/program", Args: tt.args, Env: []string{"TOKEN=s3cret"}}, nil)
		if e.Args != tt.want || strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), "/usr") {
			t.Errorf("%q: summary %q, want %q; message %q", tt.args, e.Args, tt.want, e)
		}
	}
}

func TestCapture(t *testing.T) {
	overflowed := 0
	c := &capture{maxHead: 4, maxTail: 4, limit: 20, overflow: func() { overflowed++ }}
	for _, s := range []string{"ab", "cdef", "ghijklmnop", "qr"} {
		_, _ = c.Write([]byte(s))
	}
	if got := string(c.Bytes()); got != "abcd\n…\nopqr" || c.full() || overflowed != 0 {
		t.Errorf("kept %q, full %v", got, c.full())
	}
	_, _ = c.Write([]byte("stuv"))
	_, _ = c.Write([]byte("w"))
	if got := string(c.Bytes()); got != "abcd\n…\ntuvw" || !c.full() || overflowed != 1 {
		t.Errorf("kept %q, full %v, overflowed %d times", got, c.full(), overflowed)
	}
	tail := NewTail(3)
	for range 1000 {
		_, _ = tail.Write([]byte("xyz1"))
	}
	if tail.String() != "yz1" || cap(tail.tail) > 64 {
		t.Errorf("tail %q in %d bytes", tail, cap(tail.tail))
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "prog")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	tests := []struct {
		name, program, path string
		want                string
		is                  error
	}{
		{"on PATH", "prog", "/nowhere:" + dir, program, nil},
		{"the last PATH counts", "prog", "/nowhere\x00" + dir, program, nil},
		{"relative PATH is skipped", "prog", ".:", "", fs.ErrNotExist},
		{"not there", "nothing", dir, "", fs.ErrNotExist},
		{"no name", "", dir, "", fs.ErrNotExist},
		{"not executable", "data", dir, "", fs.ErrPermission},
		{"a path", program, "", program, nil},
		{"a relative path", "./prog", "", program, nil},
		{"a directory", dir, "", "", fs.ErrPermission},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var env []string
			for _, p := range strings.Split(tt.path, "\x00") {
				env = append(env, "PATH="+p)
			}
			got, err := Find(tt.program, env)
			if tt.is == nil && (err != nil || got != tt.want) || !errors.Is(err, tt.is) {
				t.Errorf("Find = %q, %v; want %q, %v", got, err, tt.want, tt.is)
			}
		})
	}
	t.Run("without PATH in env", func(t *testing.T) {
		t.Setenv("PATH", dir)
		if got, err := Find("prog", nil); err != nil || got != program {
			t.Errorf("Find = %q, %v", got, err)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"plain", "a\x1b[31mred\x07", "\xff\xfe", "10%\r20%\r\n", "rtl \u202e", "日本語", "\u2028"} {
		f.Add([]byte(s), 10)
	}
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		limit = max(0, min(limit, 1<<16))
		got := Printable(string(raw), limit)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not valid UTF-8", got)
		}
		if bad := strings.IndexFunc(got, func(r rune) bool {
			return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
		}); bad >= 0 {
			t.Errorf("%q has a control character at %d", got, bad)
		}
		if len(got) > 3*limit+len("…") {
			t.Errorf("%d bytes of a limit of %d", len(got), limit)
		}
		if plain := bytes.IndexFunc(raw, func(r rune) bool { return r < ' ' || r > '~' }) < 0; plain && len(raw) <= limit && got != string(raw) {
			t.Errorf("%q became %q", raw, got)
		}
	})
}
