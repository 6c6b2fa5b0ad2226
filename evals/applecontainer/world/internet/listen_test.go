package internet

import (
	"bufio"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		return l.Addr().(*net.TCPAddr).Port
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.LocalAddr().(*net.UDPAddr).Port
}

func TestBanner(t *testing.T) {
	events := filepath.Join(t.TempDir(), "events")
	log, err := OpenLog(events, PlaceHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.file.Close() })
	port := freePort(t, "tcp")
	if err := ServeBanner(t.Context(), []int{port}, "hello", log); err != nil {
		t.Fatal(err)
	}
	to := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\r\n" {
		t.Errorf("greeted with %q, %v", line, err)
	}
	written, err := ReadLog(events)
	if err != nil || len(written) != 1 || written[0].To != to || written[0].Place != PlaceHost || written[0].From != conn.LocalAddr().String() {
		t.Errorf("written down: %+v, %v", written, err)
	}
	if err := ServeBanner(t.Context(), []int{port}, "", log); err == nil {
		t.Error("a port in use was opened again")
	}
}

func TestTCPQueries(t *testing.T) {
	r, _ := testResolver(t, "")
	client, server := net.Pipe()
	go r.serveTCP(server)
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(5 * time.Second))
	q := query(t, "x.example.", dnsmessage.TypeA)
	for range 2 {
		if _, err := client.Write(append([]byte{0, byte(len(q))}, q...)); err != nil {
			t.Fatal(err)
		}
		var size [2]byte
		if _, err := io.ReadFull(client, size[:]); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(client, reply); err != nil || !strings.Contains(string(reply), "\xcb\x00\x71\x63") {
			t.Errorf("the reply has no sentinel: %q, %v", reply, err)
		}
	}
	if _, err := client.Write([]byte{0, 1, 9}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after nonsense the connection gave %v", err)
	}
}
