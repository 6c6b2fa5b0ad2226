package archive

import (
	"bytes"
	"context"
	"hash/maphash"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// swapper exchanges two names as fast as it can until stopped, like the
// attack of CVE-2018-15664.
func swapper(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// TestPackRace swaps a directory and a file for links to the outside while they
// are packed.
func TestPackRace(t *testing.T) {
	a := newArena(t)
	for name, target := range map[string]string{"sub": a.outside, "passwd": filepath.Join(a.outside, "passwd")} {
		link := filepath.Join(filepath.Dir(a.dst), name+".link")
		must(t, os.Symlink(target, link))
		if name == "sub" {
			must(t, os.Mkdir(filepath.Join(a.dst, name), 0o755))
			must(t, os.WriteFile(filepath.Join(a.dst, name, "passwd"), []byte("guest's own"), 0o644))
		} else {
			must(t, os.WriteFile(filepath.Join(a.dst, name), []byte("guest's own"), 0o644))
		}
		t.Cleanup(swapper(t, filepath.Join(a.dst, name), link))
	}
	own := 0
	for range 400 {
		data, _ := packed(t, a.dst, ".", PackOptions{})
		if bytes.Contains(data, []byte("host secret")) {
			t.Fatal("the stream holds a file from outside")
		}
		own += bytes.Count(data, []byte("guest's own"))
	}
	if own == 0 {
		t.Error("the race never left a file to pack: the test proves nothing")
	}
}

// TestUnpackRace swaps a directory of the destination for a link to the
// outside while files are unpacked into it.
func TestUnpackRace(t *testing.T) {
	a := newArena(t)
	must(t, os.Mkdir(filepath.Join(a.dst, "sub"), 0o755))
	link := filepath.Join(filepath.Dir(a.dst), "sub.link")
	must(t, os.Symlink(a.outside, link))
	data := stream(t, file("sub/passwd", "changed"), file("other", "x"), dir("sub/new"), symlink("sub/l", "x"), file("sub/passwd", "again"))
	stop := swapper(t, filepath.Join(a.dst, "sub"), link)
	refused := 0
	for range 400 {
		report, err := a.unpack(data, UnpackOptions{})
		must(t, err)
		refused += len(report.Skipped)
	}
	stop()
	a.intact()
	if refused == 0 {
		t.Error("the race was never seen: the test proves nothing")
	}
}

func TestPackSkips(t *testing.T) {
	top := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(top, "pipe"), 0o644))
	listener, err := net.Listen("unix", filepath.Join(top, "sock"))
	must(t, err)
	defer func() { _ = listener.Close() }()
	must(t, os.WriteFile(filepath.Join(top, "suid"), []byte("x"), 0o755))
	must(t, os.Chmod(filepath.Join(top, "suid"), 0o755|os.ModeSetuid))
	want := "pipe: it is a named pipe\nsock: it is a socket\nsuid: " + reasonSetID + "\n"
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(filepath.Join(top, "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		want = "device: it is a device\n" + want
	}
	data, report := packed(t, top, ".", PackOptions{})
	if got := reasons(report); got != want {
		t.Errorf("skipped %q, want %q", got, want)
	}
	if got := strings.Join(names(t, data), " "); got != "./ suid" {
		t.Errorf("entries %q", got)
	}
}

// asNobody runs do with an ordinary user's file permissions: they belong to a
// thread on Linux.
func asNobody(do func()) {
	if os.Geteuid() != 0 {
		do()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _ = unix.SetfsuidRetUid(65534)
	defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	do()
}

func TestUnreadable(t *testing.T) {
	top := t.TempDir()
	must(t, os.WriteFile(filepath.Join(top, "secret"), []byte("x"), 0o000))
	must(t, os.WriteFile(filepath.Join(top, "public"), []byte("x"), 0o644))
	must(t, os.Mkdir(filepath.Join(top, "closed"), 0o000))
	root := openRoot(t, top)
	asNobody(func() {
		var out bytes.Buffer
		report, err := Pack(context.Background(), &out, Source{Root: root, Name: "."}, PackOptions{})
		want := "closed: it cannot be read: permission denied\nsecret: it cannot be read: permission denied\n"
		if err != nil || reasons(report) != want || report.Files != 1 {
			t.Errorf("report %+v, error %v, want skipped %q", report, err, want)
		}
	})
}

func TestUnwritable(t *testing.T) {
	a := newArena(t)
	must(t, os.Mkdir(filepath.Join(a.dst, "closed"), 0o555))
	must(t, os.Mkdir(filepath.Join(a.dst, "open"), 0o755))
	must(t, os.Chmod(filepath.Join(a.dst, "open"), 0o777))
	root := openRoot(t, a.dst)
	data := stream(t, file("closed/a", "x"), file("open/b", "x"), dir("closed/d"))
	asNobody(func() {
		report, err := Unpack(context.Background(), bytes.NewReader(data), root, UnpackOptions{})
		want := "closed/a: it cannot be written: permission denied\nclosed/d: it cannot be written: make the directory: permission denied\n"
		if err != nil || reasons(report) != want || report.Files != 1 {
			t.Errorf("report %+v, error %v, want skipped %q", report, err, want)
		}
	})
}

// TestLockedDirectories has directories whose modes forbid filling them.
func TestLockedDirectories(t *testing.T) {
	a := newArena(t)
	must(t, os.Chmod(a.dst, 0o777))
	locked := func(name string, mode int64) entry {
		d := dir(name)
		d.Mode = mode
		return d
	}
	data := stream(t, locked("ro", 0o555), file("ro/f", "x"), locked("ro/none", 0o100), file("ro/none/g", "y"), locked("nox", 0o600), file("nox/h", "z"))
	root := openRoot(t, a.dst)
	asNobody(func() {
		report, err := Unpack(context.Background(), bytes.NewReader(data), root, UnpackOptions{})
		if err != nil || len(report.Skipped) != 0 || report.Files != 3 {
			t.Errorf("report %+v, error %v", report, err)
		}
	})
	for name, mode := range map[string]os.FileMode{"ro": 0o555, "nox": 0o600} {
		info, err := os.Stat(filepath.Join(a.dst, name))
		must(t, err)
		if info.Mode().Perm() != mode || !info.ModTime().Equal(epoch.Round(1e9)) && !info.ModTime().Equal(epoch) {
			t.Errorf("%s has mode %s and time %s", name, info.Mode(), info.ModTime())
		}
	}
	for _, name := range []string{"ro", "nox"} { // for the look inside and the clean-up
		must(t, os.Chmod(filepath.Join(a.dst, name), 0o755))
	}
	if info, err := os.Stat(filepath.Join(a.dst, "ro", "none")); err != nil || info.Mode().Perm() != 0o100 {
		t.Errorf("none: %v, %v", info, err)
	}
	must(t, os.Chmod(filepath.Join(a.dst, "ro", "none"), 0o755)) // for the clean-up
}

func TestOwner(t *testing.T) {
	a := newArena(t)
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 1234, 4321
	}
	data := stream(t, dir("d"), file("d/f", "x"), symlink("l", "d"), file("implied/f", "x"))
	_, err := a.unpack(data, UnpackOptions{UID: &uid, GID: &gid})
	must(t, err)
	for _, name := range []string{"d", "d/f", "l", "implied", "implied/f"} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(a.dst, name), &st))
		if int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
}

