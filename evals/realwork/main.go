package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

func main() {
	binary := flag.String("binary", "", "the bottle-mcp binary")
	repo := flag.String("repo", ".", "the repository to work in")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	w := &work{ctx: ctx}
	if err := w.run(*binary, *repo); err != nil {
		w.check("set-up", err)
	}
	fmt.Printf("%d passed, %d failed\n", w.passed, w.failed)
	if w.failed > 0 || w.passed == 0 {
		os.Exit(1)
	}
}

// work counts outcomes.
type work struct {
	ctx            context.Context //nolint:containedctx // one run, one context
	host           *drive.Host
	passed, failed int
}

func (w *work) check(name string, err error) {
	if err != nil {
		w.failed++
		fmt.Printf("FAIL %s: %v\n", name, err)
		return
	}
	w.passed++
	fmt.Printf("ok   %s\n", name)
}

func (w *work) run(binary, repo string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	repo, err = filepath.Abs(repo)
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "bottle-realwork-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }()
	goproxy, err := registry(w.ctx, "go", "env", "GOPROXY")
	if err != nil {
		return err
	}
	npm, err := registry(w.ctx, "npm", "config", "get", "registry")
	if err != nil {
		return err
	}
	if err := manifest(w.ctx, home, "modules", goproxy); err != nil {
		return err
	}
	if err := manifest(w.ctx, home, "packages", npm); err != nil {
		return err
	}
	env := []string{"HOME=" + home, "XDG_STATE_HOME=" + filepath.Join(home, "state")}
	w.host, err = drive.Start(w.ctx, binary, env, "--root", repo, "--log-level", "error")
	if err != nil {
		return err
	}
	defer func() {
		_ = w.host.Call(w.ctx, "cleanup", map[string]any{"all": true}, nil)
		_ = w.host.Close()
	}()
	w.goWork(repo, goproxy)
	w.npmWork(npm)
	return nil
}

