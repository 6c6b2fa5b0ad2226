package cli

import (
	"encoding/json"
	"fmt"
)

// modeHostOnly is an internal network's mode.
const modeHostOnly = "hostOnly"

// networkShape is an element of network list and inspect. Before 1.0.0 the
// configuration was called config.
type networkShape struct {
	ID            string         `json:"id"`
	Configuration *networkConfig `json:"configuration"`
	Config        *networkConfig `json:"config"`
	Status        struct {
		IPv4Subnet  string `json:"ipv4Subnet"`
		IPv4Gateway string `json:"ipv4Gateway"`
		Address     string `json:"address"`
		Gateway     string `json:"gateway"`
	} `json:"status"`
}

type networkConfig struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Mode         string            `json:"mode"`
	Labels       map[string]string `json:"labels"`
	CreationDate date              `json:"creationDate"`
}

func decodeNetwork(raw json.RawMessage) (Network, error) {
	var shape networkShape
	if err := object(raw, &shape); err != nil {
		return Network{}, err
	}
	cfg := shape.Configuration
	if cfg == nil {
		cfg = shape.Config
	}
	if cfg == nil {
		return Network{}, fmt.Errorf("%w: it has no configuration", errAlien)
	}
	n := Network{
		Name: first(shape.ID, cfg.Name, cfg.ID), Labels: cfg.Labels, Created: cfg.CreationDate.Time,
		Internal: cfg.Mode == modeHostOnly, Subnet: subnet(first(shape.Status.IPv4Subnet, shape.Status.Address)),
	}
	n.Gateway, _ = ipv4(first(shape.Status.IPv4Gateway, shape.Status.Gateway))
	if n.Name == "" || cfg.Mode == "" {
		return Network{}, fmt.Errorf("%w: it has no name or no mode", errAlien)
	}
	return n, nil
}
