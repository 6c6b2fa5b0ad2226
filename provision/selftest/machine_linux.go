package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// networkConfig shows that the guest's network stays as it is. Its capability
// sets are empty, but where the kernel lets anyone make a user namespace a
// process has them all again in there: that must not reach the network outside.
func networkConfig(ctx context.Context, spec Spec) (string, error) {
	if err := reconfigure(); err != nil {
		return "", err
	}
	if spec.Nested {
		return "refused with the capabilities of a new user namespace, too", leaveAndReturn()
	}
	out, err := nested(ctx)
	if noNamespace(err) {
		return "refused, and no user namespace can be made", nil
	}
	if err != nil && out == "" {
		return "", fmt.Errorf("in a new user namespace: %w", err)
	}
	result, err := DecodeResult([]byte(out), Spec{Nested: true})
	if err != nil {
		return "", fmt.Errorf("in a new user namespace: %w", err)
	}
	if c := result.Checks[0]; !c.OK {
		return "", fmt.Errorf("in a new user namespace: %s", c.Detail)
	}
	return result.Checks[0].Detail, nil
}

// nestedEnv marks what the probe started, which starts nothing more.
const nestedEnv = "BOTTLE_SELFTEST_NESTED"

// verb is how the probe is started in a guest.
var verb = []string{"guest", "selftest"}

// nested runs the probe's one check with all capabilities in a user namespace
// of its own, in this network. Nobody's ids are mapped there: that takes
// privileges which an attacker would not need either.
func nested(ctx context.Context) (string, error) {
	// A program that does anything else with these arguments must not be
	// started over and over.
	if !slices.Equal(os.Args[1:], verb) || os.Getenv(nestedEnv) != "" {
		return "", errors.New("this program was not started as 'guest selftest', so it cannot start itself as that")
	}
	input, err := json.Marshal(Spec{Nested: true, Timeout: time.Until(deadline(ctx)) / 2})
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", verb...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{nestedEnv + "=1"}, time.Second
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout = bytes.NewReader(input), &out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN},
	}
	err = cmd.Run()
	return out.String(), err
}

// noNamespace reports that the kernel makes no user namespace for this process,
// or gives no capabilities in it.
func noNamespace(err error) bool {
	var ended *exec.ExitError
	return err != nil && !errors.As(err, &ended) &&
		(denied(err) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) || errors.Is(err, unix.EINVAL))
}

// reconfigure asks for what CAP_NET_ADMIN permits: to set the flags of every
// interface, to the values that they have.
func reconfigure() error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list the interfaces: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ask for the interfaces' flags: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for _, link := range links {
		req, err := unix.NewIfreq(link.Name)
		if err != nil {
			return fmt.Errorf("ask for the flags of %s: %w", link.Name, err)
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
			return fmt.Errorf("ask for the flags of %s: %w", link.Name, err)
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); !denied(err) {
			return fmt.Errorf("changing %s is not refused: %w", link.Name, orSuccess(err))
		}
	}
	return nil
}

// leaveAndReturn moves a thread to a network namespace of its own and tries to
// come back with the capabilities it has there.
func leaveAndReturn() error {
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("find this network: %w", err)
	}
	defer func() { _ = home.Close() }()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the runtime ends the thread
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- nil // no way to gain anything
			return
		}
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); !denied(err) {
			done <- fmt.Errorf("entering this network from another one is not refused: %w", orSuccess(err))
			return
		}
		done <- nil
	}()
	return <-done
}

// vsockPorts are those on which hosts listen for their guests, among them the
// ones that engines use to steer a machine.
var vsockPorts = []uint32{22, 80, 1024, 1025, 2222, 2375, 5000, 8080, 8088, 9999}

// vsock tries the sockets that go around every network, to the hypervisor's
// host and back to this machine's own init. What refuses is closed here: only
// programs that were made for a guest listen on such ports, and one that is
// there now is there for another purpose than a bottle's.
func vsock(ctx context.Context, dial func(ctx context.Context, cid, port uint32) error) (string, error) {
	type target struct{ cid, port uint32 }
	var targets []target
	for _, cid := range []uint32{unix.VMADDR_CID_HOST, unix.VMADDR_CID_LOCAL} {
		for _, port := range vsockPorts {
			targets = append(targets, target{cid, port})
		}
	}
	errs := make(chan error, len(targets))
	for _, t := range targets {
		go func() {
			if err := dial(ctx, t.cid, t.port); err != nil {
				errs <- nil
				return
			}
			errs <- fmt.Errorf("port %d of machine %d accepted", t.port, t.cid)
		}()
	}
	var open []string
	for range targets {
		if err := <-errs; err != nil {
			open = append(open, err.Error())
		}
	}
	if len(open) > 0 {
		return "", fmt.Errorf("around the network: %s", strings.Join(open, ", "))
	}
	return fmt.Sprintf("nobody accepts on %d ports", len(targets)), nil
}

// dialVsock returns nil when somebody accepted.
func dialVsock(ctx context.Context, cid, port uint32) error {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return connected(ctx, fd, &unix.SockaddrVM{CID: cid, Port: port})
}

// connected connects a socket that does not block and waits for the outcome.
func connected(ctx context.Context, fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	wait := max(0, time.Until(deadline(ctx)).Milliseconds())
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}} //nolint:gosec // a descriptor is an int of C
	if n, err := unix.Poll(ready, int(wait)); err != nil || n == 0 {
		return errors.Join(err, context.DeadlineExceeded)
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// powerful are device nodes with which a machine's own root gets back what it
// was denied: memory, ports, other machines.
var powerful = map[string][2]int{
	"mem": {1, 1}, "kmem": {1, 2}, "port": {1, 4}, "kvm": {10, 232}, "vfio": {10, 196},
}

// maxMachineDevices bounds a walk of the /dev of a machine.
const maxMachineDevices = 5000

// machineDevices looks for the devices of a machine that this process may open
// and that matter: disks, and the powerful ones. The others are the machine's
// own and harm nobody else.
func machineDevices(top string, open opener) (string, error) {
	var found []string
	count := 0
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if hidden(err) {
				return nil
			}
			return err
		}
		if count++; count > maxMachineDevices {
			return fmt.Errorf("%s has more than %d entries", top, maxMachineDevices)
		}
		if d.Type()&fs.ModeDevice != 0 {
			if how := opens(path, d.Type(), open); how != "" {
				found = append(found, path+" ("+how+")")
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return "", fmt.Errorf("devices that can be opened: %.200s", strings.Join(found, " "))
	}
	return fmt.Sprintf("%d entries, no disk or memory among them", count), nil
}

// opener opens a device without waiting and tells its size.
type opener func(path string, flag int) (size int64, err error)

func openSize(path string, flag int) (int64, error) {
	fd, err := unix.Open(path, flag|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return 0, nil // open all the same; what has a size can be sought in
	}
	return size, nil
}

// opens says how a device that matters can be opened, "" when it cannot.
func opens(path string, kind fs.FileMode, open opener) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return ""
	}
	disk := kind&fs.ModeCharDevice == 0
	matters := disk
	for _, p := range powerful {
		matters = matters || !disk && isDevice(st.Rdev, p)
	}
	if !matters {
		return ""
	}
	var ways []string
	for _, way := range []struct {
		name string
		flag int
	}{{"readable", unix.O_RDONLY}, {"writable", unix.O_WRONLY}} {
		// A disk of no size is one that nothing is behind.
		if size, err := open(path, way.flag); err == nil && (!disk || size > 0) {
			ways = append(ways, way.name)
		}
	}
	return strings.Join(ways, ", ")
}
