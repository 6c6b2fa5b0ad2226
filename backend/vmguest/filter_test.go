package vmguest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

const testToken = "00112233445566778899aabbccddeeff"

func trailerOf(t testing.TB, token string, s backend.ExitStatus) string {
	t.Helper()
	line, err := NewTrailer(s).Encode(token)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func codeTrailer(t testing.TB, code int) string {
	return trailerOf(t, testToken, backend.ExitStatus{Code: code})
}

// filtered sends text through a filter in the pieces that cut says.
func filtered(t testing.TB, text string, cut func(left int) int) (string, backend.ExitStatus, bool) {
	t.Helper()
	var out bytes.Buffer
	f := NewStderrFilter(&out, testToken)
	for left := []byte(text); len(left) > 0; {
		n := min(max(cut(len(left)), 1), len(left))
		if wrote, err := f.Write(left[:n]); wrote != n || err != nil {
			t.Fatalf("Write of %d bytes: %d, %v", n, wrote, err)
		}
		left = left[n:]
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	st, ok := f.Result()
	return out.String(), st, ok
}

func whole(left int) int { return left }
func bytewise(int) int   { return 1 }

func TestFilter(t *testing.T) {
	good := codeTrailer(t, 42)
	mark := string(trailerMark(testToken))
	raw := func(body string) string { return mark + body + "\n" }
	const fields = `"utime_ns":0,"stime_ns":0,"maxrss":0}`
	tests := map[string]struct {
		in, out string
		code    int // -1 = none
	}{
		"empty":                   {"", "", -1},
		"no trailer":              {"a\nb\n", "a\nb\n", -1},
		"trailer alone":           {good, "", 42},
		"after a line":            {"oops\n" + good, "oops\n", 42},
		"in the middle of a line": {"no newline" + good, "no newline", 42},
		"output follows":          {"a\n" + good + "late\n", "a\nlate\n", 42},
		"the last counts":         {codeTrailer(t, 1) + "x" + good, "x", 42},
		"another's":               {trailerOf(t, strings.Repeat("f", 32), backend.ExitStatus{Code: 1}), trailerOf(t, strings.Repeat("f", 32), backend.ExitStatus{Code: 1}), -1},
		"cut":                     {good[:len(good)-1], good[:len(good)-1], -1},
		"mark alone":              {mark, mark, -1},
		"half, then whole":        {good[:20] + good, good[:20], 42},
		"mark, then whole":        {mark + good, mark, 42},
		"mark and text, whole":    {mark + `{"code":` + good, mark + `{"code":`, 42},
		"separators":              {"\x1e\x1e\x1ea\x1e", "\x1e\x1e\x1ea\x1e", -1},
		"no JSON":                 {raw("hello"), raw("hello"), -1},
		"two values":              {raw(`{"code":0,"signal":0,` + fields + `{}`), raw(`{"code":0,"signal":0,` + fields + `{}`), -1},
		"unknown key":             {raw(`{"x":1,"code":0,` + fields), raw(`{"x":1,"code":0,` + fields), -1},
		"code too large":          {raw(`{"code":256,` + fields), raw(`{"code":256,` + fields), -1},
		"negative code":           {raw(`{"code":-1,` + fields), raw(`{"code":-1,` + fields), -1},
		"signal without its code": {raw(`{"code":0,"signal":9,` + fields), raw(`{"code":0,"signal":9,` + fields), -1},
		"signal too large":        {raw(`{"code":200,"signal":72,` + fields), raw(`{"code":200,"signal":72,` + fields), -1},
		"negative time":           {raw(`{"code":0,"utime_ns":-1}`), raw(`{"code":0,"utime_ns":-1}`), -1},
		"start error of a run":    {raw(`{"code":0,"start_error":"x",` + fields), raw(`{"code":0,"start_error":"x",` + fields), -1},
		"null":                    {raw("null") + good, "", 42}, // an empty status, which it may claim
		"endless candidate":       {mark + strings.Repeat("x", 3*maxTrailer) + good, mark + strings.Repeat("x", 3*maxTrailer), 42},
		"long start error":        {raw(`{"code":127,"start_error":"` + strings.Repeat("x", maxStartError+1) + `",` + fields), raw(`{"code":127,"start_error":"` + strings.Repeat("x", maxStartError+1) + `",` + fields), -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for how, cut := range map[string]func(int) int{"whole": whole, "bytewise": bytewise} {
				out, st, ok := filtered(t, tt.in, cut)
				if out != tt.out {
					t.Errorf("%s: output %.200q, want %.200q", how, out, tt.out)
				}
				if ok != (tt.code >= 0) || (ok && st.Code != tt.code) {
					t.Errorf("%s: status %+v, %v, want code %d", how, st, ok, tt.code)
				}
			}
		})
	}
}

// TestFilterSplits has output of every kind in all sorts of pieces.
func TestFilterSplits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		"plain text\n", "\x1e", "\n", string(trailerMark(testToken)), string(trailerMark(testToken))[:30], codeTrailer(t, 7),
		codeTrailer(t, 8)[:60], "\x00\xff\xfe", strings.Repeat("\x1e\x1eb", 50), strings.Repeat("y", maxTrailer), `{"code":1}`,
	}
	for range 300 {
		var in strings.Builder
		for range r.IntN(12) {
			in.WriteString(pieces[r.IntN(len(pieces))])
		}
		text := in.String() + codeTrailer(t, 3)
		want, status, _ := filtered(t, text, whole)
		for _, cut := range []func(int) int{bytewise, func(int) int { return 1 + r.IntN(9) }, func(left int) int { return 1 + r.IntN(left) }} {
			got, st, ok := filtered(t, text, cut)
			if got != want || !ok || st != status || st.Code != 3 {
				t.Fatalf("%q in pieces gives %q, %+v, %v; whole it gives %q, %+v", text, got, st, ok, want, status)
			}
		}
	}
}

