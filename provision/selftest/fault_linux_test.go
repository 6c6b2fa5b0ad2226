package selftest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// networkNames are the checks of a scene's network.
var networkNames = []string{nameTCP4, nameTCP6, nameUDP, nameMetadata, nameHost, nameLinkLocal, nameInterfaces, nameRoutes, nameDNS, nameAbstract}

func sceneSpec() Spec {
	s := Default()
	s.HostAddresses = []string{decoyHost, decoyHost6, "127.0.0.1"}
	s.ExpectUID = 12345 // whoever runs the test, it is not that
	return s
}

// verdicts splits a result by colour.
func verdicts(r Result) (green, red map[string]string) {
	green, red = map[string]string{}, map[string]string{}
	for _, c := range r.Checks {
		if c.OK {
			green[c.Name] = c.Detail
		} else {
			red[c.Name] = c.Detail
		}
	}
	return green, red
}

// TestScenes shows for each check of the network what turns it green and what
// turns it red.
func TestScenes(t *testing.T) {
	reach := []string{nameTCP4, nameTCP6, nameUDP, nameMetadata, nameHost, nameLinkLocal}
	withCanary := func(s *Spec) { s.Network, s.Canary, s.Timeout = true, "203.0.113.7", 800*time.Millisecond }
	brief := func(s *Spec) { s.Timeout = 500 * time.Millisecond }
	tests := map[string]struct {
		scene  string
		change func(*Spec)
		red    []string // of networkNames; the others must be green
		say    string   // in the detail of each of reach
	}{
		"empty":           {sceneEmpty, nil, nil, "unreachable"},
		"leaky":           {sceneLeaky, nil, networkNames, ""},
		"refusing":        {sceneRefusing, nil, networkNames, "refused the connection"},
		"silent":          {sceneSilent, brief, networkNames, "a packet may have left"},
		"routed":          {sceneRouted, brief, networkNames, "a packet may have left"},
		"silent, canary":  {sceneSilent, withCanary, []string{nameInterfaces, nameDNS, nameAbstract}, "unreachable"},
		"leaky, canary":   {sceneLeaky, withCanary, slices.DeleteFunc(slices.Clone(networkNames), func(s string) bool { return s == nameRoutes }), ""},
		"empty, expected": {sceneEmpty, func(s *Spec) { s.ExpectInterfaces = []string{"lo", "eth0"} }, []string{nameInterfaces}, "unreachable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := sceneSpec()
			if tt.change != nil {
				tt.change(&spec)
			}
			green, red := verdicts(probeScene(t, tt.scene, spec))
			for _, check := range networkNames {
				if spec.Network && check == nameRoutes {
					continue
				}
				_, isRed := red[check]
				if want := slices.Contains(tt.red, check); isRed != want {
					t.Errorf("%s: red is %v, want %v: %s%s", check, isRed, want, red[check], green[check])
				}
			}
			for _, check := range reach {
				// On link-local addresses a silent peer is found out by ARP's kin.
				if detail := red[check] + green[check]; check != nameLinkLocal && !strings.Contains(detail, tt.say) {
					t.Errorf("%s says %q, want %q", check, detail, tt.say)
				}
			}
		})
	}
}

