package images

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// Deadlines for the builder.
const (
	// settleTimeout bounds the wait for a builder that is stopping.
	settleTimeout = time.Minute
	// lookupTimeout is one lookup in the builder: longer than a C library tries
	// two resolvers.
	lookupTimeout = 20 * time.Second
)

// States of the builder that are told apart. Any other runs or may run.
const (
	stateNone     = ""
	stateStopped  = "stopped"
	stateStopping = "stopping"
)

// action is what has to happen to the builder.
type action int

const (
	leave action = iota
	start
	restart
)

// lookup is how a real lookup in the builder went.
type lookup int

const (
	lookupUnknown lookup = iota // there is no tool in the builder to tell
	lookupWorks
	lookupFails
)

// wish is what the builder should resolve with.
type wish struct {
	servers  []string
	override bool // the operator said so
}

// EnsureBuilder makes sure that the builder runs and resolves names. The
// builder belongs to the whole machine and a restart ends every build in it, so
// one that works is left alone, unless the operator wants other resolvers.
func (i *Images) EnsureBuilder(ctx context.Context) error {
	unlock, err := i.lock(ctx, builderLock, nil)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = i.ensureBuilder(ctx)
	return err
}

// ensureBuilder returns the resolvers to name in a build: the engine makes the
// builder anew when a build names others than it has.
func (i *Images) ensureBuilder(ctx context.Context) ([]string, error) {
	addrs, override, err := i.resolvers(ctx)
	if err != nil {
		return nil, err
	}
	want := wish{servers: texts(addrs), override: override}
	builder, err := i.settled(ctx)
	if err != nil {
		return nil, err
	}
	what, err := i.assess(ctx, builder, want)
	if err != nil {
		return nil, err
	}
	switch what {
	case leave:
		return builder.Nameservers, nil
	case restart:
		i.log.Warn("the builder is restarted for its resolvers; builds of others in it end", "had", builder.Nameservers, "gets", want.servers)
		if err := i.cfg.CLI.BuilderStop(ctx); err != nil {
			return nil, fmt.Errorf("stop the builder, which does not resolve as it should: %w", err)
		}
		if _, err := i.settled(ctx); err != nil {
			return nil, err
		}
	case start:
	}
	return want.servers, i.startBuilder(ctx, want)
}

func (i *Images) startBuilder(ctx context.Context, want wish) error {
	if err := i.cfg.CLI.BuilderStart(ctx, cli.BuilderRequest{DNS: want.servers}); err != nil {
		return fmt.Errorf("start the builder with resolvers %v: %w", want.servers, err)
	}
	builder, err := i.settled(ctx)
	if err != nil {
		return err
	}
	// A build without names to look up works all the same, so this is no error.
	if result, err := i.lookup(ctx, builder.ID); err == nil && result == lookupFails {
		i.log.Warn("the builder does not resolve names with these resolvers either; set "+EnvDNS+" to those of this network", "resolvers", want.servers)
	}
	return nil
}

// settled waits until the builder is not on its way down: the engine refuses
// everything until then.
func (i *Images) settled(ctx context.Context) (cli.Builder, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		builder, err := i.cfg.CLI.BuilderStatus(ctx)
		if err != nil {
			return cli.Builder{}, fmt.Errorf("ask for the builder: %w", err)
		}
		if builder.State != stateStopping {
			return builder, nil
		}
		select {
		case <-ctx.Done():
			return cli.Builder{}, fmt.Errorf("the builder is still stopping: try again, or run `container builder delete --force`: %w", context.Cause(ctx))
		case <-time.After(i.poll):
		}
	}
}

// assess looks at the builder and says what has to happen to it.
func (i *Images) assess(ctx context.Context, builder cli.Builder, want wish) (action, error) {
	if builder.State == stateNone || builder.State == stateStopped {
		return start, nil
	}
	if want.override {
		have := builder.Nameservers
		if len(have) == 0 {
			have = i.resolvConf(ctx, builder.ID)
		}
		if !slices.Equal(have, want.servers) {
			return restart, nil
		}
	}
	result, err := i.lookup(ctx, builder.ID)
	if err != nil {
		return leave, err
	}
	if result == lookupFails {
		return restart, nil
	}
	return leave, nil
}

func texts(addrs []netip.Addr) []string {
	out := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		out = append(out, addr.String())
	}
	return out
}
