package vmguest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// TestParseAccount takes an account in its form and nothing else: the image chose
// every word of it.
func TestParseAccount(t *testing.T) {
	said := func(a backend.Account) string {
		text, err := json.Marshal(homeReport{Phase: phaseOpen, Account: &a})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	with := func(change func(*backend.Account)) string {
		a := backend.Account{Name: "dev", UID: 1234, GID: 1300, Home: "/srv/dev"}
		change(&a)
		return said(a)
	}
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"an image's":        {with(func(*backend.Account) {}), true},
		"the default":       {said(backend.DefaultAccount()), true},
		"nothing":           {"", false},
		"no account":        {`{"phase":"open"}`, false},
		"no JSON":           {"dev", false},
		"too much":          {strings.Repeat(" ", maxReport) + said(backend.DefaultAccount()), false},
		"root":              {with(func(a *backend.Account) { a.UID = 0 }), false},
		"root's group":      {with(func(a *backend.Account) { a.GID = 0 }), false},
		"root by name":      {with(func(a *backend.Account) { a.Name = "root" }), false},
		"negative":          {with(func(a *backend.Account) { a.UID = -1 }), false},
		"too large":         {with(func(a *backend.Account) { a.GID = 1 << 32 }), false},
		"a name with signs": {with(func(a *backend.Account) { a.Name = "a\nb" }), false},
		"a name as option":  {with(func(a *backend.Account) { a.Name = "-x" }), false},
		"no home":           {with(func(a *backend.Account) { a.Home = "" }), false},
		"home of root":      {with(func(a *backend.Account) { a.Home = "/root" }), false},
		"home in /proc":     {with(func(a *backend.Account) { a.Home = "/proc/self/root/x" }), false},
		"home not clean":    {with(func(a *backend.Account) { a.Home = "/srv/../etc" }), false},
		"home below ours":   {with(func(a *backend.Account) { a.Home = backend.AgentHome + "/x" }), false},
		"home around ours":  {with(func(a *backend.Account) { a.Home = "/home" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := ParseAccount([]byte(tt.text)); (err == nil) != tt.ok {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// FuzzChoose has every account that is chosen in hostile files pass what the
// host demands of one.
func FuzzChoose(f *testing.F) {
	f.Add("dev:staff", []byte("root:x:0:0::/root:/bin/sh\ndev:x:1234:1300::/srv/dev:/bin/sh\n"), []byte("staff:x:50:\n"))
	f.Add("", []byte("node:x:1000:1000::/home/node:/bin/sh"), []byte(nil))
	f.Add("", []byte("agent:x:1000:1000::/0\x93:/bin/sh"), []byte(nil))
	f.Add("99999999999999999999", []byte("a:x:1:1:::::::"), []byte(":::"))
	f.Fuzz(func(t *testing.T, user string, passwd, group []byte) {
		a, err := choose(user, passwd, group)
		if err != nil {
			return
		}
		text, err := json.Marshal(homeReport{Account: &a})
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > maxReport {
			return
		}
		if got, err := ParseAccount(text); err != nil || got != a {
			t.Errorf("%q: chose %+v, which is refused: %v", user, a, err)
		}
	})
}
