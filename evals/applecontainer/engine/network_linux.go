package engine

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// DefaultNetwork exists always and belongs to the program.
const DefaultNetwork = "default"

const networkPlugin = "container-network-vmnet"

// network is the record of a network.
type network struct {
	Shape  shape.Network `json:"shape"`
	Bridge string        `json:"bridge"`
	Last   netip.Addr    `json:"last"` // the address handed out last
}

func (n *network) subnet() netip.Prefix {
	prefix, _ := netip.ParsePrefix(n.Shape.Status.IPv4Subnet) // written by setSubnet alone
	return prefix
}

func (n *network) setSubnet(subnet netip.Prefix) {
	n.Shape.Status = shape.NetworkStatus{
		IPv4Subnet: subnet.Masked().String(), IPv4Gateway: gatewayOf(subnet).String(), IPv6Subnet: subnet6(subnet).String(),
	}
	n.Last = netip.Addr{}
}

func (n *network) builtin() bool { return n.Shape.Configuration.Labels[shape.RoleLabel] == "builtin" }

// NetworkRequest makes a network.
type NetworkRequest struct {
	Name     string            `json:"name"`
	Internal bool              `json:"internal"`
	Labels   map[string]string `json:"labels"`
	Options  map[string]string `json:"options"`
	Plugin   string            `json:"plugin"`
	Subnet   string            `json:"subnet"`
	Subnet6  string            `json:"subnet6"`
}

func (e *Engine) networkPath(name string) string { return e.path("networks", name+".json") }

// networks are all records, sorted by name.
func (e *Engine) networks() ([]*network, error) {
	paths, err := filepath.Glob(e.path("networks", "*.json"))
	if err != nil {
		return nil, err
	}
	var all []*network
	for _, path := range paths {
		n := &network{}
		found, err := load(path, n)
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *network) int { return cmp.Compare(a.Shape.ID, b.Shape.ID) })
	return all, nil
}

func (e *Engine) network(name string) (*network, error) {
	n := &network{}
	found, err := load(e.networkPath(name), n)
	if err == nil && !found {
		err = Failf(NotFound, "network %s not found", name)
	}
	return n, err
}

// Networks are all networks, sorted by name. The default one is made when it is
// asked for the first time.
func (e *Engine) Networks(ctx context.Context) ([]shape.Network, error) {
	if err := e.Prepare(ctx); err != nil {
		return nil, err
	}
	all, err := e.networks()
	shapes := make([]shape.Network, 0, len(all))
	for _, n := range all {
		shapes = append(shapes, n.Shape)
	}
	return shapes, err
}

// createNetwork runs under the daemon's lock.
func (e *Engine) createNetwork(ctx context.Context, req NetworkRequest) error {
	existing, err := e.networks()
	if err != nil {
		return err
	}
	var used []netip.Prefix
	for _, n := range existing {
		if n.Shape.ID == req.Name {
			return Failf(Exists, "network %s already exists", req.Name)
		}
		used = append(used, n.subnet())
	}
	subnet, err := wantedSubnet(req.Subnet, used)
	if err != nil {
		return err
	}
	n := &network{Bridge: bridgeName(e.kindOf(req.Internal), req.Name)}
	n.Shape.ID = req.Name
	n.Shape.Configuration = shape.NetworkConfiguration{
		Name: req.Name, Mode: shape.ModeNAT, CreationDate: shape.Date(time.Now()),
		Labels: notNil(req.Labels), Options: notNil(req.Options),
		Plugin: cmp.Or(req.Plugin, networkPlugin), IPv4Subnet: req.Subnet, IPv6Subnet: req.Subnet6,
	}
	if req.Internal {
		n.Shape.Configuration.Mode = shape.ModeHostOnly
	}
	n.setSubnet(subnet)
	if err := makeBridge(ctx, n); err != nil {
		return because(err, "failed to create network %s", req.Name)
	}
	return save(e.networkPath(req.Name), n)
}

