package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"github.com/bottle-mcp/bottle-mcp/server/metrics"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// ledgerRules are the flags about how decisions are recorded.
type ledgerRules struct{ onFull, sync string }

func (r *ledgerRules) add(flags *pflag.FlagSet) {
	flags.StringVar(&r.onFull, "ledger-on-full", sidecars.OnFullRefuse, "when a bottle's ledger cannot be written: refuse lets nothing out, continue goes on and drops the oldest lines")
	flags.StringVar(&r.sync, "ledger-sync", sidecars.SyncBatch, "when lines are forced to the disk: batch (within a second), always or never")
}

func (r *ledgerRules) policy() sidecars.LedgerPolicy {
	return sidecars.LedgerPolicy{OnFull: r.onFull, Sync: r.sync}
}

func (r *ledgerRules) check(verb string) error {
	if err := ledger.CheckPolicy(r.policy()); err != nil {
		return usagef(verb, "%w", err)
	}
	return nil
}

// metricsOptions are the flags about Prometheus' metrics.
type metricsOptions struct {
	addr   string
	remote bool
}

func (o *metricsOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.addr, "metrics", "", "show Prometheus metrics on this HOST:PORT at "+metrics.Path)
	flags.BoolVar(&o.remote, "metrics-remote", false, "let --metrics name an address that other machines reach")
}

func (o *metricsOptions) check() error {
	if o.addr == "" {
		if o.remote {
			return usagef("serve", "--metrics-remote needs --metrics")
		}
		return nil
	}
	if err := metrics.CheckBind(o.addr, o.remote); err != nil {
		return usagef("serve", "%w", err)
	}
	return nil
}

// showMetrics serves metrics until the function that it returns is called.
func (c *cli) showMetrics(ctx context.Context, o metricsOptions, m *metrics.Metrics) (stop func(), err error) {
	if o.addr == "" {
		return func() {}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return nil, withHint(fmt.Errorf("metrics cannot be shown: %w", err), "name another address with --metrics")
	}
	c.con.notef("bottle-mcp shows metrics at http://%s%s", l.Addr(), metrics.Path)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Serve(ctx, l, o.remote); err != nil {
			c.con.notef("bottle-mcp: %v", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}, nil
}
