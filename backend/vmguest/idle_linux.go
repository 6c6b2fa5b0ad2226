package vmguest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// maxIdle is as long as a guest can be asked to stay: some hundred years, which
// fit a time.Duration.
const maxIdle = 3_000_000_000

// idleMain is "guest idle": it keeps the guest alive, relays, and reaps.
func idleMain(args []string) error {
	f := flags(verbIdle)
	seconds := f.Int64("seconds", 0, "")
	var relays list
	f.Var(&relays, "relay", "")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if *seconds < 1 || *seconds > maxIdle {
		return badUsage("--seconds must be 1 to %d", maxIdle)
	}
	runtime.LockOSThread()
	if err := walls.NoNewPrivs(); err != nil {
		return err
	}
	if err := walls.Undumpable(); err != nil {
		return err
	}
	if err := filterCalls(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	signal.Ignore(unix.SIGPIPE, unix.SIGHUP)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(*seconds)*time.Second)
	defer cancel()
	if err := startRelays(ctx, relays); err != nil {
		return err
	}
	go endAt(ctx, time.Now().Add(time.Duration(*seconds)*time.Second), cancel)
	reapUntil(ctx)
	return nil
}

// endAt calls end when the wall clock says so: the other clock stands still
// while a laptop sleeps.
func endAt(ctx context.Context, when time.Time, end func()) {
	when = when.Round(0)
	tick := time.NewTicker(wallTick)
	defer tick.Stop()
	for time.Now().Round(0).Before(when) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	end()
}

// wallTick is how often the wall clock is looked at.
const wallTick = time.Second

// startRelays listens before the guest counts as started.
func startRelays(ctx context.Context, relays []string) error {
	for _, text := range relays {
		port, socket, err := parseRelay(text)
		if err != nil {
			return err
		}
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("relay port %d: %w", port, err)
		}
		go func() { _ = Relay(ctx, listener, socket) }()
	}
	return nil
}

func parseRelay(text string) (port int, socket string, err error) {
	number, socket, _ := strings.Cut(text, "=")
	port, err = strconv.Atoi(number)
	if err != nil || port < 1 || port > 65535 || !filepath.IsAbs(socket) {
		return 0, "", badUsage("--relay %.200q must be PORT=/path/of/a/socket", text)
	}
	return port, socket, nil
}

// reapUntil waits. As the guest's process 1 it inherits every orphan.
func reapUntil(ctx context.Context) {
	child := make(chan os.Signal, 1)
	if os.Getpid() == 1 {
		signal.Notify(child, unix.SIGCHLD)
		defer signal.Stop(child)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-child:
			for {
				pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
				if err != unix.EINTR && (err != nil || pid <= 0) {
					break
				}
			}
		}
	}
}
