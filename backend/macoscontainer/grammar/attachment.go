package grammar

import (
	"slices"
	"strconv"
	"strings"
)

const (
	ruleNetwork = "network"
	// noNetwork is the network that stands for no interface at all.
	noNetwork       = "none"
	codeUnsupported = "unsupported"
)

// Attachment is a network that a container is put on.
type Attachment struct {
	Network string
	MAC     string // "" = the engine's choice
	MTU     int
}

// ParseNetworkAttachment reads a value of --network.
func ParseNetworkAttachment(spec string) (Attachment, error) {
	name, properties, more := strings.Cut(spec, ",")
	if name == "" {
		return Attachment{}, failure(ruleNetwork, codeInvalidArgument, "network name cannot be empty")
	}
	rules := load().Names
	a := Attachment{Network: name, MTU: int(rules.MTU.Default)} //nolint:gosec // of the contract
	for more {
		var property string
		property, properties, more = strings.Cut(properties, ",")
		key, value, pair := strings.Cut(property, "=")
		if !pair || strings.Contains(value, "=") {
			return Attachment{}, failure(ruleNetwork, codeInvalidArgument, "invalid property format '"+property+"' in network specification '"+spec+"'")
		}
		switch key {
		case "mac":
			if err := rules.MAC.check("MAC address", value); err != nil {
				return Attachment{}, err
			}
			a.MAC = value
		case "mtu":
			mtu, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 32)
			if err != nil || mtu < rules.MTU.Min || mtu > rules.MTU.Max {
				return Attachment{}, failure(ruleNetwork, codeInvalidArgument, "invalid mtu value '"+value+"'")
			}
			a.MTU = int(mtu)
		default:
			return Attachment{}, failure(ruleNetwork, codeInvalidArgument, "unknown network property '"+key+"'. Available properties: mac, mtu")
		}
	}
	return a, nil
}

// checkNetworks applies what holds for all values of --network together.
func checkNetworks(specs []string) error {
	if slices.Contains(specs, noNetwork) && len(specs) > 1 {
		return failure(ruleNetwork, codeUnsupported, "no other networks may be created along with network "+noNetwork)
	}
	return nil
}
