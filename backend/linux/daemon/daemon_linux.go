package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
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
	if len(files) != len(start.Services)+2 {
		return fmt.Errorf("%d descriptors for %d services and two logs", len(files), len(start.Services))
	}
	listeners, log, errorLog := files[:len(start.Services)], files[len(start.Services)], files[len(start.Services)+1]
	if err := unix.Dup3(int(errorLog.Fd()), unix.Stderr, 0); err != nil {
		return fmt.Errorf("redirect errors to the bottle's log: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, len(listeners))
	if err := startServices(ctx, start, listeners, log, failed); err != nil {
		return err
	}
	start.Secrets = jail.PlainSecrets{}
	debug.FreeOSMemory()
	if err := conn.Send(jail.Done{}); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var none struct{}
		for conn.Recv(&none) == nil { // the shim sends nothing more; its end ends us
		}
	}()
	select {
	case <-gone:
		return nil
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	}
}

func startServices(ctx context.Context, start jail.Start, files []*os.File, log *os.File, failed chan<- error) error {
	for i, svc := range start.Services {
		l, err := net.FileListener(files[i])
		if err != nil {
			return fmt.Errorf("listener of %s: %w", svc, err)
		}
		if err := files[i].Close(); err != nil {
			return fmt.Errorf("listener of %s: %w", svc, err)
		}
		if svc != sidecars.Egress {
			return fmt.Errorf("service %s is not known to this sidecar", svc)
		}
		proxy, err := egress.New(start.Config, start.Secrets.Sealed(), egress.Options{Log: log})
		if err != nil {
			return fmt.Errorf("configure egress: %w", err)
		}
		go func() { failed <- proxy.Serve(ctx, l) }()
	}
	return nil
}
