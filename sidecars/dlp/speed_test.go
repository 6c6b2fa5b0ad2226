package dlp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

var speedFile = flag.String("speed", "", "measure and write the table of speeds to this file")

// speedText is a text to measure with.
type speedText struct {
	name string
	text []byte
	// least is what is promised, in MB/s of one processor's time.
	least float64
}

const speedSize = 256 << 10

func speedTexts(t testing.TB) []speedText {
	g := newGenerator(60)
	source := []byte(goSource(t))
	fill := func(s string) []byte { return []byte(strings.Repeat(s, 1+speedSize/len(s))[:speedSize]) }
	prose := "The quick brown fox jumps over the lazy dog. We should look at how the handler reads its request before it answers, shouldn't we?\n\n"
	var chat []map[string]string
	for size := 0; size < speedSize; size += 6000 {
		at := g.IntN(len(source) - 2000)
		chat = append(chat, map[string]string{"role": "user", "content": strings.Repeat(prose, 30)}, map[string]string{"role": "assistant", "content": string(source[at : at+2000])})
	}
	chatJSON, err := json.Marshal(map[string]any{"model": "m", "messages": chat})
	if err != nil {
		t.Fatal(err)
	}
	code, err := json.Marshal(string(source))
	if err != nil {
		t.Fatal(err)
	}
	return []speedText{
		{"chat in JSON", chatJSON, 200},
		{"Go code in JSON", fill(string(code)), 150},
		{"Go source", fill(string(source)), 150},
		{"package lock", fill(string(g.lock())), 60},
		{"random bytes", g.noise(speedSize), 150},
		{"noise in base64", fill(base64.StdEncoding.EncodeToString(g.noise(speedSize))), 80},
		{"noise in hexadecimal", fill(hex.EncodeToString(g.noise(speedSize / 2))), 80},
		{"zeros", make([]byte, speedSize), 150},
		{`adversarial: "api_key_" repeated`, fill("api_key_"), 0},
		{"adversarial: nothing but percent-encoding", fill("%41%5f%7a"), 0},
		{`adversarial: nothing but \u`, fill(`\u4f60\u0041`), 0},
		{"adversarial: words of 35 characters", fill("internationalization-of_everything/ "), 0},
		{"adversarial: JSON of single characters", fill(`{"a":"b","c":"d"},`), 0},
	}
}

// goSource is the source of net/http's server, or something like it.
func goSource(t testing.TB) string {
	text, err := os.ReadFile(runtime.GOROOT() + "/src/net/http/server.go") //nolint:staticcheck // a text to measure with, which any other could stand in for
	if err != nil {
		text, err = os.ReadFile("view.go")
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Repeat(string(text), 2)
}

func speedScanner(t testing.TB) *Scanner {
	g := newGenerator(61)
	var known []Known
	for i := range 10 {
		known = append(known, Known{Name: fmt.Sprint("S", i), Value: secret.New("sk-ant-api03-" + g.alnum(40))})
	}
	return newScanner(t, Options{Known: known, Canaries: []Known{{Name: "C", Value: secret.New(g.alnum(32))}}})
}

// stream scans text in chunks as they come from a connection.
func stream(s *Scanner, text []byte) {
	st := s.Stream(StreamOptions{})
	for len(text) > 0 {
		n := min(len(text), 32<<10)
		st.Write(text[:n])
		text = text[n:]
	}
	st.Close()
}

func BenchmarkScan(b *testing.B) {
	s := speedScanner(b)
	for _, c := range speedTexts(b) {
		b.Run(c.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			before := processorTime()
			for b.Loop() {
				stream(s, c.text)
			}
			b.ReportMetric(float64(len(c.text))*float64(b.N)/1e6/(processorTime()-before).Seconds(), "MB/cpu-s")
		})
	}
}

func BenchmarkScanHeader(b *testing.B) {
	s := speedScanner(b)
	text := []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
	b.ReportAllocs()
	for b.Loop() {
		s.Scan(HeaderField("User-Agent"), text)
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	before := processorTime()
	for b.Loop() {
		speedScanner(b)
	}
	b.ReportMetric(float64((processorTime()-before).Microseconds())/1e3/float64(b.N), "cpu-ms/op")
}

// BenchmarkInjection is the detector of answers.
func BenchmarkInjection(b *testing.B) {
	s := newScanner(b, Options{})
	text := speedTexts(b)[0].text
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s.ScanWith(StreamOptions{Detectors: []string{InjectionDetection}}, text)
	}
}

func TestMemory(t *testing.T) {
	s := speedScanner(t)
	size := uintptr(len(s.a.next)+len(s.b.next))*unsafe.Sizeof(uint32(0)) + uintptr(len(s.targets))*unsafe.Sizeof(target{})
	if size > 6<<20 {
		t.Errorf("the tables for 11 secrets take %d KiB", size>>10)
	}
	text := speedTexts(t)[0].text[:64<<10]
	st := s.Stream(StreamOptions{})
	defer st.Close()
	st.Write(text)
	if n := testing.AllocsPerRun(20, func() { st.Write(text) }); n > 0 {
		t.Errorf("%v allocations for a chunk of a stream", n)
	}
}

// TestSpeed writes the table of speeds. Measured in processor time, so that
// other work on the machine counts as little as possible.
func TestSpeed(t *testing.T) {
	if *speedFile == "" {
		t.Skip("give -speed FILE to measure")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := speedScanner(t)
	var b strings.Builder
	fmt.Fprintf(&b, "# Speed of the secret scanner\n\nCommand: `go test ./sidecars/dlp -run TestSpeed -speed ../../evals/results/dlp-speed.md`\n\n"+
		"One thread, %s/%s, %s; 256 KiB texts in chunks of 32 KiB; eleven known secrets, all detectors for requests but entropy. MB of text per second of processor time, best of 100, on a machine with much else to do.\n\n"+
		"| Text | MB/s | promised | |\n|--|--|--|--|\n", runtime.GOOS, runtime.GOARCH, runtime.Version())
	row := func(name string, speed, least float64) {
		verdict := "met"
		if speed < least {
			verdict = "MISSED"
		}
		fmt.Fprintf(&b, "| %s | %.0f | ≥ %.0f | %s |\n", name, speed, least, verdict)
	}
	for _, c := range speedTexts(t) {
		least := c.least
		if least == 0 {
			least = 100
		}
		row(c.name, best(func() { stream(s, c.text) }, len(c.text)), least)
	}
	for _, c := range speedTexts(t)[:1] {
		row("the automata alone, "+c.name, best(func() { automataAlone(s, c.text) }, len(c.text)), 0)
	}
	fmt.Fprintf(&b, "\nCompiling a scanner: %.1f ms of processor time (promised: 10).\n", 1e3/best(func() { speedScanner(t) }, 1e6))
	if err := os.WriteFile(*speedFile, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
}

// best is the best speed of 100 runs, in MB per second.
func best(run func(), size int) float64 {
	var least time.Duration
	for i := range 100 {
		before := processorTime()
		run()
		if took := processorTime() - before; i == 0 || took < least {
			least = took
		}
	}
	return float64(size) / 1e6 / least.Seconds()
}

// automataAlone is the lower bound of the time any scan of this kind takes.
func automataAlone(s *Scanner, text []byte) {
	sa, sb := uint32(0), uint32(0)
	for _, c := range text {
		sa = s.a.next[sa+uint32(s.a.class[c])]
		sb = s.b.next[sb+uint32(s.b.class[c])]
	}
	runtime.KeepAlive(sa + sb)
}
