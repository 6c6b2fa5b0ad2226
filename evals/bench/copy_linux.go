package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// copyRounds is how often each copy is measured.
const copyRounds = 3

// copies compares cp with tar | tar on the same data. A bottle's files live in
// memory, so everything else does too.
func (b *bench) copies(ctx context.Context) error {
	big, many := filepath.Join(b.dir, "big"), filepath.Join(b.dir, "many")
	if err := makeBig(big); err != nil {
		return err
	}
	if err := makeMany(many); err != nil {
		return err
	}
	for _, x := range []struct{ name, src string }{{"1 GiB file", big}, {"20 000 files of 1–8 KiB", many}} {
		var in, out, tarIn, tarOut []time.Duration
		for i := range copyRounds {
			id := fmt.Sprintf("copy-%d", i)
			if _, err := b.launch(ctx, id); err != nil {
				return err
			}
			// The peer goes first each time and frees what it took: memory that
			// is touched for the first time is slow in a virtual machine.
			d, err := rawTar(ctx, x.src)
			if err != nil {
				return err
			}
			tarIn = append(tarIn, d)
			t := time.Now()
			if err := b.host.Call(ctx, "cp", map[string]any{"id": id, "from": x.src, "to": "bottle:/tmp/in"}, nil); err != nil {
				return err
			}
			in = append(in, time.Since(t))
			if d, err = rawTar(ctx, x.src); err != nil {
				return err
			}
			tarOut = append(tarOut, d)
			back := filepath.Join(b.dir, "back")
			t = time.Now()
			if err := b.host.Call(ctx, "cp", map[string]any{"id": id, "from": "bottle:/tmp/in", "to": back}, nil); err != nil {
				return err
			}
			out = append(out, time.Since(t))
			if err := b.remove(ctx, id); err != nil {
				return err
			}
			if err := os.RemoveAll(back); err != nil {
				return err
			}
		}
		// 60 % of the speed is at most 1/0.6 of the time.
		b.r.duration("cp into a bottle, "+x.name+" / tar to tar", median(in), median(tarIn), 0, 1/0.6)
		b.r.duration("cp out of a bottle, "+x.name+" / tar to tar", median(out), median(tarOut), 0, 1/0.6)
	}
	return nil
}

func rawTar(ctx context.Context, src string) (time.Duration, error) {
	dst, err := os.MkdirTemp("/dev/shm", "bottle-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dst) }()
	t := time.Now()
	cmd := exec.CommandContext(ctx, "sh", "-c", `tar -C "$0" -cf - . | tar -C "$1" -xf -`, src, dst)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("tar | tar: %w: %s", err, out)
	}
	return time.Since(t), nil
}

func makeBig(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 1<<20)
	for range 1024 {
		_, _ = rnd.Read(buf) // never fails
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func makeMany(dir string) error {
	rnd := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 8192)
	for i := range 20000 {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i%200))
		if i < 200 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		name := filepath.Join(sub, fmt.Sprintf("f%05d", i))
		if err := os.WriteFile(name, buf[:1024+rnd.IntN(7168)], 0o644); err != nil {
			return err
		}
	}
	return nil
}
