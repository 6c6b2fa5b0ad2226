package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// slot is where the sidecar finds the token that it puts on requests.
const slot = "EGRESS_TOKEN_0"

// newSidecar configures the product: the same program, started as backends start
// it beside a bottle, with a policy of some size.
func newSidecar(dir, binary string, o *origin) (*target, error) {
	cert, key, err := ca.NewAuthority("bench", time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(cert)
	secrets := sidecars.Secrets{CAKey: key, Tokens: map[string]secret.Value{slot: secret.New(rand.Text())},
		Canaries: []sidecars.Named{{Name: "canary", Value: secret.New(rand.Text())}}}
	for i := range 9 {
		secrets.Known = append(secrets.Known, sidecars.Named{Name: "KNOWN_" + strconv.Itoa(i), Value: secret.New(rand.Text())})
	}
	cfg := sidecars.Config{Bottle: "bench", Routes: routes(), CACert: string(cert)}
	config, sockets := filepath.Join(dir, "sidecar"), filepath.Join(dir, "sockets")
	if err := pid1.WriteConfig(config, cfg, secrets, o.pem); err != nil {
		return nil, err
	}
	args := pid1.InitOptions{Listen: "unix:" + sockets, ConfigDir: config}.Args()
	t := &target{name: nameOurs, proxy: "127.0.0.1:" + strconv.Itoa(sidecars.EgressPort), trust: trust, process: &process{}}
	logs := filepath.Join(config, sidecars.LogDir)
	t.launch = func(ctx context.Context) error {
		// A bottle begins with an empty ledger; an old one is read to its end first.
		if err := errors.Join(os.RemoveAll(logs), os.Mkdir(logs, 0o700)); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = []string{sidecars.DaemonsEnv + "=" + string(sidecars.Egress)}
		// The first process of namespaces of its own, but for the network.
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
		if err := t.process.start(cmd); err != nil {
			return err
		}
		if err := t.ready(ctx); err != nil {
			return err
		}
		return t.process.serve()
	}
	return t, nil
}

// routes are those of the origin behind thirty that are not used.
func routes() []sidecars.Route {
	var out []sidecars.Route
	for i := range 30 {
		out = append(out, sidecars.Route{Host: fmt.Sprintf("other-%d.bench.test", i), Matches: []sidecars.Match{
			{Methods: []string{"GET"}, Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/api"}, {Type: sidecars.MatchRegex, Value: "/v[0-9]+/.*"}}},
		}})
	}
	local := []string{"127.0.0.1/32"}
	matches := []sidecars.Match{
		{Methods: []string{"DELETE"}, Paths: []sidecars.PathMatch{{Type: sidecars.MatchExact, Value: "/v1/thing"}}},
		{Methods: []string{"GET", "POST"}, Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/v1"}}},
	}
	auth := &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: slot}
	off := &sidecars.DLP{Outbound: []string{}, Inbound: []string{}}
	return append(out,
		sidecars.Route{Host: hostAll, Private: local, Matches: matches, Auth: auth},
		sidecars.Route{Host: hostAuth, Private: local, Matches: matches, Auth: auth, DLP: off},
		sidecars.Route{Host: hostBare, Private: local, Matches: matches, DLP: off},
	)
}

// serve finds the daemon among the children of its init: its numbers are those
// of the proxy.
func (p *process) serve() error {
	lists, err := filepath.Glob(p.path("task/*/children"))
	if err != nil {
		return err
	}
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			return fmt.Errorf("look for the sidecar's daemon: %w", err)
		}
		for word := range strings.FieldsSeq(string(data)) {
			if p.pid, err = strconv.Atoi(word); err == nil {
				p.favour()
			}
			return err
		}
	}
	return fmt.Errorf("the sidecar's init has no child: %s", p.stderr.Bytes())
}
