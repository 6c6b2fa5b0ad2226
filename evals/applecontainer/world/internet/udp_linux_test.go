package internet

import (
	"net"
	"strconv"
	"testing"
	"time"
)

// The answer must come from the address that was asked, whichever of many: a
// connected socket takes no other.
func TestUDPAnswersFromWhereItWasAsked(t *testing.T) {
	port := freePort(t, "udp")
	asked := make(chan [2]string, 8)
	reply := func(packet []byte, from, to string) []byte {
		asked <- [2]string{from, to}
		if string(packet) == "silence" {
			return nil
		}
		return append([]byte("re: "), packet...)
	}
	if err := ServeUDP(t.Context(), []int{port}, reply); err != nil {
		t.Fatal(err)
	}
	targets := []string{"127.0.0.1", "127.1.2.3", "127.99.0.1"}
	if l, err := net.ListenPacket("udp", "[::1]:0"); err == nil {
		_ = l.Close()
		targets = append(targets, "::1")
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			to := net.JoinHostPort(target, strconv.Itoa(port))
			conn, err := net.Dial("udp", to)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			packet := make([]byte, 100)
			n, err := conn.Read(packet)
			if err != nil || string(packet[:n]) != "re: hello" {
				t.Fatalf("got %q, %v", packet[:n], err)
			}
			if got := <-asked; got != [2]string{conn.LocalAddr().String(), to} {
				t.Errorf("the server saw %v, want from %v to %s", got, conn.LocalAddr(), to)
			}
			if _, err := conn.Write([]byte("silence")); err != nil {
				t.Fatal(err)
			}
			<-asked
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := conn.Read(packet); err == nil {
				t.Errorf("silence was answered by %q", packet[:n])
			}
		})
	}
}
