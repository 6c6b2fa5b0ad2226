package shim

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
)

// leading is a shim's end that answers, and the sidecar's.
func leading(t *testing.T, socket string) (*frame.Conn, *net.UnixConn) {
	t.Helper()
	conn, theirs, err := frame.Pair(frame.MaxGuest)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { lead(conn, socket); close(ended) }()
	c, err := net.FileConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	uc := c.(*net.UnixConn)
	_ = uc.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() {
		_ = uc.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the shim goes on answering a sidecar that is gone")
		}
	})
	return frame.New(uc, frame.MaxHost), uc
}

func TestLead(t *testing.T) {
	dir, err := os.MkdirTemp("", "bm-") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "mcp.sock")
	sidecar, _ := leading(t, socket)
	ask := func() []*os.File {
		t.Helper()
		var done jail.Done
		if err := sidecar.Send(jail.Dial{}); err != nil {
			t.Fatal(err)
		}
		files, err := sidecar.RecvFiles(&done)
		if err != nil || (done.Error == "") != (len(files) == 1) {
			t.Fatalf("%d descriptors, %q, %v", len(files), done.Error, err)
		}
		return files
	}
	if files := ask(); len(files) != 0 {
		t.Fatal("nobody listens, and there is a connection")
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		files := ask()
		if len(files) != 1 {
			t.Fatal("no connection, although somebody listens")
		}
		host, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := files[0].WriteString("hello"); err != nil {
			t.Fatal(err)
		}
		_ = files[0].Close()
		if text, err := io.ReadAll(host); err != nil || string(text) != "hello" {
			t.Errorf("%q, %v", text, err)
		}
		_ = host.Close()
	}
}

// TestLeadHostile has a sidecar that was taken over send what is no question:
// it is answered no more.
func TestLeadHostile(t *testing.T) {
	for name, data := range map[string]string{
		"large":     "\xff\xff\xff\xff",
		"no JSON":   "\x00\x00\x00\x03abc",
		"wrong one": "\x00\x00\x00\x02[]",
	} {
		t.Run(name, func(t *testing.T) {
			_, raw := leading(t, "/nowhere")
			if _, err := raw.Write([]byte(data)); err != nil {
				t.Fatal(err)
			}
			if n, err := raw.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d bytes, %v; want the end", n, err)
			}
		})
	}
}
