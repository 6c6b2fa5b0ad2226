package pid1

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const (
	readyTimeout = 10 * time.Second
	readyEvery   = 50 * time.Millisecond
	healthWait   = 2 * time.Second
)

// runReady waits until every daemon answers, for its timeout at most, prints a
// Report and returns 0 when all do.
func runReady(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sidecar ready", flag.ContinueOnError)
	flags.SetOutput(stderr)
	timeout := flags.Duration("timeout", readyTimeout, "how long to wait until the daemons answer")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 || *timeout < 0 {
		_, _ = fmt.Fprintln(stderr, "sidecar ready: it takes --timeout, a duration such as 10s, and nothing else")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	report := awaitReady(ctx)
	if err := json.NewEncoder(stdout).Encode(report); err != nil || !report.Ready {
		return exitFailure
	}
	return 0
}

// awaitReady asks at least once, also when there is no time to wait.
func awaitReady(ctx context.Context) Report {
	for {
		report := askAll(context.WithoutCancel(ctx))
		if report.Ready {
			return report
		}
		select {
		case <-ctx.Done():
			return report
		case <-time.After(readyEvery):
		}
	}
}

// askAll asks the init and each of its daemons once.
func askAll(ctx context.Context) Report {
	report, err := askStatus(ctx)
	if err != nil {
		return Report{Services: map[sidecars.Service]string{}, Error: err.Error()}
	}
	report.Services = map[sidecars.Service]string{}
	report.Ready = len(report.Daemons) > 0
	for name, daemon := range report.Daemons {
		text := ServiceOK
		if !daemon.Alive {
			text = "it does not run"
		} else if err := askHealth(ctx, name, report.Bottle); err != nil {
			text = printable(err.Error())
		}
		report.Services[name] = text
		report.Ready = report.Ready && text == ServiceOK
	}
	return report
}

// askHealth asks a daemon for its own page, as the guest would, and demands that
// it is the one of this bottle. Egress is asked as a proxy.
func askHealth(ctx context.Context, daemon sidecars.Service, bottle string) error {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	at := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(daemon.Port()))}
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxStatus}
	defer transport.CloseIdleConnections()
	page := at.String() + "/healthz"
	if daemon == sidecars.Egress {
		transport.Proxy = http.ProxyURL(at)
		page = "http://_egress.local/healthz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err != nil {
		return err
	}
	if want := "ok " + bottle + "\n"; resp.StatusCode != http.StatusOK || string(body) != want {
		return fmt.Errorf("it answers %d %q, not that it serves bottle %s", resp.StatusCode, body, bottle)
	}
	return nil
}
