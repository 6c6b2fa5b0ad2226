package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/bottles"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// softMemory is what the collector works towards; jail.Raise sets the hard
// bound.
const softMemory = 128 << 20

// Main is the sidecar's second stage: it serves until the shim goes away.
func Main() int {
	debug.SetMemoryLimit(softMemory)
	conn, err := frame.FromFD(jail.ControlFD, "shim", frame.MaxHost)
	if err != nil {
		return 1
	}
	if err = jail.Raise(); err == nil {
		err = serve(conn)
	}
	if err != nil {
		_ = conn.Send(jail.Done{Error: err.Error()})
		return 1
	}
	return 0
}

func serve(conn *frame.Conn) error {
	var start jail.Start
	files, err := conn.RecvFiles(&start)
	if err != nil {
		return fmt.Errorf("read the sidecar's configuration: %w", err)
	}
	secrets, err := recvSecrets(conn)
	if err != nil {
		return err
	}
	given, err := sortFiles(start, files)
	if err != nil {
		return err
	}
	if err := unix.Dup3(int(given.errors.Fd()), unix.Stderr, 0); err != nil {
		return fmt.Errorf("redirect errors to the bottle's log: %w", err)
	}
	if given.book, err = openLedger(start.Config, given.decisions); err != nil {
		return err
	}
	defer func() { _ = given.book.Close() }() // nobody is left to tell
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, len(given.listeners))
	given.secrets = secrets
	proxy, err := startServices(ctx, start, given, failed)
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	if err := conn.Send(jail.Done{}); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for reload(conn, proxy) == nil { // the shim's end ends us
		}
	}()
	select {
	case <-gone:
		cancel()
		settle(failed, len(given.listeners))
		return nil
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	}
}

// settleTime is how long the services may take to record the ends of what they
// carried when the bottle ends. The shim waits a little longer.
const settleTime = 300 * time.Millisecond

// settle waits until n services have ended.
func settle(ended <-chan error, n int) {
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	for range n {
		select {
		case err := <-ended:
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		case <-timer.C:
			return
		}
	}
}

// recvSecrets reads the frame of secrets that follows Start and Reload.
func recvSecrets(conn *frame.Conn) (sidecars.Secrets, error) {
	data, err := conn.RecvBytes()
	if err != nil {
		return sidecars.Secrets{}, fmt.Errorf("read the sidecar's secrets: %w", err)
	}
	return jail.DecodeSecrets(data)
}

// inherited are the descriptors and secrets that come with jail.Start.
type inherited struct {
	secrets   sidecars.Secrets
	listeners []*os.File // in the order of the services
	decisions []*os.File
	errors    *os.File
	way       *os.File // nil = nothing leads to the host's MCP server
	book      *ledger.Ledger
}

func sortFiles(start jail.Start, files []*os.File) (inherited, error) {
	n := len(start.Services)
	want := n + ledger.Segments + 1
	led := slices.Contains(start.Services, sidecars.Bottles)
	if led {
		want++
	}
	if len(files) != want {
		return inherited{}, fmt.Errorf("%d descriptors for %d services, a ledger and a log", len(files), n)
	}
	logs := files[n:]
	given := inherited{listeners: files[:n], decisions: logs[:ledger.Segments], errors: logs[ledger.Segments]}
	if led {
		given.way = logs[ledger.Segments+1]
	}
	return given, nil
}

// server is a daemon that is configured.
type server interface {
	Serve(ctx context.Context, l net.Listener) error
}

// startServices returns the egress proxy; nil where it is not one of them.
func startServices(ctx context.Context, start jail.Start, given inherited, failed chan<- error) (*egress.Proxy, error) {
	var proxy *egress.Proxy
	for i, svc := range start.Services {
		l, err := net.FileListener(given.listeners[i])
		if err != nil {
			return nil, fmt.Errorf("listener of %s: %w", svc, err)
		}
		if err := given.listeners[i].Close(); err != nil {
			return nil, fmt.Errorf("listener of %s: %w", svc, err)
		}
		daemon, err := configure(svc, start, given)
		if err != nil {
			return nil, fmt.Errorf("configure %s: %w", svc, err)
		}
		if p, ok := daemon.(*egress.Proxy); ok {
			proxy = p
		}
		go func() { failed <- daemon.Serve(ctx, l) }()
	}
	return proxy, nil
}

// configure gives each daemon the secrets that it needs and no others.
func configure(svc sidecars.Service, start jail.Start, given inherited) (server, error) {
	secrets := given.secrets
	switch svc {
	case sidecars.Egress:
		secrets.BottlesToken = secret.Value{}
		return egress.New(start.Config, secrets, egress.Options{Ledger: given.book})
	case sidecars.Bottles:
		w, err := newWay(given.way)
		if err != nil {
			return nil, err
		}
		return bottles.New(start.Config, sidecars.Secrets{BottlesToken: secrets.BottlesToken}, bottles.Options{Dial: w.dial})
	}
	return nil, errors.New("this sidecar does not know it")
}

// openLedger begins, or goes on with, the record of what is decided.
func openLedger(cfg sidecars.Config, records []*os.File) (*ledger.Ledger, error) {
	o, err := egress.LedgerOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure the ledger: %w", err)
	}
	for _, f := range records {
		o.Files = append(o.Files, f)
	}
	book, err := ledger.New(o)
	if err != nil {
		return nil, fmt.Errorf("configure the ledger: %w", err)
	}
	return book, book.Start()
}