func wantedSubnet(wanted string, used []netip.Prefix) (netip.Prefix, error) {
	if wanted == "" {
		return freeSubnet(used, netip.Prefix{})
	}
	subnet, err := netip.ParsePrefix(wanted)
	switch {
	case err != nil || !subnet.Addr().Is4() || subnet.Bits() > 30:
		return netip.Prefix{}, Failf(InvalidArgument, "invalid subnet %s", wanted)
	case overlapsAny(subnet, used):
		return netip.Prefix{}, Failf(Exists, "subnet %s overlaps an existing network", wanted)
	}
	return subnet.Masked(), nil
}

// kindOf is the digit of a new network under the faults that are on.
func (e *Engine) kindOf(internal bool) int {
	if !internal {
		return natKind
	}
	leaks := 0
	for name, bit := range map[string]int{
		faults.RoutesOut: leakRoutes, faults.HostOnGateway: leakHost, faults.GatewayResolver: leakResolver,
	} {
		if e.faults.On(name) {
			leaks |= bit
		}
	}
	return internalKind(leaks)
}

// deleteNetworks deletes the networks by name and returns those that are gone.
// An unknown name is refused before anything is deleted, a network in use only
// when its turn comes.
func (e *Engine) deleteNetworks(ctx context.Context, names []string) (deleted, logs []string, err error) {
	users, err := e.networkUsers()
	if err != nil {
		return nil, nil, err
	}
	var missing, failed []string
	var found []*network
	for _, name := range names {
		switch n, err := e.network(name); {
		case err != nil:
			missing = append(missing, name)
		case n.builtin():
			return nil, nil, Failf(InvalidArgument, "cannot delete builtin network: %s", name)
		default:
			found = append(found, n)
		}
	}
	if len(missing) > 0 {
		return nil, nil, Failf(NotFound, "networks not found: %s", strings.Join(missing, ", "))
	}
	for _, n := range found {
		if by := users[n.Shape.ID]; len(by) > 0 {
			logs = append(logs, "failed to delete network [id="+n.Shape.ID+", error=invalidState: \"cannot delete subnet "+
				n.Shape.ID+" with referring containers: "+strings.Join(by, ", ")+"\"]")
			failed = append(failed, n.Shape.ID)
			continue
		}
		if err := e.deleteNetwork(ctx, n); err != nil {
			logs = append(logs, err.Error())
			failed = append(failed, n.Shape.ID)
			continue
		}
		deleted = append(deleted, n.Shape.ID)
	}
	if len(failed) > 0 {
		return deleted, logs, Failf(InternalError, `delete failed for one or more networks: ["%s"]`, strings.Join(failed, `", "`))
	}
	return deleted, logs, nil
}

func (e *Engine) deleteNetwork(ctx context.Context, n *network) error {
	if err := deleteBridge(ctx, n.Bridge); err != nil {
		return because(err, "failed to delete network %s", n.Shape.ID)
	}
	return os.Remove(e.networkPath(n.Shape.ID))
}

// networkUsers are the containers, stopped ones too, by network.
func (e *Engine) networkUsers() (map[string][]string, error) {
	all, err := e.containers()
	users := map[string][]string{}
	for _, c := range all {
		for _, wanted := range c.Config.Networks {
			users[wanted.Network] = append(users[wanted.Network], c.Config.ID)
		}
	}
	return users, err
}

// changeSubnets gives every network but the default one another subnet, as a
// restart of the daemon may. Running containers keep their old addresses.
func (e *Engine) changeSubnets(ctx context.Context, only func(*network) bool) error {
	all, err := e.networks()
	if err != nil {
		return err
	}
	var used []netip.Prefix
	for _, n := range all {
		used = append(used, n.subnet())
	}
	for _, n := range all {
		if n.builtin() || !only(n) {
			continue
		}
		subnet, err := freeSubnet(used, n.subnet())
		if err != nil {
			return err
		}
		used = append(used, subnet)
		n.setSubnet(subnet)
		if err := addressBridge(ctx, n); err != nil {
			return because(err, "failed to move network %s", n.Shape.ID)
		}
		if err := save(e.networkPath(n.Shape.ID), n); err != nil {
			return err
		}
	}
	return nil
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
