package pid1

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// reloader does what SIGHUP asks for, one reload after the other.
func (m *machine) reloader(ctx context.Context, asked <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		err := m.reload(ctx)
		if ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		m.reloads++
		m.reloadError = ""
		if err != nil {
			m.reloadError = printable(err.Error())
		}
		text := m.reloadError
		m.mu.Unlock()
		if text != "" {
			m.log.Error("the new configuration is refused; the one before stays in force", "error", text)
		} else {
			m.log.Info("the new configuration is in force")
		}
	}
}

// reload reads the directory again. Nothing changes unless a daemon serves with
// what it says.
func (m *machine) reload(ctx context.Context) error {
	read, err := loadSettings(m.configDir)
	if err != nil {
		return err
	}
	next, err := m.settings.after(read)
	if err != nil {
		return err
	}
	if err := next.validate(m.daemons); err != nil {
		return err
	}
	for _, s := range m.services {
		if err := s.reload(ctx, next); err != nil {
			return fmt.Errorf("%s did not take it: %w", s.name, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings = next
	return nil
}

const (
	reloadTimeout = 10 * time.Second
	reloadEvery   = 5 * time.Millisecond
)

// runReload tells the init of this machine to read its directory again, waits
// for what comes of it, prints a Report and returns 0 when the configuration
// that is expected is in force.
func runReload(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sidecar reload", flag.ContinueOnError)
	flags.SetOutput(stderr)
	timeout := flags.Duration("timeout", reloadTimeout, "how long to wait")
	expect := flags.String("expect", "", "digest of the configuration")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 || *timeout <= 0 {
		_, _ = fmt.Fprintln(stderr, "sidecar reload: it takes --expect, a digest, --timeout, a duration such as 10s, and nothing else")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	report, err := askReload(ctx, *expect)
	if err != nil {
		report.Error = err.Error()
	}
	if json.NewEncoder(stdout).Encode(report) != nil || err != nil || report.ReloadError != "" {
		return exitFailure
	}
	return 0
}

// askReload sends SIGHUP until a reload that began afterwards is done with the
// expected configuration or has refused it: one that was under way may have
// read an earlier one.
func askReload(ctx context.Context, expect string) (Report, error) {
	for {
		before, pid, err := askInit(ctx)
		if err != nil {
			return before, err
		}
		if err := unix.Kill(pid, unix.SIGHUP); err != nil {
			return before, fmt.Errorf("tell the sidecar's init to reload: %w", err)
		}
		after := before
		for after.Reloads == before.Reloads {
			select {
			case <-ctx.Done():
				return after, errors.New("the sidecar's init does not reload in time; look at its log")
			case <-time.After(reloadEvery):
			}
			if after, err = askStatus(ctx); err != nil {
				return after, err
			}
		}
		if expect == "" || after.Config == expect || after.ReloadError != "" {
			return after, nil
		}
	}
}
