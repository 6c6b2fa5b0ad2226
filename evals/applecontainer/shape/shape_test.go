package shape_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract that the shapes must meet
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

const digest = "sha256:ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12"

func date() string { return shape.Date(time.Date(2026, 8, 6, 9, 6, 40, 5, time.FixedZone("", 7200))) }

func container() shape.Container {
	return shape.Container{
		ID: "box",
		Configuration: shape.Configuration{
			ID:     "box",
			Image:  shape.ImageRef{Reference: "docker.io/library/a:1", Descriptor: shape.Descriptor{MediaType: "x/y", Digest: digest}},
			Labels: map[string]string{}, CapAdd: []string{}, CapDrop: []string{"ALL"}, CreationDate: date(), Sysctls: map[string]string{},
			InitProcess: shape.Process{
				Executable: "sh", Arguments: []string{}, Environment: []string{"A=<&>"}, WorkingDirectory: "/",
				User: shape.User{Raw: &shape.UserRaw{UserString: "app"}}, SupplementalGroups: []uint32{}, Rlimits: []shape.Rlimit{},
			},
			Mounts: []shape.Mount{{
				Type: map[string]any{shape.MountVirtiofs: map[string]any{}}, Source: "/a", Destination: "/b", Options: []string{"ro"},
			}},
			Networks:       []shape.WantedNetwork{{Network: "n", Options: shape.NetworkOptions{Hostname: "box", MTU: 1280}}},
			PublishedPorts: []shape.Port{}, PublishedSockets: []shape.Socket{}, RuntimeHandler: "r",
			Platform: shape.Platform{OS: "linux", Architecture: "arm64"},
		},
		Status: shape.ContainerStatus{State: shape.StateRunning, StartedDate: date(), Networks: []shape.Attachment{{
			Network: "n", Hostname: "box", IPv4Address: "192.168.65.2/24", IPv4Gateway: "192.168.65.1", MTU: 1280,
		}}},
	}
}

func network() shape.Network {
	return shape.Network{
		ID: "n",
		Configuration: shape.NetworkConfiguration{
			Name: "n", Mode: shape.ModeHostOnly, CreationDate: date(), Labels: map[string]string{}, Plugin: "p", Options: map[string]string{},
		},
		Status: shape.NetworkStatus{IPv4Subnet: "192.168.65.0/24", IPv4Gateway: "192.168.65.1"},
	}
}

func image() shape.Image {
	return shape.Image{
		ID: strings.TrimPrefix(digest, "sha256:"),
		Configuration: shape.ImageConfiguration{
			Name: "a:1", Descriptor: shape.Descriptor{MediaType: "x/y", Digest: digest}, CreationDate: date(),
		},
		Variants: []shape.Variant{{
			Platform: shape.Platform{OS: "linux", Architecture: "arm64"}, Digest: digest,
			Config: json.RawMessage(`{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`),
		}},
	}
}

// TestContract holds every document to the schemas of the contract.
func TestContract(t *testing.T) {
	program := shape.Program{Release: "1.2.2"}
	tests := map[string]struct {
		output string
		value  any
	}{
		"list":             {"list --format json", []shape.Container{container()}},
		"empty list":       {"list --format json", []shape.Container{}},
		"inspect":          {"inspect", []shape.Container{container()}},
		"networks":         {"network list --format json", []shape.Network{network()}},
		"network":          {"network inspect", []shape.Network{network()}},
		"images":           {"image list --format json", []shape.Image{image()}},
		"image":            {"image inspect", []shape.Image{image()}},
		"status":           {"system status --format json", program.Status(shape.StateRunning)},
		"status, down":     {"system status --format json", program.Status("unregistered")},
		"status, 1.3":      {grammar.StatusSince130, program.NestedStatus(shape.StateRunning, shape.Counts{Total: 2})},
		"status, 1.3 down": {grammar.StatusSince130, program.NestedStatus("not running", shape.Counts{})},
		"version":          {"system version --format json", program.Versions(true)},
		"version, down":    {"system version --format json", program.Versions(false)},
		"stats":            {"stats --format json", []shape.Stats{{ID: "box", NumProcesses: 1}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, encode := range []func(any) ([]byte, error){shape.Compact, shape.Indented} {
				document, err := encode(test.value)
				if err != nil {
					t.Fatal(err)
				}
				if err := grammar.ValidateOutput(test.output, document); err != nil {
					t.Errorf("%v\n%s", err, document)
				}
			}
		})
	}
}

// TestEncoding compares with the contract's own encoder, by the recorded
// documents.
func TestEncoding(t *testing.T) {
	for _, output := range grammar.OutputNames() {
		examples, err := grammar.Examples(output)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range examples {
			var value any
			if err := json.Unmarshal(want, &value); err != nil {
				t.Fatal(err)
			}
			encode := shape.Compact
			if strings.Contains(string(want), "\n ") || strings.HasPrefix(string(want), "[\n") {
				encode = shape.Indented
			}
			got, err := encode(value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(string(got)) != strings.TrimSpace(string(want)) {
				t.Errorf("%s, %s:\n%s\nwant\n%s", output, name, got, want)
			}
		}
	}
}

func TestLayout(t *testing.T) {
	value := map[string]any{"b": "/<x>", "a": []string{}, "c": map[string]any{}, "d": []int{1, 2}}
	compact, err := shape.Compact(value)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":[],"b":"\/<x>","c":{},"d":[1,2]}` + "\n"; string(compact) != want {
		t.Errorf("%s, want %s", compact, want)
	}
	indented, err := shape.Indented(value)
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"a\" : [\n\n  ],\n  \"b\" : \"\\/<x>\",\n  \"c\" : {\n\n  },\n  \"d\" : [\n    1,\n    2\n  ]\n}\n"
	if string(indented) != want {
		t.Errorf("%q, want %q", indented, want)
	}
	if _, err := shape.Compact(func() {}); err == nil {
		t.Error("a function is encoded")
	}
}

func TestOld(t *testing.T) {
	old := shape.OldContainer(container())
	if old["status"] != shape.StateRunning || old["startedDate"] != int64(807692800) {
		t.Errorf("a container before 1.0.0 is %v", old)
	}
	stopped := container()
	stopped.Status.StartedDate = ""
	if _, has := shape.OldContainer(stopped)["startedDate"]; has {
		t.Error("one that never started has a date")
	}
	if n := shape.OldNetwork(network()); n["state"] != shape.StateRunning || n["configuration"] != nil {
		t.Errorf("a network before 1.0.0 is %v", n)
	}
	if i := shape.OldImage(image()); i["name"] != "a:1" || i["index"] == nil {
		t.Errorf("an image before 1.0.0 is %v", i)
	}
}

func TestProgram(t *testing.T) {
	if got := (shape.Program{Release: "1.1.0"}).Line(); got != "container CLI version 1.1.0 (build: release, commit: 0190097)" {
		t.Errorf("--version prints %q", got)
	}
	if got := string(shape.Table([][]string{{"A", "LONG"}, {"longer", "x"}})); got != "A       LONG\nlonger  x\n" {
		t.Errorf("the table is %q", got)
	}
}
