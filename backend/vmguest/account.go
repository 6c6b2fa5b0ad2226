package vmguest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Bounds of an account. The largest id is the kernel's way to say "none".
const (
	maxID       = 1<<31 - 2
	maxHomePath = 512
	maxReport   = 64 << 10
)

// userName is what a name may be that reaches an environment and a report.
var userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)

// HomeArgv is the first step of making the agent's home, to be run as root
// before anything else runs in the guest. user is an image's USER, "name",
// "uid" or either with ":group"; "" and root mean the agent of every guest. What
// it prints is for ParseAccount, and HomePhases come next.
func HomeArgv(user string) []string {
	return guestVerb(verbHome, "--phase", phaseOpen, "--user", user)
}

// homeReport is the line that "guest home" prints.
type homeReport struct {
	Phase string   `json:"phase"`
	Home  string   `json:"home"`
	Did   []string `json:"did"`
	// Account is the first phase's finding.
	Account *backend.Account `json:"account,omitempty"`
}

// ParseAccount reads what HomeArgv printed: who the agent is. An image chose
// these texts, so they are only taken in their form.
func ParseAccount(text []byte) (backend.Account, error) {
	var r homeReport
	if len(text) > maxReport {
		return backend.Account{}, errors.New("the guest says too much of its user")
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Account == nil {
		return backend.Account{}, fmt.Errorf("the guest does not say who its user is: %.200q", text)
	}
	a := *r.Account
	switch {
	case !userName.MatchString(a.Name) || a.Name == "root":
		return a, fmt.Errorf("the guest's user has the name %.60q", a.Name)
	case a.UID < 1 || a.UID > maxID || a.GID < 1 || a.GID > maxID:
		return a, fmt.Errorf("the guest's user has the ids %d:%d", a.UID, a.GID)
	case a.Home != backend.AgentHome && !plausibleHome(a.Home):
		return a, fmt.Errorf("the guest's user has the home %.200q", a.Home)
	}
	return a, nil
}

// systemDirs are no homes, whatever an image says.
var systemDirs = []string{"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "tmp", ".bottle"}

// plausibleHome reports whether a path can be the home of a user who is not the
// default one. Around and below the default one's there is no other.
func plausibleHome(p string) bool {
	top, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	around := strings.HasPrefix(p+"/", backend.AgentHome+"/") || strings.HasPrefix(backend.AgentHome+"/", p+"/")
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == ':' || r == utf8.RuneError }
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && len(p) <= maxHomePath && !around &&
		!slices.Contains(systemDirs, top) && !strings.ContainsFunc(p, odd)
}

// entry is a line of /etc/passwd.
type entry struct {
	name     string
	uid, gid int
	home     string
}

// entries reads /etc/passwd. What is no entry is left out.
func entries(passwd []byte) []entry {
	var out []entry
	for line := range bytes.Lines(passwd) {
		f := strings.Split(strings.TrimRight(string(line), "\n"), ":")
		if len(f) < 6 {
			continue
		}
		uid, uerr := strconv.Atoi(f[2])
		gid, gerr := strconv.Atoi(f[3])
		if uerr == nil && gerr == nil {
			out = append(out, entry{f[0], uid, gid, f[5]})
		}
	}
	return out
}

// choose finds out who user means in an image with these accounts. The home is
// what the image says, where that can be one.
func choose(user string, passwd, group []byte) (backend.Account, error) {
	who, groupName, _ := strings.Cut(user, ":")
	if who == "" || who == "root" || who == "0" {
		who, groupName = strconv.Itoa(backend.AgentUID), ""
	}
	known := entries(passwd)
	uid, err := strconv.Atoi(who)
	at := slices.IndexFunc(known, func(e entry) bool { return err == nil && e.uid == uid || err != nil && e.name == who })
	if err != nil && at < 0 {
		return backend.Account{}, fmt.Errorf("the user %.60q is not in the image's /etc/passwd: add it there, or name another", who)
	}
	a := backend.Account{Name: backend.AgentUser, UID: uid, GID: uid, Home: backend.AgentHome}
	if at >= 0 {
		e := known[at]
		a.UID, a.GID = e.uid, e.gid
		if userName.MatchString(e.name) {
			a.Name = e.name
		}
		if plausibleHome(e.home) {
			a.Home = e.home
		}
	}
	if groupName != "" {
		if a.GID, err = groupID(groupName, group); err != nil {
			return a, err
		}
	}
	if a.GID == 0 {
		a.GID = a.UID // root's group can be given what is root's alone
	}
	if a.UID < 1 || a.UID > maxID || a.GID < 1 || a.GID > maxID {
		return a, fmt.Errorf("the user %.60q has the ids %d:%d, and an agent is neither root nor nobody: name another user", who, a.UID, a.GID)
	}
	return a, nil
}

// groupID is a group by number or by name.
func groupID(name string, group []byte) (int, error) {
	if gid, err := strconv.Atoi(name); err == nil {
		return gid, nil
	}
	for line := range bytes.Lines(group) {
		f := strings.Split(strings.TrimRight(string(line), "\n"), ":")
		if len(f) < 3 || f[0] != name {
			continue
		}
		if gid, err := strconv.Atoi(f[2]); err == nil {
			return gid, nil
		}
	}
	return 0, fmt.Errorf("the group %.60q is not in the image's /etc/group: add it there, or name another", name)
}
