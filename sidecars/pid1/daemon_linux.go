package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/bottles"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Bounds of a daemon. No file grows beyond maxRecord; the ledger ends earlier by
// itself: what cannot be recorded is refused, so a guest that fills it loses
// its way out, and not the host its disk.
const (
	softMemory = 128 << 20
	hardMemory = 512 << 20
	maxRecord  = 80 << 20
	maxFiles   = 65536
)

const (
	// abortAfter is how long a daemon that was told to stop lets requests
	// finish.
	abortAfter = time.Second
	// openingTime is how long one that was replaced goes on as if nothing had
	// happened but accepts nothing: whoever has just connected gets its tunnel.
	openingTime = time.Second
)

// daemon is what a daemon's process serves.
type daemon interface {
	Serve(ctx context.Context, l net.Listener) error
	Abort()
	// Reload puts another policy in force, or says why not.
	Reload(cfg sidecars.Config, secrets sidecars.Secrets) error
	// Close writes down what is still in its hands.
	Close() error
}

// runDaemon is the process of a daemon.
func runDaemon(name sidecars.Service) int {
	debug.SetMemoryLimit(softMemory)
	debug.SetGCPercent(200) // less would collect twice as often for a few megabytes
	control, err := controlFile()
	if err != nil {
		return 1
	}
	if err := harden(); err != nil {
		_ = writeAnswer(control, err)
		return 1
	}
	// A daemon that is told to stop before it serves has nothing to finish.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	signal.Ignore(unix.SIGHUP)
	d, listener, err := prepare(name, control)
	if err != nil {
		_ = writeAnswer(control, err)
		return 1
	}
	debug.FreeOSMemory()
	if err := writeAnswer(control, nil); err != nil {
		return 1
	}
	if err := errors.Join(serveUntil(d, listener, control, stop), d.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func controlFile() (*os.File, error) {
	unix.CloseOnExec(controlFD)
	if err := unix.SetNonblock(controlFD, true); err != nil {
		return nil, err
	}
	return os.NewFile(controlFD, "control"), nil
}

// harden makes sure of what the init did for this process, and does the rest.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	if err := checkPrivileges(); err != nil {
		return err
	}
	for _, l := range []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, maxFiles},
		{unix.RLIMIT_FSIZE, maxRecord}, {unix.RLIMIT_DATA, hardMemory},
	} {
		if err := limit(l.resource, l.max); err != nil {
			return fmt.Errorf("set resource limit %d: %w", l.resource, err)
		}
	}
	return nil
}

// limit sets both values of a resource limit to n, or to the hard limit there
// is when that is less.
func limit(resource int, n uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	n = min(n, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
}

func checkPrivileges() error {
	if os.Getuid() == 0 || os.Geteuid() == 0 || os.Getegid() == 0 {
		return errors.New("a daemon must not be root; start it by sidecar init")
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if data != [2]unix.CapUserData{} {
		return errors.New("a daemon must have no capability; start it by sidecar init")
	}
	bound, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read no_new_privs: %w", err)
	}
	if bound != 1 {
		return errors.New("a daemon must have no_new_privs; start it by sidecar init")
	}
	return nil
}

// prepare reads what the init sends and makes the daemon and its listener.
func prepare(name sidecars.Service, control *os.File) (daemon, *joined, error) {
	_ = control.SetReadDeadline(time.Now().Add(defaultTiming().start))
	m, err := readStart(control)
	if err != nil {
		return nil, nil, fmt.Errorf("read the start message: %w", err)
	}
	_ = control.SetReadDeadline(time.Time{})
	var listeners []net.Listener
	for i := range m.Listeners {
		l, err := listenerFromFD(firstFD + i)
		if err != nil {
			return nil, nil, fmt.Errorf("take over listener %d: %w", i, err)
		}
		listeners = append(listeners, l)
	}
	if len(listeners) == 0 {
		return nil, nil, errors.New("there is no listener; start the daemon by sidecar init")
	}
	d, err := configure(name, m.settings(), firstFD+m.Listeners)
	if err != nil {
		return nil, nil, err
	}
	return d, join(listeners), nil
}

// configure makes a daemon. What it records goes to the descriptors from
// recordFD on.
func configure(name sidecars.Service, s *settings, recordFD int) (daemon, error) {
	switch name {
	case sidecars.Egress:
		return configureEgress(s, recordFD)
	case sidecars.Bottles:
		relay, err := bottles.New(s.config, s.secrets, bottles.Options{
			Dial: dialHost, Limits: bottles.Limits{Stop: defaultTiming().drain},
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		return bottlesDaemon{relay}, err
	}
	return nil, fmt.Errorf("%s is no daemon", name)
}

// bottlesDaemon has no policy and records nothing.
type bottlesDaemon struct{ *bottles.Relay }

// Reload implements daemon.
func (bottlesDaemon) Reload(sidecars.Config, sidecars.Secrets) error {
	return errors.New("it has nothing that could change; start another")
}

// Close implements daemon.
func (bottlesDaemon) Close() error { return nil }

// egressDaemon closes its ledger.
type egressDaemon struct {
	*egress.Proxy

	book *ledger.Ledger
}

// Close implements daemon.
func (d egressDaemon) Close() error { return d.book.Close() }

func configureEgress(s *settings, recordFD int) (daemon, error) {
	pool, err := rootPool(s.roots)
	if err != nil {
		return nil, err
	}
	book, err := openLedger(s.config, recordFD)
	if err != nil {
		return nil, err
	}
	proxy, err := egress.New(s.config, s.secrets, egress.Options{
		Ledger: book, RootCAs: pool, Limits: egress.Limits{Stop: defaultTiming().drain},
	})
	if err == nil {
		err = book.Start()
	}
	return egressDaemon{proxy, book}, err
}

// openLedger takes over the files of the ledger. While one daemon replaces
// another, both write to it.
func openLedger(cfg sidecars.Config, recordFD int) (*ledger.Ledger, error) {
	o, err := egress.LedgerOptions(cfg)
	if err != nil {
		return nil, err
	}
	for i, name := range ledger.Names() {
		unix.CloseOnExec(recordFD + i)
		o.Files = append(o.Files, os.NewFile(uintptr(recordFD+i), name))
	}
	return ledger.New(o)
}

func listenerFromFD(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(f)
	return l, errors.Join(err, f.Close())
}

// serveUntil serves until the init says "drain", sends SIGTERM or is gone.
func serveUntil(d daemon, listener *joined, control io.ReadWriter, stop <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := make(chan struct{})
	go func() {
		defer close(orders) // the end of the init's end is the end of us
		for word := make([]byte, 1); ; {
			if n, err := control.Read(word); err != nil || n == 0 {
				return
			}
			switch word[0] {
			case drainWord:
				_ = listener.pause()
				time.AfterFunc(openingTime, cancel)
			case reloadWord:
				m, err := readStart(control)
				if err != nil {
					return
				}
				s := m.settings()
				if writeAnswer(control, d.Reload(s.config, s.secrets)) != nil {
					return
				}
			}
		}
	}()
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-stop:
		case <-orders:
		case <-ended:
			return
		}
		cancel()
		select {
		case <-time.After(abortAfter):
			d.Abort()
		case <-ended:
		}
	})
	err := d.Serve(ctx, listener)
	close(ended)
	watching.Wait()
	return err
}
