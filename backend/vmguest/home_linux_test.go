package vmguest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// world is a guest's file system as far as "guest home" can see it: private
// /home and /etc, root without capabilities, and the agent.
const world = `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /etc; mount -t tmpfs -o mode=755 tmpfs /home
printf 'root:x:0:0::/root:/bin/sh\n' > /etc/passwd; printf 'root:x:0:\nother:x:7:' > /etc/group
prog=$1; shift
as() { # uid phase
	if [ "$1" = 0 ]; then set -- "$2" ''; else set -- "$2" "--reuid $1 --regid $1 --clear-groups"; fi
	phase=$1
	[ $phase = open ] && set -- "$1" "$2" --user "$user" || set -- "$1" "$2" --uid $uid --gid $gid --home $home
	how=$2; shift 2
	setpriv $how --bounding-set=-all --inh-caps=-all --no-new-privs "$prog" guest home --phase $phase "$@" || echo "phase $phase ended with $?"
}
user= uid=1000 gid=1000 home=/home/agent
all() { as 0 open; as 1000 make; as 0 close; }
look() { for f in /home /home/agent /home/agent/workspace; do stat -c '%n %a %u' $f || :; done; ls -A /home; }
`

// inWorld runs a script there and returns what it says.
func inWorld(t *testing.T, script string) string {
	t.Helper()
	standIn(t)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", world+script, "sh", sharedProgram(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

const (
	ready      = "/home %s 0\n/home/agent 700 1000\n/home/agent/workspace 755 1000\nagent\n"
	reportOpen = `{"phase":"open","home":"/home/agent","did":["added a line to /etc/passwd","added a line to /etc/group","opened the parent directory"],` + agentSaid + "\n"
	agentSaid  = `"account":{"name":"agent","uid":1000,"gid":1000,"home":"/home/agent"}}`
	reportMake = `{"phase":"make","home":"/home/agent","did":["made /home/agent","made /home/agent/workspace"]}` + "\n"
	reportShut = `{"phase":"close","home":"/home/agent","did":["closed the parent directory"]}` + "\n"
	idleReport = `{"phase":"open","home":"/home/agent","did":[],` + agentSaid + "\n" + `{"phase":"make","home":"/home/agent","did":[]}` + "\n" + `{"phase":"close","home":"/home/agent","did":[]}` + "\n"
)

func TestHome(t *testing.T) {
	tests := map[string]struct{ script, want string }{
		"new":    {"all; look", reportOpen + reportMake + reportShut + fmt.Sprintf(ready, "755")},
		"opened": {"as 0 open > /dev/null; stat -c %a /home; readlink /home/.bottle-mode", "1757\n755\n"},
		"twice":  {"all > /dev/null; all; look", idleReport + fmt.Sprintf(ready, "755")},
		// A run that was cut short must not take the open mode for the old one.
		"cut short":     {"chmod 711 /home; as 0 open > /dev/null; as 0 open > /dev/null; all > /dev/null; look", fmt.Sprintf(ready, "711")},
		"cut and again": {"chmod 750 /home; as 0 open > /dev/null; as 1000 make > /dev/null; all > /dev/null; look", fmt.Sprintf(ready, "750")},
		"everybody's":   {"chmod 1777 /home; all > /dev/null; look", fmt.Sprintf(ready, "1777")},
		"image's own": {
			"mkdir -m 711 /home/agent; mkdir /home/agent/workspace; chown -R 1000 /home/agent; all > /dev/null; look",
			"/home 755 0\n/home/agent 711 1000\n/home/agent/workspace 755 1000\nagent\n",
		},
		"home without workspace": {
			"mkdir -m 711 /home/agent; chown 1000 /home/agent; chmod 711 /home; all > /dev/null; look",
			"/home 711 0\n/home/agent 711 1000\n/home/agent/workspace 755 1000\nagent\n",
		},
		"root's, empty":      {"mkdir /home/agent; all > /dev/null; look", fmt.Sprintf(ready, "755")},
		"root's workspace":   {"mkdir /home/agent; chown 1000 /home/agent; chmod 700 /home/agent; mkdir /home/agent/workspace; all > /dev/null; look", fmt.Sprintf(ready, "755")},
		"accounts":           {"all > /dev/null; cat /etc/passwd /etc/group", "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/home/agent:" + shell() + "\nroot:x:0:\nother:x:7:\nagent:x:1000:\n"},
		"accounts there":     {"echo node:x:1000:1000::/home/agent:/bin/sh > /etc/passwd; echo node:x:1000: > /etc/group; all > /dev/null; cat /etc/passwd /etc/group", "node:x:1000:1000::/home/agent:/bin/sh\nnode:x:1000:\n"},
		"name taken":         {"echo agent:x:5:5::/:/bin/sh > /etc/passwd; all > /dev/null; tail -1 /etc/passwd", "agent-1000:x:1000:1000::/home/agent:" + shell() + "\n"},
		"no accounts":        {"rm /etc/passwd /etc/group; all > /dev/null; cut -d: -f3 /etc/passwd /etc/group; stat -c %a /etc/passwd", "1000\n1000\n644\n"},
		"root makes no home": {"as 0 open > /dev/null; as 0 make 2> /dev/null", "phase make ended with 2\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := inWorld(t, tt.script); got != tt.want {
				t.Errorf("\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestHomeRefuses has images that a home cannot be made in, or that set traps.
func TestHomeRefuses(t *testing.T) {
	tests := map[string]struct{ script, says string }{
		"root's, with content": {"mkdir /home/agent; touch /home/agent/x; as 0 open", "chown -R 1000:1000 /home/agent"},
		"workspace, with content": {
			"mkdir /home/agent; mkdir /home/agent/workspace; touch /home/agent/workspace/x; chown 1000 /home/agent; as 0 open; as 1000 make", "chown -R 1000:1000 /home/agent",
		},
		"home is a link":      {"ln -s /etc /home/agent; as 0 open", "link or no directory"},
		"home is a file":      {"touch /home/agent; as 0 open", "link or no directory"},
		"workspace is a link": {"mkdir /home/agent; ln -s /etc /home/agent/workspace; chown 1000 /home/agent; as 0 open; as 1000 make", "link or no directory"},
		"parent is a link":    {"mkdir /home/real; ln -s real /home/link; home=/home/link/agent; as 0 close", "link or no directory"},
		"no such user":        {"user=dev; as 0 open", "not in the image's /etc/passwd"},
		"no such group":       {"user=7:staff; as 0 open", "not in the image's /etc/group"},
		"another root":        {"echo toor:x:0:0::/root:/bin/sh >> /etc/passwd; user=toor; as 0 open", "neither root nor nobody"},
		"place of the link":   {"echo dev:x:7:7::/home/dev:/bin/sh >> /etc/passwd; mkdir /home/agent; touch /home/agent/x; user=dev; as 0 open", "rm -rf /home/agent"},
		"link elsewhere":      {"echo dev:x:7:7::/home/dev:/bin/sh >> /etc/passwd; ln -s /home/other /home/agent; user=dev; as 0 open", "rm -rf /home/agent"},
		"passwd is a link":    {"rm /etc/passwd; echo x > /home/target; ln -s /home/target /etc/passwd; as 0 open", "/etc/passwd"},
		"passwd is a pipe":    {"rm /etc/passwd; mkfifo /etc/passwd; as 0 open", "no regular file"},
		"read-only":           {"mount -o remount,ro /home; as 0 open", "read-only"},
		"read-only accounts":  {"mount -o remount,ro /etc; as 0 open", "read-only"},
		"not opened":          {"as 1000 make", "permission denied"},
		"not made":            {"as 0 open; as 0 close", "/home/agent"},
		"mode of the agent's": {"chown 1000 /home; setpriv --reuid 1000 ln -s 777 /home/.bottle-mode; as 0 close", "tampered"},
		"mode is no mode":     {"ln -s ../etc /home/.bottle-mode; as 0 close", "tampered"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := inWorld(t, tt.script)
			if !strings.Contains(got, "ended with 1\n") || !strings.Contains(got, tt.says) {
				t.Errorf("%s\nwant a failure that says %q", got, tt.says)
			}
		})
	}
}

// TestImageUser has images with a user of their own: that one gets its home, and
// /home/agent leads there.
func TestImageUser(t *testing.T) {
	const look = "; all | sed -n 's/.*account\":{\\(.*\\)}.*/\\1/p'; stat -c '%n %a %u:%g' $home $home/workspace; readlink /home/agent || stat -c '%F %u' /home/agent; "
	tests := map[string]struct{ user, passwd, script, want string }{
		"by name": {
			"dev", "dev:x:1234:1300::/srv/dev:/bin/sh", "mount -t tmpfs -o mode=755 tmpfs /srv; uid=1234 gid=1300 home=/srv/dev" + look,
			`"name":"dev","uid":1234,"gid":1300,"home":"/srv/dev"` + "\n/srv/dev 700 1234:1300\n/srv/dev/workspace 755 1234:1300\n/srv/dev\n",
		},
		"home of the image, twice": {
			"1234", "dev:x:1234:1300::/srv/dev:/bin/sh",
			"mount -t tmpfs -o mode=755 tmpfs /srv; mkdir -m 750 /srv/dev; chown 1234:1300 /srv/dev; uid=1234 gid=1300 home=/srv/dev; all > /dev/null" + look,
			`"name":"dev","uid":1234,"gid":1300,"home":"/srv/dev"` + "\n/srv/dev 750 1234:1300\n/srv/dev/workspace 755 1234:1300\n/srv/dev\n",
		},
		"empty home of the default user": {
			"dev", "dev:x:1234:1300::/home/dev:/bin/sh", "mkdir /home/agent; chown 1000 /home/agent; uid=1234 gid=1300 home=/home/dev" + look,
			`"name":"dev","uid":1234,"gid":1300,"home":"/home/dev"` + "\n/home/dev 700 1234:1300\n/home/dev/workspace 755 1234:1300\n/home/dev\n",
		},
		"the first ordinary user": {
			"", "node:x:1000:1001::/home/node:/bin/sh", "gid=1001 home=/home/node" + look,
			`"name":"node","uid":1000,"gid":1001,"home":"/home/node"` + "\n/home/node 700 1000:1001\n/home/node/workspace 755 1000:1001\n/home/node\n",
		},
		"root means nobody": {
			"root:root", "node:x:1000:1000::/home/node:/bin/sh", "home=/home/node" + look,
			`"name":"node","uid":1000,"gid":1000,"home":"/home/node"` + "\n/home/node 700 1000:1000\n/home/node/workspace 755 1000:1000\n/home/node\n",
		},
		"a number without a name": {
			"4711:other", "", "uid=4711 gid=7; all | grep -c account; tail -1 /etc/passwd; stat -c '%a %u:%g' $home",
			"1\nagent:x:4711:7::/home/agent:" + shell() + "\n700 4711:7\n",
		},
		"group of root": {
			"7", "app:x:7:0::/home/app:/bin/sh", "uid=7 gid=7 home=/home/app" + look,
			`"name":"app","uid":7,"gid":7,"home":"/home/app"` + "\n/home/app 700 7:7\n/home/app/workspace 755 7:7\n/home/app\n",
		},
		// What cannot be a home: its user gets the one of every guest.
		"somebody else's home": {
			"www", "www:x:33:33::/home/www:/bin/sh", "mkdir /home/www; touch /home/www/x; uid=33 gid=33" + look,
			`"name":"www","uid":33,"gid":33,"home":"/home/agent"` + "\n/home/agent 700 33:33\n/home/agent/workspace 755 33:33\ndirectory 33\n",
		},
		"a home behind a link": {
			"dev", "dev:x:7:7::/home/link/dev:/bin/sh", "mkdir /home/real; ln -s real /home/link; uid=7 gid=7" + look,
			`"name":"dev","uid":7,"gid":7,"home":"/home/agent"` + "\n/home/agent 700 7:7\n/home/agent/workspace 755 7:7\ndirectory 7\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := inWorld(t, "echo '"+tt.passwd+"' >> /etc/passwd; user="+tt.user+"; "+tt.script); got != tt.want {
				t.Errorf("\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestFindAccount(t *testing.T) {
	const file = "root:x:0:0::/:/bin/sh\nnode:x:1000:1000\n\n#c\nshort:x\nagent:x:10000:5"
	for _, tt := range []struct {
		id           int
		name         string
		known, taken bool
	}{{0, "x", true, false}, {1000, "agent", true, true}, {100, "node", false, true}, {10000, "nobody", true, false}, {5, "root", false, true}, {7, "shor", false, false}} {
		if known, taken := findAccount([]byte(file), tt.id, tt.name); known != tt.known || taken != tt.taken {
			t.Errorf("%d, %s: %v, %v", tt.id, tt.name, known, taken)
		}
	}
}

// TestHomeReport wants one line of JSON.
func TestHomeReport(t *testing.T) {
	out := inWorld(t, "as 0 open")
	var r homeReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Phase != phaseOpen || len(r.Did) != 3 || strings.Count(out, "\n") != 1 {
		t.Errorf("%q: %+v, %v", out, r, err)
	}
	if _, err := os.Stat("/home/.bottle-mode"); err == nil {
		t.Error("the test changed this machine's own /home")
	}
}
