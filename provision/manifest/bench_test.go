package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkLoad500 loads and compiles 500 bottles of realistic size, each with a
// parent. The target is 150 ms for all.
func BenchmarkLoad500(b *testing.B) {
	const count = 500
	dir := filepath.Join(b.TempDir(), bottlesDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	put := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	base, err := os.ReadFile("testdata/good/bottles/github.md")
	if err != nil {
		b.Fatal(err)
	}
	put("base", base)
	for i := range count - 1 {
		put(fmt.Sprintf("b-%03d", i), fmt.Appendf(nil, "---\nextends: base\nenv:\n  NAME: bottle %d\n  FROM: ${HOME}\nresources: {cpus: 2, memory: 4GiB, pids: 500}\nttl: 2h\n"+
			"egress:\n  routes:\n    - host: api-%d.example.com\n      auth: {scheme: Bearer, token_ref: TOKEN_%d}\n      matches:\n        - methods: [GET, POST]\n          paths: [{type: prefix, value: /v1}, {type: regex, value: \"/v2/[a-z]+\"}]\n"+
			"    - host: \"*.files-%d.example.com\"\n      ports: [443, 8443]\n---\n\nNotes for people.\n", i, i, i, i))
	}
	l := Loader{Home: filepath.Dir(dir)}
	before := cpuTime(b)
	for b.Loop() {
		for _, c := range l.Check("") {
			if c.Err != nil {
				b.Fatal(c.Err)
			}
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/500")
}

// cpuTime is what this process has used: on a busy machine the wall says little.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
