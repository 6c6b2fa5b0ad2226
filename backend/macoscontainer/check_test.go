package macoscontainer

import (
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

func TestHostFacts(t *testing.T) {
	good := hostFacts{system: "Darwin", machine: "arm64", arm: true, macOS: "26.1"}
	tests := []struct {
		name   string
		change func(*hostFacts)
		broken string // the finding that fails; "" = none
	}{
		{"good", func(*hostFacts) {}, ""},
		{"newer", func(h *hostFacts) { h.macOS = "27.0" }, ""},
		{"no minor", func(h *hostFacts) { h.macOS = "26" }, ""},
		{"macOS 15", func(h *hostFacts) { h.macOS = "15.6.1" }, "macOS 26"},
		{"no version", func(h *hostFacts) { h.macOS = "" }, "macOS 26"},
		{"odd version", func(h *hostFacts) { h.macOS = "Tahoe" }, "macOS 26"},
		{"Intel", func(h *hostFacts) { h.machine, h.arm = "x86_64", false }, "Apple silicon"},
		{"below Rosetta", func(h *hostFacts) { h.machine = "x86_64" }, "Apple silicon"},
		{"Linux", func(h *hostFacts) { *h = hostFacts{system: "Linux"} }, "macOS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := good
			tt.change(&h)
			broken := ""
			for _, f := range h.judge() {
				if !f.OK && broken == "" {
					broken = f.Name
				}
				if f.OK == (f.Fix != "") {
					t.Errorf("%+v: a fix is for what is broken", f)
				}
			}
			if broken != tt.broken {
				t.Errorf("%q is broken, want %q", broken, tt.broken)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	tests := map[string]struct{ ok, advice bool }{
		"1.0.0":        {false, true},
		"1.0.9":        {false, true},
		"1.1.0":        {false, true},
		"1.2.2":        {true, false},
		"2.0.0":        {true, false},
		"1.10.0":       {true, false},
		"1.3.0-beta.1": {true, false},
		"1.2.2+local":  {true, false},
		"0.12.3":       {false, false},
		"0.99.0":       {false, false},
		"":             {false, false},
		"1":            {false, false},
		"1.2.x":        {false, false},
		"-1.2.3":       {false, false},
	}
	for version, want := range tests {
		f := judgeVersion(version)
		if f.OK != want.ok || f.Advice != want.advice || f.OK == (f.Fix != "") {
			t.Errorf("%q: %+v", version, f)
		}
	}
}

func TestSameVersion(t *testing.T) {
	tests := []struct {
		v  cli.Versions
		ok bool
	}{
		{cli.Versions{CLI: "1.2.2", Daemon: "1.2.2"}, true},
		{cli.Versions{CLI: "1.2.2"}, true},
		{cli.Versions{CLI: "1.2.2", Daemon: "1.1.0"}, false},
	}
	for _, tt := range tests {
		if f := judgeSame(tt.v); f.OK != tt.ok || !f.Advice {
			t.Errorf("%+v: %+v", tt.v, f)
		}
	}
}

func TestTopology(t *testing.T) {
	tests := []struct {
		value string
		want  topology
	}{{"", twoNetwork}, {"two-network", twoNetwork}, {"socket", socket}, {"sockets", ""}, {"none", ""}}
	for _, tt := range tests {
		b := New(Config{BottlesDir: t.TempDir(), LookupEnv: func(name string) (string, bool) {
			return tt.value, name == EnvTopology
		}})
		if got, err := b.topology(); got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q gives %q, %v", tt.value, got, err)
		}
	}
}

// TestCapabilities has what the self-test and the reports depend on.
func TestCapabilities(t *testing.T) {
	for _, topo := range []topology{twoNetwork, socket} {
		c := capabilities(topo)
		if !c.Guest.OwnKernel || !c.Guest.NoNewPrivs || c.Guest.Network != (topo == twoNetwork) || !c.MultiUser || !c.Images {
			t.Errorf("%s: %+v", topo, c)
		}
		if (topo == twoNetwork) != (len(c.Guest.Interfaces) == 2) {
			t.Errorf("%s: interfaces %q", topo, c.Guest.Interfaces)
		}
		for _, name := range []string{"disk", "git-gate"} {
			if !hasMissing(c.Missing, name) {
				t.Errorf("%s: %s is not said to be missing", topo, name)
			}
		}
	}
}

func hasMissing(missing []backend.Missing, name string) bool {
	for _, m := range missing {
		if m.Name == name && m.Reason != "" {
			return true
		}
	}
	return false
}
