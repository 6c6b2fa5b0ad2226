package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/server"
	"github.com/bottle-mcp/bottle-mcp/server/metrics"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	http      string
	tokenFile string
	hosts     []string
	origins   []string
	roots     []string
	backend   string
	copying   copyRules
	merge     bool
	recording ledgerRules
	metrics   metricsOptions
}

func newServe(c *cli) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the tools over MCP, on standard input and output or HTTP",
		Long: `serve publishes the tools launch, exec, cp, list and cleanup. Agent hosts start
it and speak MCP on its standard input and output. With --http it serves
streamable HTTP at /mcp instead, for whoever bears the token.`,
		Example: `  bottle-mcp serve --root ~/projects
  bottle-mcp serve --http 127.0.0.1:8080`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.http, "http", "", "serve HTTP on this HOST:PORT; other than loopback needs --token-file")
	flags.StringVar(&o.tokenFile, "token-file", "", "file with the bearer token for --http (default: one is made, and its path printed)")
	flags.StringArrayVar(&o.hosts, "allow-host", nil, "value of the Host header to accept beside loopback names, for --http")
	flags.StringArrayVar(&o.origins, "allow-origin", nil, "browser origin to accept beside this machine's, for --http")
	flags.StringArrayVar(&o.roots, "root", nil, "directory that copies and workspaces may touch; may be repeated (default: where it starts)")
	flags.StringVar(&o.backend, "backend", "", "backend to use (default: $BOT_BOTTLE_BACKEND, else the platform's)")
	flags.BoolVar(&o.merge, "merge-bottles", false, "let one launch name several bottles, which may reach more than each")
	o.copying.add(flags)
	o.recording.add(flags)
	o.metrics.add(flags)
	return cmd
}

// serve is the verb: check the flags, wire, serve until the end of the input
// or a signal.
func (c *cli) serve(ctx context.Context, o serveOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	if len(o.roots) == 0 {
		o.roots = c.startRoots()
	}
	counts := metrics.New(readVersion().Version)
	shown, err := c.showMetrics(ctx, o.metrics, counts)
	if err != nil {
		return err
	}
	defer shown()
	app, err := c.openAt(ctx, wiring{
		roots: o.roots, backend: o.backend, copying: o.copying, merge: o.merge, recording: o.recording, observer: counts, longLived: true,
	}, slog.LevelInfo)
	if err != nil {
		return err
	}
	list, resources, err := app.tools.open()
	if err != nil {
		return err
	}
	published, err := server.New(server.Config{
		Name: "bottle-mcp", Version: readVersion().Version,
		Tools: list, Resources: resources, Logger: app.log,
	})
	if err != nil {
		return errors.Join(err, app.close())
	}
	if o.http == "" {
		err = published.ServeStdio(ctx, c.con.in, c.con.out)
	} else {
		err = c.serveHTTP(ctx, app, published, o)
	}
	return errors.Join(err, app.close())
}

// startRoots is the directory that the host started the server in. Some hosts
// start servers in "/", which no operator has meant: then there is no root.
func (c *cli) startRoots() []string {
	dir, err := os.Getwd()
	if err != nil || dir == string(filepath.Separator) {
		c.con.notef("bottle-mcp: started in no directory of use, so tools may touch no host files")
		c.con.notef("  hint: name directories with --root DIR")
		return nil
	}
	return []string{dir}
}

// validate refuses what could not be served, before anything is opened.
func (o serveOptions) validate() error {
	if err := errors.Join(o.metrics.check(), o.recording.check("serve")); err != nil {
		return err
	}
	if o.http == "" {
		if o.tokenFile != "" || len(o.hosts) > 0 || len(o.origins) > 0 {
			return usagef("serve", "--token-file, --allow-host and --allow-origin need --http")
		}
		return nil
	}
	if err := server.CheckBind(o.http, o.tokenFile != ""); err != nil {
		return usagef("serve", "%w", err)
	}
	return nil
}

// serveHTTP serves until a signal. The address and the token's file go to
// standard error, the token itself nowhere.
func (c *cli) serveHTTP(ctx context.Context, app *app, published *server.Server, o serveOptions) error {
	token, file, err := o.token(app.stateDir)
	if err != nil {
		return err
	}
	return published.ServeHTTP(ctx, server.HTTPConfig{
		Addr:           o.http,
		AllowRemote:    o.tokenFile != "",
		Token:          token,
		AllowedHosts:   o.hosts,
		AllowedOrigins: o.origins,
		Ready: func(addr net.Addr) {
			c.con.notef("bottle-mcp serves http://%s%s", addr, server.Endpoint)
			c.con.notef("the bearer token is in %s", file)
		},
	})
}

// token reads the operator's token or makes one.
func (o serveOptions) token(stateDir string) (token secret.Value, file string, err error) {
	if o.tokenFile == "" {
		return server.CreateToken(stateDir)
	}
	token, err = server.LoadToken(o.tokenFile)
	return token, o.tokenFile, err
}
