package frame

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type message struct {
	Text string `json:"text"`
	N    int    `json:"n"`
}

func pair(t testing.TB, limit int) (near, far *Conn) {
	t.Helper()
	near, file, err := Pair(limit)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	far, err = FromFD(uintptr(fd), "far", limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

func TestRoundTrip(t *testing.T) {
	near, far := pair(t, MaxHost)
	for _, want := range []message{{}, {"héllo\n\x00", 7}, {strings.Repeat("x", 1<<20), -1}} {
		go func() { _ = near.Send(want) }()
		var got message
		if err := far.Recv(&got); err != nil || got != want {
			t.Fatalf("got %.20q %d, %v; want %.20q %d", got.Text, got.N, err, want.Text, want.N)
		}
	}
}

func TestFiles(t *testing.T) {
	near, far := pair(t, MaxHost)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	big := message{Text: strings.Repeat("y", 600<<10)} // above the socket's buffer
	go func() {
		_ = near.Send(big, int(w.Fd()))
		_ = w.Close()
	}()
	var got message
	files, err := far.RecvFiles(&got)
	if err != nil || len(files) != 1 || got != big {
		t.Fatalf("RecvFiles: %d files, %v", len(files), err)
	}
	if flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("a received descriptor would leak into executed programs")
	}
	if _, err := files[0].WriteString("through"); err != nil {
		t.Fatal(err)
	}
	_ = files[0].Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != "through" {
		t.Errorf("the passed pipe gave %q, %v", data, err)
	}
}

// TestRecvRefusesFiles shows that a peer cannot fill this process's table of
// descriptors where none are expected.
func TestRecvRefusesFiles(t *testing.T) {
	near, far := pair(t, MaxGuest)
	before := openFiles(t)
	for range 50 {
		if err := near.Send(message{}, 0, 1, 2); err != nil {
			t.Fatal(err)
		}
		var m message
		if err := far.Recv(&m); err != nil {
			t.Fatal(err)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors were open before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestTooLarge(t *testing.T) {
	near, far := pair(t, 100)
	go func() { _ = near.Send(message{Text: strings.Repeat("z", 101)}) }()
	var m message
	if err := far.Recv(&m); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Recv = %v, want ErrTooLarge", err)
	}
}

func TestPeerGone(t *testing.T) {
	near, far := pair(t, MaxGuest)
	_ = near.Close()
	var m message
	if err := far.Recv(&m); !errors.Is(err, io.EOF) {
		t.Errorf("Recv from a closed peer = %v, want EOF", err)
	}
	if _, err := far.RecvFiles(&m); !errors.Is(err, io.EOF) {
		t.Errorf("RecvFiles from a closed peer = %v, want EOF", err)
	}
}

// FuzzRecv feeds hostile bytes: no panic, no hang, no memory beyond the limit,
// and what is accepted is a whole frame.
func FuzzRecv(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Add([]byte("\x00\x00\x00\x09{\"n\":1e9}"))
	f.Add([]byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := pair(t, 4096)
		go func() {
			uc := near.uc
			_, _ = uc.Write(data)
			_ = uc.CloseWrite()
		}()
		_ = far.SetDeadline(time.Now().Add(5 * time.Second))
		for {
			var m message
			err := far.Recv(&m)
			if err == nil {
				continue
			}
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				t.Fatal("Recv hangs")
			}
			if len(data) >= 4 && binary.BigEndian.Uint32(data) > 4096 && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("an oversize first frame gave %v", err)
			}
			return
		}
	})
}
