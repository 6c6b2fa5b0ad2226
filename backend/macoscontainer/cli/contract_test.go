package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar"
)

// samplesPerMethod argument vectors of every wrapper go through the contract,
// more of those with many options.
const samplesPerMethod = 200

var manySamples = map[string]int{"Run": 2000, "Exec": 2000, "Build": 1000}

// contractVersions are the releases whose grammar is known or reported.
var contractVersions = []string{"1.0.0", "1.1.0", "1.2.0", "1.2.2", "1.3.1"}

// TestContract: every argument vector that a wrapper makes is in the program's
// grammar, of every release, and says exactly what the request said.
func TestContract(t *testing.T) {
	samplers := samplers(t)
	covered := map[string]bool{}
	total, different := 0, 0
	for name, sample := range samplers {
		covered[name] = true
		t.Run(name, func(t *testing.T) {
			g := &generator{Rand: rand.New(rand.NewPCG(4, uint64(len(name))))}
			seen := map[string]bool{}
			for range max(samplesPerMethod, manySamples[name]) {
				call, want := sample(g)
				var err error
				argvs := recorded(func(ctx context.Context, c *CLI) { err = call(ctx, c) })
				if len(argvs) != 1 {
					t.Fatalf("%d calls (%v) for %+v", len(argvs), err, want)
				}
				seen[strings.Join(argvs[0], "\x00")] = true
				total++
				for _, version := range contractVersions {
					if err := agree(version, argvs[0], want); err != nil {
						t.Errorf("release %s: %v\nargv %q", version, err, argvs[0])
					}
				}
			}
			different += len(seen)
		})
	}
	// A wrapper that nobody samples would be outside the contract.
	for m := range reflect.TypeFor[*CLI]().Methods() {
		if !covered[m.Name] {
			t.Errorf("the contract test makes no argument vectors of %s", m.Name)
		}
	}
	if total < 9000 || different < 5000 {
		t.Errorf("only %d argument vectors were checked, %d of them different", total, different)
	}
}

