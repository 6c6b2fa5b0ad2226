package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// inProcess is an ExecFunc that runs the guest's helper right here.
func inProcess(ctx context.Context, cmd backend.Command, s backend.Streams) (backend.ExitStatus, error) {
	if s.Stdin == nil {
		s.Stdin = strings.NewReader("")
	}
	if s.Stdout == nil {
		s.Stdout = &bytes.Buffer{}
	}
	return backend.ExitStatus{Code: GuestMain(ctx, cmd.Argv[2:], s.Stdin, s.Stdout, s.Stderr)}, nil
}

func TestCopyVia(t *testing.T) {
	a := newArena(t)
	deep := filepath.Join(a.dst, "made", "on the way")
	in, err := CopyVia(t.Context(), inProcess, backend.CopySpec{
		Direction: backend.CopyIn, Path: deep, Reader: bytes.NewReader(stream(t, dir("./"), file("f", "hello"), symlink("l", "/anywhere"))),
	})
	must(t, err)
	if in.Files != 1 || in.Symlinks != 1 || in.Bytes != 5 {
		t.Errorf("copy in reports %+v", in)
	}
	var out bytes.Buffer
	back, err := CopyVia(t.Context(), inProcess, backend.CopySpec{Direction: backend.CopyOut, Path: deep, Writer: &out})
	must(t, err)
	if got := strings.Join(names(t, out.Bytes()), " "); got != "./ f l" || back.Files != 1 || back.Symlinks != 1 {
		t.Errorf("copy out gives %q, %+v", got, back)
	}
	info, err := os.Stat(deep)
	must(t, err)
	if !info.ModTime().Equal(epoch.Round(1e9)) && !info.ModTime().Equal(epoch) {
		t.Errorf("the directory made for the copy has time %s", info.ModTime())
	}
}

func TestCopyViaLeavesAnExistingTopAlone(t *testing.T) {
	a := newArena(t)
	must(t, os.Chtimes(a.dst, epoch.Add(9e9), epoch.Add(9e9)))
	must(t, os.Chmod(a.dst, 0o750))
	_, err := CopyVia(t.Context(), inProcess, backend.CopySpec{Direction: backend.CopyIn, Path: a.dst, Reader: bytes.NewReader(stream(t, dir("./")))})
	must(t, err)
	info, err := os.Stat(a.dst)
	must(t, err)
	if info.Mode().Perm() != 0o750 || !info.ModTime().Equal(epoch.Add(9e9)) {
		t.Errorf("the destination has mode %s and time %s", info.Mode(), info.ModTime())
	}
}

func TestCopyViaErrors(t *testing.T) {
	top := t.TempDir()
	must(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o644))
	in := func(path string, data []byte) backend.CopySpec {
		return backend.CopySpec{Direction: backend.CopyIn, Path: path, Reader: bytes.NewReader(data)}
	}
	out := func(path string) backend.CopySpec {
		return backend.CopySpec{Direction: backend.CopyOut, Path: path, Writer: &bytes.Buffer{}}
	}
	tests := map[string]struct {
		spec backend.CopySpec
		is   error
		text string
	}{
		"relative path":       {out("a/b"), nil, `guest path "a/b" is not absolute`},
		"NUL in path":         {out("/a\x00b"), nil, "is not absolute"},
		"no direction":        {backend.CopySpec{Path: "/a"}, nil, "direction 0 has no stream"},
		"wrong stream":        {backend.CopySpec{Path: "/a", Direction: backend.CopyOut, Reader: &bytes.Buffer{}}, nil, "direction 2 has no stream"},
		"absent source":       {out(filepath.Join(top, "absent")), fs.ErrNotExist, "absent"},
		"absent parent":       {out(filepath.Join(top, "no", "x")), fs.ErrNotExist, "no"},
		"truncated":           {in(top, stream(t, file("f", "x"))[:600]), ErrTruncated, "end mark"},
		"destination is file": {in(filepath.Join(top, "file"), stream(t)), nil, "file"},
		"below a file":        {in(filepath.Join(top, "file", "x"), stream(t)), nil, "not a directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			report, err := CopyVia(t.Context(), inProcess, tt.spec)
			if err == nil || !strings.Contains(err.Error(), tt.text) || (tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("error %v, want %q, %v", err, tt.text, tt.is)
			}
			if report.Skipped == nil {
				t.Error("the report would be null in JSON")
			}
		})
	}
}