// goWork copies the repository in and runs part of its test suite with modules
// downloaded through the proxy.
func (w *work) goWork(repo string, proxy *url.URL) {
	gobin, err := exec.LookPath("go")
	if err != nil {
		w.check("find the Go tool", err)
		return
	}
	goEnv := map[string]any{"GOFLAGS": "-buildvcs=false", "GOPROXY": proxy.String(), "GONOSUMDB": "*", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
	w.check("launch with the repository as workspace", w.launch("go-allowed", map[string]any{"bottles": []string{"modules"}, "workspace": repo}))
	w.check("git status is clean inside, as it is outside", w.sameStatus("go-allowed", repo))
	w.check("module download through the proxy", w.expect("go-allowed", 0, goEnv, gobin, "mod", "download"))
	w.check("a real test suite inside", w.expect("go-allowed", 0, goEnv, gobin, "test", "./provision/manifest/...", "./sidecars/..."))
	w.check("launch with no host allowed", w.launch("go-denied", map[string]any{"workspace": repo}))
	w.check("module download is refused with the reason", w.refused("go-denied", proxy, goEnv, gobin, "mod", "download"))
}

func (w *work) npmWork(npm *url.URL) {
	node, err := exec.LookPath("npm")
	if err != nil {
		w.check("find npm", err)
		return
	}
	env := map[string]any{"npm_config_registry": npm.String(), "npm_config_fetch_retries": "0"}
	w.check("launch with the npm registry allowed", w.launch("npm-allowed", map[string]any{"bottles": []string{"packages"}}))
	w.check("npm install through the proxy", w.expect("npm-allowed", 0, env, node, "install", "--no-audit", "--no-fund", "is-number@7.0.0"))
	w.check("the package works", w.expect("npm-allowed", 0, nil, "node", "-e", "if (!require('is-number')('5')) process.exit(1)"))
	w.check("launch with no host allowed", w.launch("npm-denied", nil))
	w.check("npm install is refused with the reason", w.refused("npm-denied", npm, env, node, "install", "--no-audit", "--no-fund", "is-number@7.0.0"))
}

func (w *work) launch(id string, args map[string]any) error {
	all := map[string]any{"id": id}
	for k, v := range args {
		all[k] = v
	}
	var l drive.Launch
	if err := w.host.Call(w.ctx, "launch", all, &l); err != nil {
		return err
	}
	if l.Report.Failed != 0 || l.Report.Passed == 0 {
		return fmt.Errorf("isolation report: %d passed, %d failed", l.Report.Passed, l.Report.Failed)
	}
	return nil
}

func (w *work) exec(id string, env map[string]any, argv ...string) (drive.Exec, error) {
	args := map[string]any{"id": id, "command": argv, "timeout_seconds": 300}
	if env != nil {
		args["env"] = env
	}
	var e drive.Exec
	err := w.host.Call(w.ctx, "exec", args, &e)
	return e, err
}

func (w *work) expect(id string, code int, env map[string]any, argv ...string) error {
	e, err := w.exec(id, env, argv...)
	if err != nil {
		return err
	}
	if e.ExitCode != code {
		return fmt.Errorf("exit code %d, want %d: %s%s", e.ExitCode, code, tail(e.Stdout), tail(e.Stderr))
	}
	return nil
}

// refused demands that the command fails and that the result names the host,
// the reason and the way to ask.
func (w *work) refused(id string, u *url.URL, env map[string]any, argv ...string) error {
	e, err := w.exec(id, env, argv...)
	if err != nil {
		return err
	}
	if e.ExitCode == 0 {
		return fmt.Errorf("it worked")
	}
	for _, r := range e.EgressRefusals {
		if r.Host == u.Hostname() && r.Reason != "" && r.HowToAsk != "" {
			return nil
		}
	}
	return fmt.Errorf("no refusal of the registry among %+v", e.EgressRefusals)
}

func (w *work) sameStatus(id, repo string) error {
	out, err := exec.CommandContext(w.ctx, "git", "-C", repo, "status", "--porcelain").Output()
	if err != nil {
		return err
	}
	e, err := w.exec(id, nil, "git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if e.ExitCode != 0 || strings.TrimSpace(e.Stdout) != strings.TrimSpace(string(out)) {
		return fmt.Errorf("inside (exit %d): %q%q, outside: %q", e.ExitCode, tail(e.Stdout), tail(e.Stderr), tail(string(out)))
	}
	return nil
}

// registry asks a client for the first registry it would use.
func registry(ctx context.Context, name string, args ...string) (*url.URL, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its registry: %w", name, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), ",")
	u, err := url.Parse(first)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%s uses %q: this evaluation needs an https registry", name, first)
	}
	return u, nil
}

// manifest writes a bottle that allows the registry alone. Addresses that are
// not public (a mirror in a private network) are named, as an operator would.
func manifest(ctx context.Context, home, name string, u *url.URL) error {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return fmt.Errorf("resolve the registry: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "---\negress:\n  routes:\n    - host: %s\n", u.Hostname())
	if p := u.Port(); p != "" {
		fmt.Fprintf(&b, "      ports: [%s]\n", p)
	}
	private := ""
	for _, ip := range ips {
		if special(ip.Unmap()) {
			private += fmt.Sprintf("        - %q\n", ip.Unmap())
		}
	}
	if private != "" {
		b.WriteString("      private:\n" + private)
	}
	b.WriteString("---\nOnly the registry.\n")
	dir := filepath.Join(home, ".bot-bottle", "bottles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".md"), []byte(b.String()), 0o600)
}

// special says whether an address needs naming: private ranges, and the
// documentation ranges that closed test networks use.
func special(ip netip.Addr) bool {
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "100.64.0.0/10", "2001:db8::/32"} {
		if netip.MustParsePrefix(p).Contains(ip) {
			return true
		}
	}
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()
}

func tail(s string) string {
	if len(s) > 600 {
		return "…" + s[len(s)-600:]
	}
	return s
}
