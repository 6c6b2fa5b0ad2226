package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestInitOptionsArgs(t *testing.T) {
	for want, o := range map[string]InitOptions{
		"sidecar init": {},
		"sidecar init --listen unix:/s --config /c --until 1700000000": {Listen: "unix:/s", ConfigDir: "/c", Until: time.Unix(1700000000, 5)},
	} {
		if got := strings.Join(o.Args(), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := strings.Join(ReadyArgs(1500*time.Millisecond), " "); got != "sidecar ready --timeout 1.5s" {
		t.Errorf("ReadyArgs = %q", got)
	}
}

func TestNextPause(t *testing.T) {
	timing := defaultTiming()
	var got []time.Duration
	var pause time.Duration
	for range 9 {
		pause = timing.nextPause(pause, time.Second)
		got = append(got, pause/time.Millisecond)
	}
	if want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000}; !slices.Equal(got, want) {
		t.Errorf("pauses in ms: %d, want %d", got, want)
	}
	if again := timing.nextPause(pause, timing.healthy); again != timing.firstPause {
		t.Errorf("after good health: %s", again)
	}
	if timing.grace != 8*time.Second {
		t.Errorf("grace = %s, the contract says 8 s", timing.grace)
	}
}

func newSettings(t *testing.T, routes ...sidecars.Route) *settings {
	t.Helper()
	cert, key, err := ca.NewAuthority("otter", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return &settings{
		config:  sidecars.Config{Bottle: "otter", Routes: routes, CACert: string(cert)},
		secrets: sidecars.Secrets{CAKey: key, Tokens: map[string]secret.Value{"A": secret.New("a-token"), "B": secret.New("b-token")}},
	}
}

func TestSettingsAfter(t *testing.T) {
	old := newSettings(t, sidecars.Route{Host: "a.test"})
	old.roots = []byte("old roots")
	read := &settings{
		config:  sidecars.Config{Bottle: "otter", CACert: "another", Routes: []sidecars.Route{{Host: "b.test"}}},
		secrets: sidecars.Secrets{CAKey: secret.New("another"), Tokens: map[string]secret.Value{"B": secret.New("b-new"), "C": secret.New("c")}},
	}
	got, err := old.after(read)
	if err != nil {
		t.Fatal(err)
	}
	if got.config.CACert != old.config.CACert || got.secrets.CAKey.Reveal() != old.secrets.CAKey.Reveal() {
		t.Error("the CA has changed under the guest")
	}
	for slot, want := range map[string]string{"A": "a-token", "B": "b-new", "C": "c"} {
		if token := got.secrets.Tokens[slot].Reveal(); token != want {
			t.Errorf("token %s is %q", slot, token)
		}
	}
	if old.secrets.Tokens["B"].Reveal() != "b-token" || string(got.roots) != "old roots" || got.config.Routes[0].Host != "b.test" {
		t.Errorf("got %+v of %+v", got, old)
	}
	if known := got.secrets.Known; len(known) != 1 || known[0].Value.Reveal() != "b-token" {
		t.Errorf("%d tokens of before are known", len(known))
	}
	again, err := got.after(&settings{config: read.config, secrets: sidecars.Secrets{Tokens: map[string]secret.Value{"B": secret.New("b-third")}}})
	if err != nil || len(again.secrets.Known) != 2 || again.secrets.Known[0].Name == again.secrets.Known[1].Name {
		t.Errorf("after another change %d tokens of before are known, %v", len(again.secrets.Known), err)
	}
	read.config.Bottle = "weasel"
	if _, err := old.after(read); err == nil {
		t.Error("the sidecar changed its bottle")
	}
}

func TestSettingsWiden(t *testing.T) {
	a := sidecars.Route{Host: "a.test", Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "A"}}
	b := sidecars.Route{Host: "b.test"}
	old := newSettings(t, a)
	with := func(change func(*settings)) *settings {
		next := *old
		next.config.Routes = []sidecars.Route{a, b}
		change(&next)
		return &next
	}
	tests := []struct {
		name string
		next *settings
		want bool
	}{
		{"the same", old, true},
		{"one more", with(func(*settings) {}), true},
		{"another order", with(func(s *settings) { s.config.Routes = []sidecars.Route{b, a} }), true},
		{"one less", with(func(s *settings) { s.config.Routes = []sidecars.Route{b} }), false},
		{"fewer ports", with(func(s *settings) {
			s.config.Routes = []sidecars.Route{{Host: "a.test", Ports: []int{443}, Auth: a.Auth}}
		}), false},
		{"no credential", with(func(s *settings) { s.config.Routes = []sidecars.Route{{Host: "a.test"}} }), false},
		{"another token", with(func(s *settings) { s.secrets.Tokens = map[string]secret.Value{"A": secret.New("new")} }), false},
		{"other roots", with(func(s *settings) { s.roots = []byte("x") }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := old.widens(tt.next); got != tt.want {
				t.Errorf("= %v", got)
			}
		})
	}
}

func TestSettingsValidate(t *testing.T) {
	s := newSettings(t, sidecars.Route{Host: "a.test"})
	if err := s.validate(nil); err != nil {
		t.Errorf("good settings: %v", err)
	}
	s.roots = []byte("no PEM")
	if err := s.validate(nil); err == nil || !strings.Contains(err.Error(), sidecars.RootsFile) {
		t.Errorf("bad roots: %v", err)
	}
	s.roots = []byte(s.config.CACert)
	if s.trustsNobody() {
		t.Error("roots are not trusted")
	}
	s.config.Routes[0].Host = "A.test"
	if err := s.validate(nil); err == nil {
		t.Error("a bad route was taken")
	}
}

func TestStartMessage(t *testing.T) {
	s := newSettings(t, sidecars.Route{Host: "a.test", Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "A"}})
	var wire bytes.Buffer
	if err := writeStart(&wire, newStartMessage(sidecars.Egress, s, 2)); err != nil {
		t.Fatal(err)
	}
	m, err := readStart(&wire)
	if err != nil || m.Listeners != 2 {
		t.Fatalf("readStart = %v", err)
	}
	got := m.settings()
	if got.secrets.CAKey.Reveal() != s.secrets.CAKey.Reveal() || got.secrets.Tokens["A"].Reveal() != "a-token" || got.config.CACert != s.config.CACert {
		t.Error("it is not what was sent")
	}
	// What no route puts on a request may not leave in one all the same.
	if _, usable := got.secrets.Tokens["B"]; usable || len(got.secrets.Known) != 1 || got.secrets.Known[0].Value.Reveal() != "b-token" {
		t.Errorf("the token that no route uses: usable %v, %d known secrets", usable, len(got.secrets.Known))
	}
	if err := got.validate(nil); err != nil {
		t.Errorf("what the daemon got: %v", err)
	}
	for name, text := range map[string]string{
		"too long": "\xff\xff\xff\xff", "cut off": "\x00\x00\x00\x09{}", "nothing": "", "not JSON": "\x00\x00\x00\x02{]",
	} {
		if _, err := readStart(strings.NewReader(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestBottles has the token of the way to the MCP server go to its daemon, and
// nothing else go there.
func TestBottles(t *testing.T) {
	s := newSettings(t, sidecars.Route{Host: "a.test", Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "A"}})
	list := []sidecars.Service{sidecars.Egress, sidecars.Bottles}
	if err := s.validate(list); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("without a token: %v", err)
	}
	if got := withSecrets(s); len(got) != 1 || got[0] != sidecars.Egress {
		t.Errorf("without a token it runs %v", got)
	}
	s.secrets.BottlesToken = secret.New("bottles-token")
	if err := s.validate(list); err != nil {
		t.Error(err)
	}
	if got := withSecrets(s); len(got) != 2 {
		t.Errorf("with a token it runs %v", got)
	}
	var egress, bottles bytes.Buffer
	for to, m := range map[*bytes.Buffer]startMessage{&egress: newStartMessage(sidecars.Egress, s, 2), &bottles: newStartMessage(sidecars.Bottles, s, 2)} {
		if err := writeStart(to, m); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(egress.String(), "bottles-token") || !strings.Contains(egress.String(), "a-token") {
		t.Error("egress gets what it has no use for")
	}
	if strings.Contains(bottles.String(), "a-token") || strings.Contains(bottles.String(), "PRIVATE KEY") || strings.Contains(bottles.String(), "a.test") {
		t.Error("bottles gets what it has no use for")
	}
	m, err := readStart(&bottles)
	if err != nil || m.settings().secrets.BottlesToken.Reveal() != "bottles-token" || m.Config.Bottle != "otter" {
		t.Errorf("it is not what was sent: %v", err)
	}
	next := newSettings(t, sidecars.Route{Host: "b.test"})
	after, err := s.after(next)
	if err != nil || after.secrets.BottlesToken.Reveal() != "bottles-token" || !s.same(sidecars.Bottles, after) || s.same(sidecars.Egress, after) {
		t.Errorf("after a reload: %v", err)
	}
	next.secrets.BottlesToken = secret.New("another")
	if after, err = s.after(next); err != nil || s.same(sidecars.Bottles, after) {
		t.Errorf("another token is the same, %v", err)
	}
}

// FuzzReadAnswer is a daemon that was taken over.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"error":"\u001b[2J"}`))
	f.Add([]byte(`{"error":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := readAnswer(bytes.NewReader(data)); err != nil {
			if text := printable(err.Error()); len(text) > maxLine+3 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", text)
			}
		}
	})
}

func TestAnswer(t *testing.T) {
	var wire bytes.Buffer
	if err := writeAnswer(&wire, nil); err != nil || readAnswer(&wire) != nil {
		t.Errorf("no error: %v", err)
	}
	long := strings.Repeat("<\"\x00", 5000)
	wire.Reset()
	if err := writeAnswer(&wire, errors.New(long)); err != nil {
		t.Fatal(err)
	}
	if err := readAnswer(&wire); err == nil || !strings.HasPrefix(err.Error(), `<"?<"?`) || len(err.Error()) > maxLine+3 {
		t.Errorf("a long one: %.100q", err)
	}
	if err := readAnswer(strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Errorf("none: %v", err)
	}
}

func TestLineLog(t *testing.T) {
	var stderr, first, second bytes.Buffer
	l := newLineLog(&stderr)
	w := l.writer("egress")
	for _, part := range []string{"one\ntw", "o\n\n", strings.Repeat("x", 3000), strings.Repeat("y", 3000) + "\n", "\x1b]0;\x07é\tlast"} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	w.flush()
	want := "egress: one\negress: two\negress: " + strings.Repeat("x", maxLine) + "...\negress: ?]0;?? last\n"
	if stderr.String() != want {
		t.Errorf("%q, want %q", &stderr, want)
	}

	renewed := 0
	l.toFile(&first, maxErrorLog-20, func() (io.Writer, error) {
		if renewed++; renewed > 1 {
			return nil, errors.New("no space")
		}
		return &second, nil
	})
	l.line("init", []byte("fits"))
	l.line("init", []byte("does not fit"))
	if first.String() != "init: fits\n" || second.String() != "init: does not fit\n" {
		t.Errorf("files %q and %q", &first, &second)
	}
	l.size = maxErrorLog
	l.line("init", []byte("nowhere"))
	if strings.Contains(second.String(), "nowhere") || renewed != 2 {
		t.Errorf("a full log: %q after %d renewals", &second, renewed)
	}

	l.left = 30
	stderr.Reset()
	for i := range 9 {
		l.line("init", fmt.Appendf(nil, "line %d", i))
	}
	if got := stderr.String(); strings.Count(got, "\n") != 4 || !strings.HasSuffix(got, "in the log file only\n") {
		t.Errorf("a full standard error: %q", got)
	}
}

func TestJoined(t *testing.T) {
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	j := join(listeners)
	dial := func(i int) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", listeners[i].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for i := range listeners {
		dial(i)
		if _, err := j.Accept(); err != nil {
			t.Fatalf("listener %d: %v", i, err)
		}
	}
	// Accepted, and nobody has asked for it yet.
	dial(1)
	time.Sleep(50 * time.Millisecond)
	if err := j.pause(); err != nil {
		t.Errorf("pause: %v", err)
	}
	for i := range listeners {
		if c, err := net.Dial("tcp", listeners[i].Addr().String()); err == nil {
			t.Errorf("listener %d accepts after pause: %v", i, c)
		}
	}
	if _, err := j.Accept(); err != nil {
		t.Errorf("what was accepted before: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := j.Accept()
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Errorf("Accept after pause gave %v, it must wait", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := j.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}