// agree holds an argument vector to the grammar and to what it should say.
func agree(version string, argv []string, want grammar.Parsed) error {
	got, err := grammar.ParseAs(version, argv)
	if err != nil {
		return fmt.Errorf("the grammar refuses it: %w", err)
	}
	if err := grammar.Check(got); err != nil {
		return fmt.Errorf("the program refuses it when it runs: %w", err)
	}
	for _, p := range []*grammar.Parsed{&got, &want} {
		if len(p.Options) == 0 {
			p.Options = nil
		}
		if len(p.Flags) == 0 {
			p.Flags = nil
		}
		if len(p.Positionals) == 0 {
			p.Positionals = nil
		}
		if len(p.Path) == 0 {
			p.Path = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("it says %+v, the request %+v", got, want)
	}
	return agreeOnLabels(got, want)
}

// agreeOnLabels looks at labels as the engine will tell them.
func agreeOnLabels(got, want grammar.Parsed) error {
	labels, err := grammar.Labels(got)
	if err != nil {
		return fmt.Errorf("the program refuses a label: %w", err)
	}
	for _, pair := range want.Options["label"] {
		if k, v, _ := strings.Cut(pair, "="); labels[k] != v {
			return fmt.Errorf("the label %q becomes %q", pair, labels[k])
		}
	}
	return nil
}

// TestContractRefusesBrokenVectors: the contract would notice.
func TestContractRefusesBrokenVectors(t *testing.T) {
	exec := grammar.Parsed{
		Path: []string{"exec"}, Positionals: []string{"c1", "-----BEGIN"}, Options: map[string][]string{"env": {"K=-v"}},
	}
	tests := []struct {
		name string
		argv []string
		want grammar.Parsed
	}{
		{"no --, three dashes", []string{"exec", "--env=K=-v", "c1", "-----BEGIN"}, exec},
		{"-- behind the id", []string{"exec", "--env=K=-v", "c1", "--", "-----BEGIN"}, exec},
		{"another value", []string{"exec", "--env=K=v", "--", "c1", "-----BEGIN"}, exec},
		{"a value that stands alone", []string{"run", "--entrypoint", "-x", "--", "img"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Options: map[string][]string{"entrypoint": {"-x"}},
		}},
		{"an empty value behind =", []string{"run", "--entrypoint=", "--", "img"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Options: map[string][]string{"entrypoint": {""}},
		}},
		{"a request for completion", []string{"exec", "c1", "--generate-completion-script"}, grammar.Parsed{
			Path: []string{"exec"}, Positionals: []string{"c1", "--generate-completion-script"},
		}},
		{"a request for help", []string{"stop", "--help"}, grammar.Parsed{Path: []string{"stop"}, Positionals: []string{"--help"}}},
		{"a glued value", []string{"logs", "-n20", "--", "c1"}, grammar.Parsed{
			Path: []string{"logs"}, Positionals: []string{"c1"}, Options: map[string][]string{"n": {"20"}},
		}},
		{"an option behind the image", []string{"run", "img", "--detach"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Flags: map[string]bool{"detach": true},
		}},
		{"parts of CPUs", []string{"run", "--cpus=2.5", "--", "img"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Options: map[string][]string{"cpus": {"2.5"}},
		}},
		{"memory without a unit", []string{"run", "--memory=512", "--", "img"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Options: map[string][]string{"memory": {"512"}},
		}},
		{"a label with two =", []string{"run", "--label=a=b=c", "--", "img"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Options: map[string][]string{"label": {"a=b=c"}},
		}},
		{"none among networks", []string{"run", "--network=none", "--network=n1", "--", "img"}, grammar.Parsed{
			Path: []string{"run"}, Positionals: []string{"img"}, Options: map[string][]string{"network": {"none", "n1"}},
		}},
		{"debug", []string{"run", "--debug", "--", "img"}, grammar.Parsed{Path: []string{"run"}, Positionals: []string{"img"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := agree("1.2.2", tt.argv, tt.want); err == nil {
				t.Errorf("the contract lets %q pass", tt.argv)
			}
		})
	}
	if err := agree("1.2.2", []string{"exec", "--env=K=-v", "--", "c1", "-----BEGIN"}, exec); err != nil {
		t.Errorf("the right form is refused: %v", err)
	}
}

// TestContractNeedsTheDashes takes "--" out of vectors whose words look like
// options: none may come through as it was meant.
func TestContractNeedsTheDashes(t *testing.T) {
	for _, word := range hostile {
		if len(word) < 2 || word[0] != '-' {
			continue
		}
		t.Run(word, func(t *testing.T) {
			argvs := recorded(func(ctx context.Context, c *CLI) {
				_, _ = c.Run(ctx, RunRequest{Image: "img", Args: []string{word}, UID: -1, GID: -1})
			})
			want, err := grammar.Parse(argvs[0])
			if err != nil {
				t.Fatal(err)
			}
			at := slices.Index(argvs[0], "--")
			// Before the image, where an option of the program's could stand.
			broken := slices.Concat(argvs[0][:at], []string{word, "img"})
			if err := agree("1.2.2", broken, want); err == nil {
				t.Errorf("%q passes for %q", broken, argvs[0])
			}
		})
	}
}

// outputOf names the schema of a fixture; "" for a shape from before 1.0.0.
func outputOf(name string) string {
	if strings.HasSuffix(name, "-0.7.1") || strings.HasSuffix(name, "-0.11.0") {
		return ""
	}
	for prefix, output := range map[string]string{
		"container-list": "list --format json", "container-inspect": "inspect", "empty": "list --format json",
		"image-list": "image list --format json", "image-inspect": "image inspect",
		"network-list": "network list --format json", "network-inspect": "network inspect",
		"system-version": "system version --format json", "builder-status": "builder status --format json",
	} {
		if strings.HasPrefix(name, prefix) {
			return output
		}
	}
	if strings.HasSuffix(name, "-1.3.1") {
		return grammar.StatusSince130
	}
	return "system status --format json"
}

// TestContractOfFixtures: what the tests decode is what the program prints.
func TestContractOfFixtures(t *testing.T) {
	for name, data := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			output := outputOf(name)
			if output == "" {
				old := "list --format json"
				if noun, _, _ := strings.Cut(name, "-"); noun != "container" {
					old = noun + " list --format json"
				}
				if err := grammar.ValidateOutput(old, data); err == nil {
					t.Error("a shape from before 1.0.0 has the shape of today")
				}
				return
			}
			if err := grammar.ValidateOutput(output, data); err != nil {
				t.Error(err)
			}
			withoutKeys(t, output, data)
		})
	}
}

// withoutKeys is the control: an element that lacks a key that we read is not
// what the program prints.
func withoutKeys(t *testing.T, output string, data []byte) {
	t.Helper()
	for _, key := range []string{`"id"`, `"status"`, `"version"`, `"configuration"`} {
		broken := bytes.ReplaceAll(data, []byte(key), []byte(`"other"`))
		if bytes.Equal(broken, data) || output == grammar.StatusSince130 && key == `"version"` {
			continue
		}
		if err := grammar.ValidateOutput(output, broken); err == nil {
			t.Errorf("the schema of %q does not miss %s", output, key)
		}
	}
}

// TestContractExamplesDecode: all that the contract shows is understood.
func TestContractExamplesDecode(t *testing.T) {
	kinds := map[string]string{
		"list --format json": "container", "inspect": "container", "builder status --format json": "container",
		"image list --format json": "image", "image inspect": "image",
		"network list --format json": "network", "network inspect": "network",
		"system status --format json": "system-status", "system version --format json": "system-version",
		grammar.StatusSince130: "system-status",
	}
	for output, kind := range kinds {
		examples, err := grammar.Examples(output)
		if err != nil || len(examples) == 0 {
			t.Errorf("%s: %d examples, %v", output, len(examples), err)
		}
		for name, doc := range examples {
			n, err := decoders[kind](doc)
			var elements []json.RawMessage
			if json.Unmarshal(doc, &elements) == nil && kind != "system-version" && n != len(elements) || err != nil {
				t.Errorf("%s, %s: %d objects, %v", output, name, n, err)
			}
		}
	}
}

func TestContractRefusalsAreRefusals(t *testing.T) {
	_, err := grammar.Parse([]string{"exec", "-----BEGIN"})
	var refusal *grammar.Refusal
	if !errors.As(err, &refusal) || refusal.Code != exitUsage {
		t.Errorf("error %v: the program ends with 64", err)
	}
}
