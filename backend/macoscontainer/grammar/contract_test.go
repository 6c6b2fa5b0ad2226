package grammar

import (
	"slices"
	"testing"
)

// TestEveryDeclarationIsReachable gives each option of each command by each of
// its names, with a value of its type.
func TestEveryDeclarationIsReachable(t *testing.T) {
	samples := map[string]string{
		"": "x", "string": "x", "int": "1", "int32": "1", "int64": "1", "uint32": "1", "double": "1.5",
		"cidr4": "10.0.0.0/8", "cidr6": "fd00::/8",
	}
	for key, cmd := range load().Commands {
		for _, opt := range cmd.Options {
			for _, name := range opt.Names {
				argv := append(slices.Clone(cmd.Path), name)
				if opt.Arity == 1 {
					value := samples[opt.ValueType]
					if opt.ValueType == "enum" {
						value = opt.Values[0]
					}
					if opt.Syntax == syntaxLogsLast {
						value = "5m"
					}
					argv = append(argv, value)
				}
				if !opt.builtin() && (key == "default-command" || opt.DeclaredOnly) || cmd.Group && !opt.builtin() {
					continue // TestDebugIsForTheRoot
				}
				for _, pos := range cmd.Positionals {
					for range pos.Min {
						argv = append(argv, "x")
					}
				}
				if len(cmd.Positionals) == 1 && cmd.Positionals[0].Min == 0 && slices.Contains(cmd.Constraints, constraintNoNames) && opt.canonical() != "all" {
					argv = append(argv, "x")
				}
				checkReached(t, argv, opt)
			}
		}
	}
}

func checkReached(t *testing.T, argv []string, opt *option) {
	t.Helper()
	p, err := Parse(argv)
	switch {
	case len(argv) > 0 && argv[0] == "default-command" && opt.builtin():
		// All of its line is the plugin's.
		if err != nil && err.(*Refusal).Rule != rulePlugin { //nolint:forcetypeassert // Parse of Version gives nothing else
			t.Errorf("%q: %v", argv, err)
		}
	case err != nil:
		t.Errorf("%q: %v", argv, err)
	case opt.builtin() || p.Info != "":
		if p.Info == "" {
			t.Errorf("%q: nothing is printed", argv)
		}
	case opt.Arity == 0 && !p.Flags[opt.canonical()], opt.Arity == 1 && len(p.Options[opt.canonical()]) != 1:
		t.Errorf("%q: the option is not in %+v", argv, p)
	}
}
