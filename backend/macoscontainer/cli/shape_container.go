package cli

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The states that Container tells; everything else is unknown.
const stateUnknown = "unknown"

var states = []string{"running", "stopped", "stopping", stateUnknown}

// containerShape is an element of list and inspect. Before 1.0.0 the status was
// a string, and what is in the status now stood beside it.
type containerShape struct {
	ID            string              `json:"id"`
	Status        json.RawMessage     `json:"status"`
	Configuration *configurationShape `json:"configuration"`
	Networks      []attachmentShape   `json:"networks"`
	StartedDate   date                `json:"startedDate"`
}

type configurationShape struct {
	ID    string `json:"id"`
	Image struct {
		Reference string `json:"reference"`
	} `json:"image"`
	Labels   map[string]string `json:"labels"`
	Networks []wantedShape     `json:"networks"`
	DNS      *struct {
		Nameservers []string `json:"nameservers"`
	} `json:"dns"`
	CapDrop      []string `json:"capDrop"`
	UseInit      bool     `json:"useInit"`
	CreationDate date     `json:"creationDate"`
}

type statusShape struct {
	State       string            `json:"state"`
	Networks    []attachmentShape `json:"networks"`
	StartedDate date              `json:"startedDate"`
}

// attachmentShape knows the keys from before 0.8.0 too.
type attachmentShape struct {
	Network     string `json:"network"`
	IPv4Address string `json:"ipv4Address"`
	IPv4Gateway string `json:"ipv4Gateway"`
	IPv6Address string `json:"ipv6Address"`
	Address     string `json:"address"`
	Gateway     string `json:"gateway"`
}

// wantedShape is a network by name, at first a bare string.
type wantedShape struct{ name string }

// UnmarshalJSON implements json.Unmarshaler.
func (w *wantedShape) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		return json.Unmarshal(raw, &w.name)
	}
	var o struct {
		Network string `json:"network"`
	}
	err := json.Unmarshal(raw, &o)
	w.name = o.Network
	return err
}

func decodeContainer(raw json.RawMessage) (Container, error) {
	var shape containerShape
	if err := object(raw, &shape); err != nil {
		return Container{}, err
	}
	status, err := shape.status()
	if err != nil {
		return Container{}, err
	}
	cfg := shape.Configuration
	if cfg == nil {
		return Container{}, fmt.Errorf("%w: it has no configuration", errAlien)
	}
	c := Container{
		ID: first(shape.ID, cfg.ID), State: known(status.State), Labels: cfg.Labels, Image: cfg.Image.Reference,
		Created: cfg.CreationDate.Time, Started: status.StartedDate.Time, CapDrop: cfg.CapDrop, UseInit: cfg.UseInit,
	}
	if c.ID == "" {
		return Container{}, fmt.Errorf("%w: it has no id", errAlien)
	}
	for _, n := range cfg.Networks {
		c.Networks = append(c.Networks, n.name)
	}
	if cfg.DNS != nil {
		c.Nameservers = cfg.DNS.Nameservers
	}
	for _, a := range status.Networks {
		c.Attachments = append(c.Attachments, a.attachment())
	}
	return c, nil
}

// status reads the two shapes as one.
func (s containerShape) status() (statusShape, error) {
	status := statusShape{Networks: s.Networks, StartedDate: s.StartedDate}
	if len(s.Status) > 0 && s.Status[0] == '"' {
		return status, json.Unmarshal(s.Status, &status.State)
	}
	if len(s.Status) == 0 {
		return status, fmt.Errorf("%w: it has no status", errAlien)
	}
	status = statusShape{}
	if err := object(s.Status, &status); err != nil {
		return status, err
	}
	if status.State == "" {
		return status, errors.New("its status has no state")
	}
	return status, nil
}

func (a attachmentShape) attachment() Attachment {
	out := Attachment{Network: a.Network}
	out.IPv4, out.Prefix = ipv4(first(a.IPv4Address, a.Address))
	out.Gateway, _ = ipv4(first(a.IPv4Gateway, a.Gateway))
	out.IPv6, _ = address(a.IPv6Address)
	return out
}

func known(state string) string {
	for _, s := range states {
		if s == state {
			return s
		}
	}
	return stateUnknown
}
