package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

// TestLeaks has each way in which Apple's networks are reported to leak: the
// self-test turns red, the launch fails with the finding and the advice, and
// nothing is left.
func TestLeaks(t *testing.T) {
	tests := []struct {
		fault, value string
		checks       []string // one of them must be named
		advice       bool
	}{
		{world.FaultInternalRoutesOut, "", []string{"tcp4-direct", "udp53-direct"}, true},
		{world.FaultHostOnGateway, "", []string{"gateway"}, true},
		{world.FaultGatewayResolver, "", []string{"gateway-resolver"}, true},
		{world.FaultExecCapabilities, "", []string{"capabilities"}, false},
	}
	m := newMac(t, nil)
	m.manifest("job", job)
	h := m.serve()
	h.must("launch", map[string]any{"id": "green", "bottles": []string{"job"}}, nil) // the control
	h.must("cleanup", map[string]any{"ids": []string{"green"}}, nil)
	before := m.world.Engine(t)
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			m.world.SetFault(t, tt.fault, tt.value)
			err := h.call("launch", map[string]any{"id": "leaky", "bottles": []string{"job"}}, nil)
			refusedWith(t, err, "self-test")
			named := false
			for _, c := range tt.checks {
				named = named || strings.Contains(err.Error(), c)
			}
			if !named || tt.advice != strings.Contains(err.Error(), "BOTTLE_MCP_MACOS_TOPOLOGY=socket") {
				t.Errorf("the refusal does not name %q or the advice: %v", tt.checks, err)
			}
			m.untouched(before)
		})
	}
	h.must("launch", map[string]any{"id": "green", "bottles": []string{"job"}}, nil)
	h.must("cleanup", map[string]any{"all": true}, nil)
}

// TestSocketIsAirtight has the same faults where the agent has no network: none
// of them is one then.
func TestSocketIsAirtight(t *testing.T) {
	m := newMac(t, map[string]string{"BOTTLE_MCP_MACOS_TOPOLOGY": "socket"})
	h := m.serve()
	for _, fault := range []string{world.FaultInternalRoutesOut, world.FaultHostOnGateway, world.FaultGatewayResolver, world.FaultSecondNetwork} {
		m.world.SetFault(t, fault, "")
	}
	var l drive.Launch
	h.must("launch", map[string]any{"id": "tight"}, &l)
	if l.Report.Failed != 0 {
		t.Errorf("%+v", l)
	}
	h.must("cleanup", map[string]any{"all": true}, nil)
	// Capabilities that come back are one everywhere.
	m.world.SetFault(t, world.FaultExecCapabilities, "")
	refusedWith(t, h.call("launch", map[string]any{"id": "leaky"}, nil), "capabilities")
}

// TestSecondNetworkRefused is an engine that cannot give a sidecar two networks.
func TestSecondNetworkRefused(t *testing.T) {
	m := newMac(t, nil)
	h := m.serve()
	m.world.SetFault(t, world.FaultSecondNetwork, "")
	before := m.world.Engine(t)
	refusedWith(t, h.call("launch", map[string]any{"id": "x"}, nil), "start-sidecar")
	before.Images = m.world.Engine(t).Images
	m.untouched(before)
}

// TestSlowStart is a busy Mac: it takes longer, and works.
func TestSlowStart(t *testing.T) {
	m := newMac(t, nil)
	m.world.SetFault(t, world.FaultSlowStart, "3000")
	h := m.serve()
	start := time.Now()
	h.must("launch", map[string]any{"id": "slow"}, nil)
	if took := time.Since(start); took < 6*time.Second {
		t.Errorf("the launch took %s: the fault was not on", took)
	}
	h.must("cleanup", map[string]any{"all": true}, nil)
}

// TestLauncherKilled kills the server at each of its calls; the next server
// finds what is left and removes it.
func TestLauncherKilled(t *testing.T) {
	m := newMac(t, nil)
	h := m.serve()
	h.must("launch", map[string]any{"id": "warm"}, nil)
	h.must("cleanup", map[string]any{"all": true}, nil)
	_ = h.h.Close()
	before := m.world.Engine(t)
	for _, at := range []struct {
		match string
		skip  int
	}{{"network create", 0}, {"network create", 1}, {"run", 0}, {"inspect", 0}, {"exec", 0}, {"run", 1}, {"exec", 1}, {"exec", 3}, {"exec", 5}} {
		t.Run(strings.ReplaceAll(at.match, " ", "-"), func(t *testing.T) {
			m.world.SetNext(t, world.Next{Match: at.match, Skip: at.skip, Action: world.ActionKillParent})
			out, err := m.run("run", "--", "true")
			if state, ok := asExit(err); !ok || state.Signal() != syscall.SIGKILL {
				t.Fatalf("the launcher was not killed: %v: %s", err, out)
			}
			m.world.ClearFault(t, world.FaultNext)
			if out, err := m.run("cleanup", "--orphans", "--yes"); err != nil {
				t.Errorf("cleanup: %v: %s", err, out)
			}
			m.untouched(before)
		})
	}
}

func asExit(err error) (syscall.WaitStatus, bool) {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return 0, false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return status, ok && status.Signaled()
}

// TestServiceGone takes the engine away under a bottle.
func TestServiceGone(t *testing.T) {
	m := newMac(t, nil)
	h := m.serve()
	h.must("launch", map[string]any{"id": "here"}, nil)
	m.world.SetFault(t, world.FaultServiceDown, "")
	refusedWith(t, h.call("launch", map[string]any{"id": "other"}, nil), "container system start")
	refusedWith(t, h.call("cleanup", map[string]any{"ids": []string{"here"}}, nil), "container system start")
	m.world.ClearFault(t, world.FaultServiceDown)
	h.must("cleanup", map[string]any{"all": true}, nil)
}

// TestSidecarDies is noticed by list.
func TestSidecarDies(t *testing.T) {
	m := newMac(t, nil)
	h := m.serve()
	h.must("launch", map[string]any{"id": "lone"}, nil)
	if out, err := exec.CommandContext(t.Context(), m.world.Bin+"/container", "kill", "bot-bottle-sidecars-lone").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var l struct {
		Bottles []struct {
			State string `json:"state"`
		} `json:"bottles"`
	}
	h.must("list", nil, &l)
	if len(l.Bottles) != 1 || l.Bottles[0].State != "degraded" {
		t.Errorf("list: %+v", l)
	}
	h.must("cleanup", map[string]any{"all": true}, nil)
}