// TestSparse packs a file that is nearly all hole, and unpacks it into one
// that takes as little room.
func TestSparse(t *testing.T) {
	const size = 64 << 20
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "sparse"))
	must(t, err)
	for _, at := range []int64{0, size / 2, size - 5} {
		_, err := f.WriteAt([]byte("islet"), at)
		must(t, err)
	}
	must(t, f.Truncate(size+1234)) // ends in a hole
	must(t, f.Close())

	r, w := io.Pipe()
	go func() {
		_, err := Pack(context.Background(), w, Source{Root: openRoot(t, src), Name: "sparse"}, PackOptions{})
		_ = w.CloseWithError(err)
	}()
	a := newArena(t)
	report, err := Unpack(context.Background(), r, openRoot(t, a.dst), UnpackOptions{})
	must(t, err)
	if report.Bytes != size+1234 {
		t.Errorf("%d bytes reported", report.Bytes)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(a.dst, "sparse"), &st))
	if room := st.Blocks * 512; st.Size != size+1234 || room > 1<<20 {
		t.Errorf("size %d takes %d bytes", st.Size, room)
	}
	if snapshot(t, src) == "" || strings.SplitN(snapshot(t, src), "\n", 2)[1] != strings.SplitN(snapshot(t, a.dst), "\n", 2)[1] {
		t.Error("the content differs")
	}
}

// changing is a writer that lets a test act when the header of a file is out.
type changing struct {
	bytes.Buffer
	once sync.Once
	act  func()
}

func (c *changing) Write(p []byte) (int, error) {
	c.once.Do(c.act)
	return c.Buffer.Write(p)
}

func TestSizeChanges(t *testing.T) {
	const size = 3 * bufferSize
	tests := map[string]struct {
		to   int64
		want string
	}{
		"grows":    {2 * size, "big: it grew while it was copied: cut to 3145728 bytes\n"},
		"shrinks":  {size / 2, "big: it shrank while it was copied: zeros follow byte 1572864\n"},
		"vanishes": {0, "big: it shrank while it was copied: zeros follow byte 1048576\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			path := filepath.Join(top, "big")
			must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644))
			out := &changing{act: func() { must(t, os.Truncate(path, tt.to)) }}
			report, err := Pack(t.Context(), out, Source{Root: openRoot(t, top), Name: "."}, PackOptions{})
			must(t, err)
			if got := reasons(report); got != tt.want {
				t.Errorf("report says %q, want %q", got, tt.want)
			}
			a := newArena(t)
			got, err := a.unpack(out.Bytes(), UnpackOptions{})
			if err != nil || got.Bytes != size {
				t.Errorf("unpacked %d bytes, error %v", got.Bytes, err)
			}
		})
	}
}

// TestNameClash plays a file system that ignores case: the name an entry asks
// for is there already, as a file that this archive made under another name.
func TestNameClash(t *testing.T) {
	a := newArena(t)
	path := filepath.Join(a.dst, ".gitignore")
	must(t, os.WriteFile(path, nil, 0o644))
	top, err := os.Open(a.dst)
	must(t, err)
	defer func() { _ = top.Close() }()
	info, err := lstatAt(int(top.Fd()), ".gitignore")
	must(t, err)
	u := &unpacker{seed: maphash.MakeSeed()}
	at := spot{dir: int(top.Fd()), base: ".gitignore", rel: ".gitignore"}
	tests := map[string]struct {
		made map[fileID]uint64
		ok   bool
	}{
		"there before the archive":     {map[fileID]uint64{}, true},
		"named twice in the archive":   {map[fileID]uint64{info.id: u.hash(".gitignore")}, true},
		"another name of the archive":  {map[fileID]uint64{info.id: u.hash(".GITIGNORE")}, false},
		"another file of that archive": {map[fileID]uint64{{info.id.dev, info.id.ino + 1}: u.hash(".GITIGNORE")}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u.made = tt.made
			if _, err := u.replaceable(at); (err == nil) != tt.ok {
				t.Errorf("replaceable gives %v, want ok %v", err, tt.ok)
			}
		})
	}
}
