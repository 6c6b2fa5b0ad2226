package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
)

const (
	// selfTestTimeout bounds the self-test as a whole; each of its checks has a
	// second, or two in a guest with a network.
	selfTestTimeout = 20 * time.Second
	// maxSelfTest bounds what the guest's probe may write.
	maxSelfTest = 256 << 10

	rootUser = "root"
)

// selfTest runs the probe in the guest through the exec path, as the agent and
// as root where there is one, and demands that every check is green.
func selfTest(ctx context.Context, l *launch) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, selfTestTimeout)
	defer cancel()
	start := time.Now()
	users := []string{backend.AgentUser}
	if l.r.caps.MultiUser {
		users = append(users, rootUser)
	}
	results := make([]selftest.Result, len(users))
	g, gctx := errgroup.WithContext(ctx)
	for i, user := range users {
		g.Go(func() error {
			r, err := l.probe(gctx, user)
			results[i] = r
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	report := Report{Walls: l.r.caps.Walls, Missing: l.r.caps.Missing, Elapsed: time.Since(start)}
	for i, user := range users {
		for _, c := range results[i].Checks {
			report.Checks = append(report.Checks, Check{Name: c.Name, As: user, OK: c.OK, Detail: c.Detail, Elapsed: c.Elapsed})
			if !c.OK {
				report.Red++
			}
		}
	}
	if report.Red > 0 {
		return "", &IsolationError{Report: report, Advice: l.r.caps.Guest.Advice}
	}
	l.detail.Report = report
	l.detail.LogStart = l.m.decisions.size(l.plan.ID)
	return fmt.Sprintf("%d checks as %s", len(report.Checks), strings.Join(users, " and ")), nil
}

// probe runs the self-test once. The guest is hostile: what it writes is
// bounded, and a result without every check asked for is none.
func (l *launch) probe(ctx context.Context, user string) (selftest.Result, error) {
	fail := func(err error) (selftest.Result, error) {
		return selftest.Result{}, fmt.Errorf("self-test as %s: %w", user, err)
	}
	spec := l.selfTestSpec(user)
	input, err := json.Marshal(spec)
	if err != nil {
		return fail(err)
	}
	stdout := &bounded{limit: maxSelfTest}
	status, err := l.r.engine.Exec(ctx, l.plan.ID, backend.Command{
		Argv: []string{backend.GuestBinary, "guest", "selftest"}, Dir: "/", User: user,
	}, backend.Streams{Stdin: bytes.NewReader(input), Stdout: stdout})
	switch {
	case err != nil:
		return fail(err)
	case status.StartError != "":
		return fail(fmt.Errorf("the probe did not start: %.200q", status.StartError))
	case stdout.cut:
		return fail(fmt.Errorf("the probe wrote more than %d bytes", maxSelfTest))
	}
	result, err := selftest.DecodeResult(stdout.data.Bytes(), spec)
	if err != nil {
		return fail(fmt.Errorf("exit code %d: %w", status.Code, err))
	}
	// The exit code must agree, else one of the two is wrong.
	if green := len(result.Failed()) == 0; green != (status.Code == 0) {
		return fail(fmt.Errorf("exit code %d contradicts the result's %d red checks", status.Code, len(result.Failed())))
	}
	return result, nil
}

// selfTestSpec says what this bottle must be tested for.
func (l *launch) selfTestSpec(user string) selftest.Spec {
	guest := l.r.caps.Guest
	s := selftest.For(guest)
	s.BottleID = string(l.plan.ID)
	s.ProxyURL = l.record.Endpoints.Egress
	s.ExpectUID = l.detail.Account.UID
	s.SidecarPorts = servedPorts(l.record.Endpoints)
	if guest.Network {
		s.Canary = l.m.cfg.Canary
	}
	s.HostAddresses = unique(l.r.caps.HostAddresses, l.m.cfg.HostAddresses)
	s.SecretPaths = unique(s.SecretPaths, l.m.secretPaths(guest))
	for _, r := range l.r.routes {
		if !strings.HasPrefix(r.Host, "*.") {
			s.AllowedHost = r.Host
			if len(r.Ports) > 0 {
				s.AllowedPort = r.Ports[0]
			}
			break
		}
	}
	if user == rootUser {
		s.ExpectUID = 0
	}
	return s
}

// servedPorts are the ports beside the proxy's at which the proxy's machine
// serves this bottle.
func servedPorts(at backend.Endpoints) []int {
	proxy, err := url.Parse(at.Egress)
	if err != nil {
		return nil
	}
	var out []int
	for _, service := range []string{at.Supervise, at.GitGate, at.Bottles} {
		u, err := url.Parse(service)
		if err != nil || service == "" || u.Hostname() != proxy.Hostname() {
			continue
		}
		if port, err := strconv.Atoi(u.Port()); err == nil {
			out = append(out, port)
		}
	}
	return out
}

// rootHome is the home directory of uid 0 in every image.
const rootHome = "/root"

// secretPaths are this host's paths that a guest must not read.
func (m *Manager) secretPaths(guest backend.GuestFacts) []string {
	out := append([]string{m.cfg.State.Path(), m.cfg.ManifestHome}, m.cfg.SecretPaths...)
	// A guest has a home of its own, which may have the same name, and one from
	// an image has root's, too.
	home, _ := m.cfg.LookupEnv("HOME")
	_, around := below(home, backend.AgentHome)
	_, inside := below(backend.AgentHome, home)
	same := around || inside || guest.OwnKernel && home == rootHome
	if filepath.IsAbs(home) && !same {
		for _, name := range []string{"", ".ssh", ".aws", ".config", ".gnupg", ".netrc", ".docker"} {
			out = append(out, filepath.Join(home, name))
		}
	}
	return out
}

func unique(lists ...[]string) []string {
	out := []string{}
	for _, s := range slices.Concat(lists...) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// errCut is what a bounded writer gives a writer that goes on.
var errCut = errors.New("more output than allowed")

// bounded keeps at most limit bytes.
type bounded struct {
	data  bytes.Buffer
	limit int
	cut   bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.data.Len()+len(p) > b.limit {
		b.cut = true
		return 0, errCut
	}
	return b.data.Write(p)
}
