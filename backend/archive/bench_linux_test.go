package archive

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// guestEnv makes this test binary the guest's helper.
const guestEnv = "ARCHIVE_TEST_GUEST"

func TestMain(m *testing.M) {
	if verb, ok := os.LookupEnv(guestEnv); ok {
		os.Exit(GuestMain(context.Background(), []string{verb, os.Args[1]}, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// guestProcess is an ExecFunc whose guest is a process of this machine.
func guestProcess(ctx context.Context, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error) {
	c := exec.CommandContext(ctx, "/proc/self/exe", cmd.Argv[3])
	c.Env = []string{guestEnv + "=" + cmd.Argv[2]}
	c.Stdin, c.Stdout, c.Stderr = streams.Stdin, streams.Stdout, streams.Stderr
	err := c.Run()
	if c.ProcessState == nil {
		return backend.ExitStatus{}, err
	}
	return backend.ExitStatus{Code: c.ProcessState.ExitCode()}, nil
}

// bothWays copies a tree as a copy into a guest does: packed here, unpacked in
// a process of its own.
func bothWays(b *testing.B, src, dst string) {
	b.Helper()
	r, w, err := os.Pipe()
	must(b, err)
	done := make(chan error, 1)
	go func() {
		_, err := Pack(context.Background(), w, Source{Root: openRoot(b, src), Name: "."}, PackOptions{})
		_ = w.Close()
		done <- err
	}()
	report, err := CopyVia(context.Background(), guestProcess, backend.CopySpec{Direction: backend.CopyIn, Path: dst, Reader: r})
	must(b, err)
	must(b, <-done)
	_ = r.Close()
	if len(report.Skipped) != 0 {
		b.Fatal(reasons(report))
	}
}

// rawTar is what BenchmarkCopy is measured against.
func rawTar(b *testing.B, src, dst string) {
	b.Helper()
	out, err := exec.Command("sh", "-c", `tar -C "$0" -cf - . | tar -C "$1" -xf -`, src, dst).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

func manyFiles(b *testing.B, top string) {
	b.Helper()
	data := make([]byte, 2048)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for i := range 20_000 {
		dir := filepath.Join(top, fmt.Sprintf("dir%03d", i/100))
		if i%100 == 0 {
			must(b, os.Mkdir(dir, 0o755))
		}
		must(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%05d.txt", i)), data[:i%len(data)], 0o644))
	}
}

func oneFile(b *testing.B, top string) {
	b.Helper()
	f, err := os.Create(filepath.Join(top, "big"))
	must(b, err)
	src := rand.NewChaCha8([32]byte{1})
	_, err = io.CopyN(f, src, 1<<30)
	must(b, err)
	must(b, f.Close())
}

// BenchmarkCopy compares with "tar | tar" in the same run: 1 GiB in one file,
// and 20 000 small files.
func BenchmarkCopy(b *testing.B) {
	for name, fill := range map[string]func(*testing.B, string){"1GiB": oneFile, "20000files": manyFiles} {
		src := b.TempDir()
		fill(b, src)
		for tool, run := range map[string]func(*testing.B, string, string){"archive": bothWays, "tar": rawTar} {
			b.Run(name+"/"+tool, func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					dst := b.TempDir()
					b.StartTimer()
					run(b, src, dst)
					b.StopTimer()
					must(b, os.RemoveAll(dst))
					b.StartTimer()
				}
			})
		}
	}
}