// TestUnwalled runs the probe in a process without any wall: every check of
// the process and its files must be red.
func TestUnwalled(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(secret, []byte("key"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec := sceneSpec()
	spec.SecretPaths = []string{"/no/such/file", secret}
	_, red := verdicts(probeScene(t, sceneEmpty, spec, "SSH_AUTH_SOCK=/tmp/decoy"))
	for name, say := range map[string]string{
		nameNNP:       "no_new_privs is not set",
		nameSeccomp:   "seccomp mode is 0, not 2",
		nameCaps:      "capabilities are held: CapPrm",
		nameInit:      "process 1: ",
		nameUID:       "uid are 0, 0 and 0, expected 12345",
		nameGain:      "uid 0 could be taken",
		nameUserNS:    "unshare is not refused",
		nameMount:     "is not refused",
		nameRaw:       "is not refused",
		nameTrace:     "process 1",
		nameSecrets:   "readable here: " + secret,
		nameSockets:   "$SSH_AUTH_SOCK",
		nameProcesses: "",
		nameKernel:    "open: ",
	} {
		if detail, ok := red[name]; !ok || !strings.Contains(detail, say) {
			t.Errorf("%s: red is %v, says %q, want %q", name, ok, detail, say)
		}
	}
}

// TestProcessFaults has the faults that one unwalled process cannot show.
func TestProcessFaults(t *testing.T) {
	walled := "NoNewPrivs:\t1\nSeccomp:\t2\n"
	tests := map[string]struct {
		run  func() (string, error)
		want string // "" = green
	}{
		"nnp set":              {func() (string, error) { return wantNNP(parseStatus(walled), Require{NoNewPrivs: true}) }, ""},
		"nnp not asked for":    {func() (string, error) { return wantNNP(parseStatus("NoNewPrivs:\t0"), Require{}) }, ""},
		"seccomp filter":       {func() (string, error) { return wantSeccomp(parseStatus(walled), Require{Seccomp: 2}) }, ""},
		"seccomp not told":     {func() (string, error) { return wantSeccomp(parseStatus(""), Require{Seccomp: 2}) }, `field Seccomp is ""`},
		"seccomp not required": {func() (string, error) { return wantSeccomp(parseStatus(""), Require{}) }, ""},
		"own uid":              {func() (string, error) { return uids(os.Getuid()) }, ""},
		"no devices":           {func() (string, error) { return devices(t.TempDir()) }, ""},
		"host's init":          {func() (string, error) { return processes(Spec{InitName: "no-such-init"}) }, `process 1 is "`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			detail, err := tt.run()
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%q, %v; want %q", detail, err, tt.want)
			}
		})
	}
}

func TestReadable(t *testing.T) {
	top := t.TempDir()
	path := func(name string) string { return filepath.Join(top, name) }
	for _, err := range []error{
		os.WriteFile(path("full"), []byte("x"), 0o600), os.WriteFile(path("empty"), nil, 0o600),
		os.Mkdir(path("bare"), 0o700), os.Mkdir(path("dir"), 0o700), os.WriteFile(path("dir/x"), nil, 0o600),
		unix.Mkfifo(path("pipe"), 0o600), os.Symlink("full", path("link")), os.Symlink("absent", path("dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{
		"full": true, "empty": false, "bare": false, "dir": true, "pipe": true, "link": true, "dangling": false,
		"absent": false, "full/x": false,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := readable(path(name)); got != want || err != nil {
				t.Errorf("readable is %v, %v; want %v", got, err, want)
			}
		})
	}
}

// TestDevices needs nodes, which only root can make.
func TestDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make device nodes")
	}
	tests := map[string]struct {
		mode         uint32
		major, minor uint32
		ok           bool
	}{
		"null":     {unix.S_IFCHR, 1, 3, true},
		"urandom":  {unix.S_IFCHR, 1, 9, true},
		"terminal": {unix.S_IFCHR, 136, 7, true},
		"mem":      {unix.S_IFCHR, 1, 1, false},
		"fuse":     {unix.S_IFCHR, 10, 229, false},
		"kvm":      {unix.S_IFCHR, 10, 232, false},
		"disk":     {unix.S_IFBLK, 254, 0, false},
		"block 13": {unix.S_IFBLK, 1, 3, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			node := filepath.Join(top, "sub", "node")
			if err := os.Mkdir(filepath.Dir(node), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mknod(node, tt.mode|0o600, int(unix.Mkdev(tt.major, tt.minor))); err != nil {
				t.Fatal(err)
			}
			if _, err := devices(top); (err == nil) != tt.ok {
				t.Errorf("devices says %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	tests := map[string]struct {
		err    error
		canary bool
		closed bool
	}{
		"answered":            {nil, false, false},
		"answered, canary":    {nil, true, false},
		"unreachable":         {os.NewSyscallError("connect", unix.ENETUNREACH), false, false},
		"unreachable, canary": {unix.EHOSTUNREACH, true, true},
		"no address, canary":  {unix.EADDRNOTAVAIL, true, true},
		"refused":             {unix.ECONNREFUSED, false, false},
		"refused, canary":     {unix.ECONNREFUSED, true, false},
		"reset":               {unix.ECONNRESET, false, false},
		"time-out":            {os.ErrDeadlineExceeded, false, false},
		"time-out, canary":    {os.ErrDeadlineExceeded, true, true},
		"kernel's time-out":   {unix.ETIMEDOUT, true, true},
		"anything else":       {unix.EINVAL, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := verdict(tt.err, tt.canary); (err == nil) != tt.closed {
				t.Errorf("verdict is %v, want closed %v", err, tt.closed)
			}
		})
	}
}