// TestFilterDelaysNothing wants every byte at once that cannot belong to a
// trailer.
func TestFilterDelaysNothing(t *testing.T) {
	var out bytes.Buffer
	f := NewStderrFilter(&out, testToken)
	for _, step := range []struct{ in, now string }{
		{"no newline", "no newline"}, {" \x1eno", "no newline \x1eno"}, {"\x1ebottle", "no newline \x1eno"}, {"!", "no newline \x1eno\x1ebottle!"},
	} {
		if _, err := f.Write([]byte(step.in)); err != nil || out.String() != step.now {
			t.Errorf("after %q the output is %q, %v, want %q", step.in, out.String(), err, step.now)
		}
	}
	// Output without end takes no memory.
	endless := NewStderrFilter(&discard{}, testToken)
	chunk := []byte(string(trailerMark(testToken)) + strings.Repeat("z", 1<<20))
	for range 64 {
		_, _ = endless.Write(chunk)
		if len(endless.held) > maxTrailer || cap(endless.held) > 4*maxTrailer {
			t.Fatalf("%d bytes are held, in %d", len(endless.held), cap(endless.held))
		}
	}
}

type discard struct{ n int }

func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestFilterBrokenWriter(t *testing.T) {
	full := errors.New("full")
	f := NewStderrFilter(broken{full}, testToken)
	if n, err := f.Write([]byte("text")); n != 4 || err != nil {
		t.Errorf("Write: %d, %v; the status could not follow", n, err)
	}
	_, _ = f.Write([]byte("more" + codeTrailer(t, 5)))
	if st, ok := f.Result(); !ok || st.Code != 5 {
		t.Errorf("status %+v, %v", st, ok)
	}
	if err := f.Close(); !errors.Is(err, full) {
		t.Errorf("Close: %v, want the writer's error", err)
	}
}

func TestFilterEnded(t *testing.T) {
	f := NewStderrFilter(&discard{}, testToken)
	text := codeTrailer(t, 5)
	_, _ = f.Write([]byte(text[:len(text)-1]))
	select {
	case <-f.Ended():
		t.Fatal("ended before the trailer's last byte")
	default:
	}
	_, _ = f.Write([]byte("\n" + text))
	select {
	case <-f.Ended():
	case <-time.After(5 * time.Second):
		t.Fatal("the end is not told")
	}
}

func TestTrailerRoundTrip(t *testing.T) {
	for name, st := range map[string]backend.ExitStatus{
		"zero":   {},
		"usage":  {Code: 255, UserTime: time.Hour, SystemTime: 1, MaxRSSBytes: 1 << 40},
		"signal": {Code: 137, Signal: 9},
		"error":  {Code: 126, StartError: "no \"such\" thing\n\x1e<&>"},
	} {
		t.Run(name, func(t *testing.T) {
			out, got, ok := filtered(t, "x"+trailerOf(t, testToken, st), bytewise)
			if out != "x" || !ok || got != st {
				t.Errorf("%+v comes back as %+v, %v, output %q", st, got, ok, out)
			}
		})
	}
	for _, why := range []string{strings.Repeat("\x01", 9000), strings.Repeat("\xff", 9000), strings.Repeat("日", 9000)} {
		line := trailerOf(t, testToken, backend.ExitStatus{Code: 127, StartError: why})
		if len(line) > maxTrailer {
			t.Errorf("a trailer has %d bytes", len(line))
		}
		if out, st, ok := filtered(t, line, whole); out != "" || !ok || st.StartError == "" {
			t.Errorf("a long reason is lost: %q, %+v, %v", out, st, ok)
		}
	}
}

func FuzzStderrFilter(f *testing.F) {
	f.Add([]byte("text"), uint8(1))
	f.Add([]byte(codeTrailer(f, 1)+"x"), uint8(3))
	f.Add([]byte(string(trailerMark(testToken))+"{}"), uint8(7))
	end := codeTrailer(f, 99)
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		text := string(data) + end
		want, _, _ := filtered(t, text, whole)
		got, st, ok := filtered(t, text, func(int) int { return int(step) })
		if got != want {
			t.Fatalf("in pieces of %d: %q, whole: %q", step, got, want)
		}
		if !ok || st.Code != 99 {
			t.Fatalf("the wrapper's own trailer is lost: %+v, %v", st, ok)
		}
		if !bytes.Contains(data, trailerMark(testToken)) && got != string(data) {
			t.Fatalf("output %q becomes %q", data, got)
		}
	})
}
