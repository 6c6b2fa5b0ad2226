package vmguest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func TestNewToken(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b || !validToken(a) || !validToken(b) {
		t.Errorf("tokens %q and %q", a, b)
	}
	for _, bad := range []string{"", "00", strings.ToUpper(a[:31]) + "F", a + "00", strings.Repeat("g", 32)} {
		if validToken(bad) {
			t.Errorf("token %q is taken", bad)
		}
	}
}

func TestArgv(t *testing.T) {
	const b = backend.GuestBinary
	agent := backend.DefaultAccount()
	dev := backend.Account{Name: "dev", UID: 1234, GID: 1300, Home: "/srv/dev"}
	tests := map[string]struct {
		got  []string
		want string
	}{
		"run": {
			RunArgv(backend.Command{Argv: []string{"ls", "--", "-l"}}, agent, "T"),
			b + " guest run --token T --user-home /home/agent -- ls -- -l",
		},
		"run everything": {
			RunArgv(backend.Command{Argv: []string{"id"}, Dir: "sub", User: "root", Env: []string{"A=1"}, Grace: time.Hour}, agent, "T"),
			b + " guest run --token T --grace 1000 --dir sub --user-home /root --env HOME=/root --env USER=root --env LOGNAME=root --env A=1 -- id",
		},
		"run no text": {
			RunArgv(backend.Command{Argv: []string{"a", "\xff"}, Env: []string{"B=1"}, Grace: 1}, agent, "T"),
			b + " guest run --token T --hex --grace 1 --user-home 2f686f6d652f6167656e74 --env 423d31 -- 61 ff",
		},
		"run as an image's user": {
			RunArgv(backend.Command{Argv: []string{"id"}, User: "agent"}, dev, "T"),
			b + " guest run --token T --user-home /srv/dev --user-name dev -- id",
		},
		"run as root beside one": {
			RunArgv(backend.Command{Argv: []string{"id"}, User: "root"}, dev, "T"),
			b + " guest run --token T --user-home /root --env HOME=/root --env USER=root --env LOGNAME=root -- id",
		},
		"home": {HomeArgv("dev:staff"), b + " guest home --phase open --user dev:staff"},
		"run on a terminal": {
			RunArgv(backend.Command{Argv: []string{"top"}, Env: []string{"A=1"}, TTY: &backend.TTY{Term: "xterm", Size: backend.WindowSize{Rows: 24, Cols: 80}}}, agent, "T"),
			b + " guest run --token T --tty 24x80 --user-home /home/agent --env TERM=xterm --env A=1 -- top",
		},
		"signal":      {SignalArgv("T", 15, false), b + " guest signal --token T --signal 15"},
		"signal tree": {SignalArgv("T", 9, true), b + " guest signal --token T --signal 9 --tree"},
		"idle":        {IdleArgv(1500*time.Millisecond, map[int]string{9100: "/b", 9099: "/a"}), b + " guest idle --seconds 2 --relay 9099=/a --relay 9100=/b"},
		"idle no time": {
			IdleArgv(-time.Hour, nil), b + " guest idle --seconds 1",
		},
		"roots": {RootsArgv(), b + " guest roots"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(tt.got, " "); got != tt.want {
				t.Errorf("\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for _, size := range []backend.WindowSize{{}, {Rows: 24, Cols: 80}, {Rows: 65535, Cols: 1}} {
		if got, err := parseSize(sizeText(size)); err != nil || got != size {
			t.Errorf("%s is read as %+v, %v", sizeText(size), got, err)
		}
	}
	for _, bad := range []string{"", "x", "24", "24x", "x80", "24x80x1", "-1x80", "65536x80", "24x80 ", "0x18x80"} {
		if _, err := parseSize(bad); err == nil {
			t.Errorf("%q is taken for a size", bad)
		}
	}
}

func TestHomePhases(t *testing.T) {
	var got []string
	for _, p := range HomePhases(backend.Account{Name: "dev", UID: 1234, GID: 1300, Home: "/srv/dev"}) {
		got = append(got, fmt.Sprintf("%d:%d %s", p.UID, p.GID, strings.Join(p.Argv[2:], " ")))
	}
	want := []string{
		"1234:1300 home --phase make --uid 1234 --gid 1300 --home /srv/dev",
		"0:0 home --phase close --uid 1234 --gid 1300 --home /srv/dev",
	}
	if !slices.Equal(got, want) {
		t.Errorf("phases %q, want %q", got, want)
	}
}
