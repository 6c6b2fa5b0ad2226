package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNetworkConfigFaults has the faults that a command behind walls cannot
// show: capabilities of a user namespace that reach this network.
func TestNetworkConfigFaults(t *testing.T) {
	// A network that belongs to the new user namespace can be changed from it.
	input, err := json.Marshal(Spec{Nested: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", verb...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout = bytes.NewReader(input), &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}
	if err := cmd.Run(); noNamespace(err) {
		t.Skipf("this machine makes no user namespaces: %v", err)
	}
	r, err := DecodeResult(out.Bytes(), Spec{Nested: true})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Checks[0]; c.OK || !strings.Contains(c.Detail, "changing lo is not refused: it succeeded") {
		t.Errorf("%+v", c)
	}
	// A program that is not started as the probe is not started again by it.
	if os.Geteuid() != 0 {
		detail, err := networkConfig(t.Context(), Spec{OwnKernel: true})
		if err == nil || !strings.Contains(err.Error(), "was not started as") {
			t.Errorf("%q, %v", detail, err)
		}
		return
	}
	if err := leaveAndReturn(); err == nil || !strings.Contains(err.Error(), "is not refused: it succeeded") {
		t.Errorf("root enters a network, but the check says %v", err)
	}
}

func TestNestedOnce(t *testing.T) {
	if out, err := nested(t.Context()); err == nil || out != "" {
		t.Errorf("a test program started itself as the probe: %q, %v", out, err)
	}
}

func TestNoNamespace(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"made":          {nil, false},
		"refused":       {&fs.PathError{Op: "fork/exec", Err: unix.EPERM}, true},
		"none allowed":  {fmt.Errorf("fork: %w", unix.ENOSPC), true},
		"not built in":  {unix.EINVAL, true},
		"ended badly":   {&exec.ExitError{}, false},
		"out of memory": {unix.ENOMEM, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := noNamespace(tt.err); got != tt.want {
				t.Errorf("no namespace is %v", got)
			}
		})
	}
}

func TestVsock(t *testing.T) {
	closed := errors.New("reset")
	tests := map[string]struct {
		open map[[2]uint32]bool
		want string // "" = green
	}{
		"nobody":   {nil, ""},
		"the host": {map[[2]uint32]bool{{unix.VMADDR_CID_HOST, 1024}: true}, "port 1024 of machine 2 accepted"},
		"the init": {map[[2]uint32]bool{{unix.VMADDR_CID_LOCAL, 1024}: true}, "port 1024 of machine 1 accepted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			detail, err := vsock(t.Context(), func(_ context.Context, cid, port uint32) error {
				if tt.open[[2]uint32{cid, port}] {
					return nil
				}
				return closed
			})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, %v; want %q", detail, err, tt.want)
			}
		})
	}
}

// TestConnected uses sockets of this machine: those to a hypervisor would meet
// somebody else's.
func TestConnected(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	open := l.Addr().(*net.TCPAddr).Port
	for port, want := range map[int]error{open: nil, 1: unix.ECONNREFUSED} {
		t.Run(strconv.Itoa(port), func(t *testing.T) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(fd) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := connected(ctx, fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); !errors.Is(err, want) {
				t.Errorf("connected says %v, want %v", err, want)
			}
		})
	}
}

func TestWantInit(t *testing.T) {
	sets := func(bounding, effective string) string {
		return "CapInh:\t0\nCapPrm:\t" + effective + "\nCapEff:\t" + effective + "\nCapBnd:\t" + bounding + "\nCapAmb:\t0\nNoNewPrivs:\t0\nSeccomp:\t0\n"
	}
	require := Require{Seccomp: seccompFilter, NoNewPrivs: true}
	tests := map[string]struct {
		text string
		spec Spec
		want string // "" = green
	}{
		"machine, bare":        {sets("0", "0"), Spec{OwnKernel: true, Require: require}, ""},
		"machine, bounding":    {sets("a80425fb", "0"), Spec{OwnKernel: true}, "CapBnd a80425fb"},
		"machine, effective":   {sets("0", "1"), Spec{OwnKernel: true}, "CapEff 1"},
		"machine, not told":    {"Name:\tinit\n", Spec{OwnKernel: true}, `field CapPrm is ""`},
		"process, unwalled":    {sets("0", "0"), Spec{Require: require}, "no_new_privs is not set"},
		"process, needs power": {sets("0", "3"), Spec{}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := wantInit(parseStatus(tt.text), tt.spec)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestMachineDevices needs nodes, which only root can make.
func TestMachineDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make device nodes")
	}
	opened := func(size int64, flags ...int) opener {
		return func(_ string, flag int) (int64, error) {
			if slices.Contains(flags, flag) {
				return size, nil
			}
			return 0, unix.EPERM
		}
	}
	both := opened(1, unix.O_RDONLY, unix.O_WRONLY)
	tests := map[string]struct {
		mode, major, minor uint32
		open               opener
		want               string // "" = green
	}{
		"null":           {unix.S_IFCHR, 1, 3, both, ""},
		"vsock":          {unix.S_IFCHR, 10, 258, both, ""},
		"virtio port":    {unix.S_IFCHR, 240, 1, both, ""},
		"memory":         {unix.S_IFCHR, 1, 1, opened(0, unix.O_RDONLY), "node (readable)"},
		"memory, denied": {unix.S_IFCHR, 1, 1, opened(0), ""},
		"kvm":            {unix.S_IFCHR, 10, 232, both, "node (readable, writable)"},
		"disk":           {unix.S_IFBLK, 254, 0, both, "node (readable, writable)"},
		"disk to read":   {unix.S_IFBLK, 254, 0, opened(1, unix.O_RDONLY), "node (readable)"},
		"disk, denied":   {unix.S_IFBLK, 254, 0, opened(1), ""},
		"disk, no size":  {unix.S_IFBLK, 7, 0, opened(0, unix.O_RDONLY, unix.O_WRONLY), ""},
		"block 3":        {unix.S_IFBLK, 1, 3, both, "node (readable, writable)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			if err := unix.Mknod(filepath.Join(top, "node"), tt.mode|0o600, int(unix.Mkdev(tt.major, tt.minor))); err != nil {
				t.Fatal(err)
			}
			detail, err := machineDevices(top, tt.open)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, %v; want %q", detail, err, tt.want)
			}
		})
	}
}

func TestOpenSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	if size, err := openSize(path, unix.O_RDONLY); size != 4 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if _, err := openSize(path+"x", unix.O_RDONLY); err == nil {
		t.Error("what is not there opens")
	}
}

// TestMachineKernelFiles runs as who may write everything, and nothing is
// written.
func TestMachineKernelFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may open them")
	}
	f, err := os.OpenFile("/proc/sys/kernel/core_pattern", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("root may not either: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if detail, err := kernelFiles(true); err == nil || !strings.Contains(err.Error(), "core_pattern (writable)") {
		t.Errorf("%q, %v", detail, err)
	}
}

func TestSurroundingsBounded(t *testing.T) {
	n := newNetwork(apple())
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	for name, tt := range map[string]struct {
		link link
		want string
	}{
		"large":       {link{name: "eth0", mac: mac, own: prefix("10.0.0.2/16")}, "10.0.0.0/16 on eth0 is too large"},
		"no hardware": {link{name: "tun0", own: prefix("10.0.0.2/24")}, "tun0 has no hardware address"},
		"not ours":    {link{name: "eth0", mac: mac, own: prefix("198.51.100.2/30")}, "call the machines on eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := n.call4(t.Context(), tt.link); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if err := n.call4(t.Context(), link{name: "tun0", own: prefix("10.0.0.2/32")}); err != nil {
		t.Errorf("a link without others: %v", err)
	}
}

// TestRoom shows that what finds no room is not taken for closed.
func TestRoom(t *testing.T) {
	spec := apple()
	spec.Timeout = 50 * time.Millisecond
	n := newNetwork(spec)
	for range maxSockets {
		n.room <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), spec.Timeout)
	defer cancel()
	target := try{"tcp", "127.0.0.1:1"}
	if err := n.closed(ctx, target); !errors.Is(err, errNoRoom) {
		t.Errorf("without room: %v", err)
	}
	if met := n.meet(ctx, []try{target}); len(met) != 1 || met[0].how != errNoRoom.Error() {
		t.Errorf("without room: %v", met)
	}
	<-n.room
	// There is room now, and no time.
	if err := n.closed(ctx, target); !errors.Is(err, errNoRoom) {
		t.Errorf("without time: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	met := []encounter{
		{try{"tcp", "192.168.64.1:22"}, "refused"}, {try{"tcp", "192.168.64.1:445"}, "accepted"},
		{try{"udp", "192.168.64.1:123"}, "refused"}, {try{"tcp", "[fe80::1%eth0]:22"}, "accepted"},
	}
	const want = "192.168.64.1 accepted 445, refused 22 123/udp; fe80::1%eth0 accepted 22"
	if got := describe(met); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOutside6(t *testing.T) {
	for canary, want := range map[string][]string{
		"":           {"2001:db8::1"},
		"1.1.1.1":    {"2001:db8::1", "2606:4700:4700::1111", "64:ff9b::101:101"},
		lanCanary:    {"2001:db8::1", lanCanary6},
		"2620:fe::9": {"2001:db8::1", "2620:fe::9"},
	} {
		t.Run(canary, func(t *testing.T) {
			if got := outside6(Spec{Canary: canary}); !slices.Equal(got, want) {
				t.Errorf("targets are %q, want %q", got, want)
			}
		})
	}
}

func TestRouters6(t *testing.T) {
	s := surroundings{
		links:    []link{{name: "eth0", own: []netip.Prefix{netip.MustParsePrefix("fd00:64::2/64"), netip.MustParsePrefix("fe80::2/64"), netip.MustParsePrefix("192.168.64.2/24")}}},
		gateways: addrs(lanGateway),
	}
	found := []neighbour{near(lanGateway, "02:00:00:00:64:01", "eth0"), near("fd00:64::77", "02:00:00:00:64:01", "eth0"), near("fd00:64::88", "02:00:00:00:64:09", "eth0")}
	want := addrs(lanGatewayOwn, "fd00:64::77", "fd00:64::", "fd00:64::1")
	if got := routers6(s, found); !slices.Equal(got, want) {
		t.Errorf("routers may be at %v, want %v", got, want)
	}
	s.gateways = append(s.gateways, netip.MustParseAddr(lanGateway6))
	if got := routers6(s, found); slices.Contains(got, netip.MustParseAddr(lanGateway6)) {
		t.Errorf("a gateway is tried twice: %v", got)
	}
}
