package provision

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// detail is this package's part of a bottle's record.
type detail struct {
	Routes   []RouteSummary      `json:"routes"`
	Services []sidecars.Service  `json:"services"`
	Report   Report              `json:"report"`
	Copied   *backend.CopyReport `json:"copied,omitempty"`
	Setup    SetupReport         `json:"setup"`
	Account  backend.Account     `json:"account"`
	Provider *ProviderPlan       `json:"provider,omitempty"`
	Timings  []StepTiming        `json:"timings"`
	// LogStart is where the egress log of the guest's own doings begins, behind
	// what the self-test tried.
	LogStart int64 `json:"log_start"`
	// Parent is the bottle that launched this one; nil = the operator's side.
	Parent *parentRef `json:"parent,omitempty"`
	// Spends is what this bottle may use of its parent's budgets, Spent what those
	// that it launched in its life may use of its own.
	Spends spending `json:"spends,omitempty"`
	Spent  spending `json:"spent,omitempty"`
	// GuestToken is the SHA-256, in hex, of the token by which the bottle's sidecar
	// is known to its MCP server; "" = it has none.
	GuestToken string `json:"guest_token_sha256,omitempty"`
	// Inheritance is an encoded inheritance, of a bottle that may launch others.
	Inheritance json.RawMessage `json:"inheritance,omitempty"`
	// Source is what the egress policy was made from; nil in records of earlier
	// versions.
	Source *policySource `json:"policy_source,omitempty"`
}

func (d detail) encode() (json.RawMessage, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode the bottle's record: %w", err)
	}
	return raw, nil
}

func decodeDetail(raw json.RawMessage) (detail, error) {
	var d detail
	if len(raw) == 0 {
		return d, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return detail{}, fmt.Errorf("the record's detail cannot be read: %w", err)
	}
	return d, nil
}

// bottleOf is what a record alone says of a bottle.
func bottleOf(r state.Record, d detail) Bottle {
	parent, _ := parentID(r.Principal)
	return Bottle{
		ID: r.ID, Parent: parent, Label: r.Label, Agent: r.Agent, Bottles: r.Bottles, Backend: r.Backend, Isolation: r.Isolation,
		Created: r.Created, Expires: r.Expires, Policy: r.Policy, Routes: d.Routes, Endpoints: r.Endpoints,
		Limits: r.Limits, Usage: unknownUsage(), Workspace: r.Workspace, WorkspaceCopy: d.Copied, Report: d.Report,
		Setup: d.Setup, Account: d.Account, Provider: d.Provider, StepTimings: d.Timings, Problem: r.Problem,
	}
}

func unknownUsage() backend.Usage {
	return backend.Usage{MemoryBytes: -1, DiskBytes: -1, PIDs: -1, CPUSeconds: -1}
}