// TestHostileHelper has a guest whose helper lies.
func TestHostileHelper(t *testing.T) {
	many, _ := json.Marshal(outcome{Report: backend.CopyReport{Skipped: make([]backend.Skip, 101)}})
	tests := map[string]struct {
		says   string
		status backend.ExitStatus
		want   string // in the error; "" = no error
	}{
		"nothing":          {"", backend.ExitStatus{}, "malformed"},
		"not JSON":         {"report: fine\n", backend.ExitStatus{}, "malformed"},
		"unknown key":      {`{"report":{},"approve":true}`, backend.ExitStatus{}, "malformed"},
		"two values":       {`{"report":{}} {"report":{}}`, backend.ExitStatus{}, "something follows"},
		"negative":         {`{"report":{"files":-1}}`, backend.ExitStatus{}, "impossible"},
		"overflow":         {`{"report":{"bytes":99999999999999999999}}`, backend.ExitStatus{}, "malformed"},
		"too many skips":   {string(many), backend.ExitStatus{}, "impossible"},
		"deep":             {strings.Repeat("[", 1<<19), backend.ExitStatus{}, "malformed"},
		"flood":            {strings.Repeat("x", 5<<20), backend.ExitStatus{}, "malformed"},
		"escape sequences": {"{\"error\":\"\\u001b[2J\\u202etxt\"}", backend.ExitStatus{Code: 1}, "\uFFFD[2J\uFFFDtxt"},
		"dies":             {"Killed", backend.ExitStatus{Code: 137, Signal: 9}, `status 137: "Killed"`},
		"fails silently":   {`{"report":{"files":1}}`, backend.ExitStatus{Code: 3}, "status 3"},
		"cannot start":     {"", backend.ExitStatus{Code: 127, StartError: "no such file"}, "could not start: no such file"},
		"honest":           {"noise\n{\"report\":{\"files\":7}}\n", backend.ExitStatus{}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			liar := func(_ context.Context, _ backend.Command, s backend.Streams) (backend.ExitStatus, error) {
				for said := []byte(tt.says); len(said) > 0; said = said[min(len(said), 32<<10):] {
					_, err := s.Stderr.Write(said[:min(len(said), 32<<10)])
					must(t, err)
				}
				return tt.status, nil
			}
			report, err := CopyVia(t.Context(), liar, backend.CopySpec{Direction: backend.CopyOut, Path: "/x", Writer: &bytes.Buffer{}})
			switch {
			case tt.want == "" && (err != nil || report.Files != 7):
				t.Errorf("report %+v, error %v", report, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2<<10):
				t.Errorf("error %.3000v, want %q", err, tt.want)
			}
		})
	}
}

func TestCopyViaKeepsTheEnginesError(t *testing.T) {
	gone := func(context.Context, backend.Command, backend.Streams) (backend.ExitStatus, error) {
		return backend.ExitStatus{}, backend.ErrNotRunning
	}
	_, err := CopyVia(t.Context(), gone, backend.CopySpec{Direction: backend.CopyOut, Path: "/x", Writer: &bytes.Buffer{}})
	if !errors.Is(err, backend.ErrNotRunning) {
		t.Errorf("error %v", err)
	}
}

func TestGuestMainUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"pack"}, {"pack", "relative"}, {"unpack", ""}, {"format", "/"}, {"pack", "/", "/"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := GuestMain(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 2 || stderr.Len() == 0 || stdout.Len() != 0 {
				t.Errorf("code %d, stdout %q, stderr %q", code, &stdout, &stderr)
			}
		})
	}
}

func TestTail(t *testing.T) {
	tests := map[string]struct{ writes, want string }{
		"nothing": {"", ""},
		"short":   {"ab|cd", "abcd"},
		"exact":   {"abcd|efgh", "abcdefgh"},
		"long":    {"abcdefghij", "cdefghij"},
		"many":    {"abcd|efgh|ijkl|mnop|qrst|uv", "opqrstuv"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tail := &tail{max: 8}
			for _, w := range strings.Split(tt.writes, "|") {
				if n, err := tail.Write([]byte(w)); n != len(w) || err != nil {
					t.Errorf("write gives %d, %v", n, err)
				}
			}
			if got := string(tail.bytes()); got != tt.want || len(tail.data) > 16 {
				t.Errorf("%q kept in %d bytes, want %q", got, len(tail.data), tt.want)
			}
		})
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	f.Add([]byte("{\"report\":{\"files\":1,\"skipped\":[{\"path\":\"a\",\"reason\":\"b\"}]}}\n"))
	f.Add([]byte("{\"error\":\"x\",\"kind\":\"limit\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := decodeOutcome(data)
		if err != nil {
			return
		}
		if out.Report.Files < 0 || out.Report.Bytes < 0 || len(out.Report.Skipped) > maxSkips {
			t.Errorf("accepted %+v", out)
		}
		for _, s := range out.Report.Skipped {
			if strings.ContainsAny(s.Reason, "\x1b\n\r\x00") {
				t.Errorf("accepted reason %q", s.Reason)
			}
		}
	})
}

// FuzzUnpack feeds hostile bytes on top of a destination with links out, and
// asserts that nothing outside changes.
func FuzzUnpack(f *testing.F) {
	for _, entries := range [][]entry{
		{file("a", "x"), dir("d"), symlink("l", "../outside"), file("l/passwd", "y"), hardLink("h", "../outside/passwd")},
		{file("../outside/passwd", "y"), file("leak/passwd", "y"), hardLink("h", "leak/passwd"), file("h", "y")},
		{symlink("a", "."), symlink("a/b", ".."), dir("a/b/outside"), hardLink("x", "a")},
	} {
		f.Add(stream(f, entries...), true)
		f.Add(stream(f, entries...), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, anyLinks bool) {
		a := newArena(t)
		must(t, os.Symlink(a.outside, filepath.Join(a.dst, "leak")))
		_, _ = a.unpack(data, UnpackOptions{AnyLinks: anyLinks, MaxBytes: 1 << 20, MaxEntries: 200, RootMeta: true})
		a.intact()
		_ = os.Chmod(a.dst, 0o700)
	})
}
