package grammar

import (
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// render writes a parsed line in the form that can be read in one way only:
// debug first, values that look like options behind `=`, empty ones apart, and
// `--` in front of the words.
func render(p Parsed) []string {
	var argv []string
	if p.Flags["debug"] {
		argv = append(argv, "--debug")
	}
	cmd := load().Commands[p.Command()]
	argv = append(argv, cmd.Path...)
	for _, opt := range cmd.Options {
		if p.Flags[opt.canonical()] && !opt.DeclaredOnly {
			argv = append(argv, opt.Names[0])
		}
		for _, value := range p.Options[opt.canonical()] {
			if strings.HasPrefix(value, "-") {
				argv = append(argv, opt.Names[0]+"="+value)
			} else {
				argv = append(argv, opt.Names[0], value)
			}
		}
	}
	if len(p.Positionals) > 0 {
		argv = append(argv, "--")
		argv = append(argv, p.Positionals...)
	}
	return argv
}

// checkRoundTrip holds a result against what its rendering is parsed to.
func checkRoundTrip(t *testing.T, p Parsed) {
	t.Helper()
	argv := render(p)
	again, err := Parse(argv)
	if err != nil {
		t.Fatalf("%q of %+v is refused: %v", argv, p, err)
	}
	if !equal(again, p) {
		t.Fatalf("%q is parsed to %+v, want %+v", argv, again, p)
	}
}

func equal(a, b Parsed) bool {
	return slices.Equal(a.Path, b.Path) && a.Info == b.Info && maps.Equal(a.Flags, b.Flags) &&
		slices.Equal(a.Positionals, b.Positionals) && reflect.DeepEqual(a.Options, b.Options)
}

// checkParse parses any line: a refusal is complete, a result canonical.
func checkParse(t *testing.T, argv []string) {
	t.Helper()
	p, err := Parse(argv)
	if err != nil {
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != exitUsage && refusal.Code != exitFailure || refusal.Rule == "" {
			t.Fatalf("%q: %#v is no whole refusal", argv, err)
		}
		return
	}
	if p.Info != "" {
		return
	}
	checkRoundTrip(t, p)
	var refusal *Refusal
	if err := Check(p); err != nil && !errors.As(err, &refusal) {
		t.Fatalf("%q: %v is no refusal", argv, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"run\x00-dit\x00--name\x00x\x00--\x00IMG\x00ls", "exec\x00ID\x00--\x00ls", "n\x00create\x00--internal\x00x",
		"--debug\x00list", "run\x00-e=\x00I", "run\x00---\x00I", "k8s\x00create", "stop\x00-t\x003\x00a",
		"run\x00--mount\x00type=tmpfs,target=/x,size=1g\x00-p\x00[::1]:80-81:80-81/udp\x00-v\x00a:/b:ro\x00I",
		"\x00", "logs\x00-n5\x00x", "--generate-completion-script\x00zsh",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) { checkParse(t, strings.Split(line, "\x00")) })
}

// TestRandomResultsRoundTrip makes results of every command from its
// declarations and renders them.
func TestRandomResultsRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for key, cmd := range load().Commands {
		if cmd.Group || cmd.name() == "help" || key == "default-command" {
			continue
		}
		t.Run(key, func(t *testing.T) {
			for range 200 {
				p := randomParsed(random, cmd)
				if refusal := validate(cmd, release{1, 2, 2}, p); refusal == nil {
					checkRoundTrip(t, p)
				}
			}
		})
	}
}

func randomParsed(random *rand.Rand, cmd *command) Parsed {
	p := Parsed{Path: cmd.Path, Flags: map[string]bool{}, Options: map[string][]string{}}
	sets := map[string]bool{}
	for _, opt := range cmd.Options {
		switch {
		case opt.builtin() || random.IntN(4) > 0 || sets[opt.Sets]:
		case opt.Arity == 0:
			p.Flags[opt.canonical()] = true
			sets[opt.Sets] = opt.Sets != ""
		default:
			for range 1 + random.IntN(2) {
				p.Options[opt.canonical()] = append(p.Options[opt.canonical()], randomValue(random, opt))
			}
		}
	}
	for _, pos := range cmd.Positionals {
		most := pos.Min + 3
		if pos.Max != nil {
			most = *pos.Max
		}
		n := pos.Min + random.IntN(most-pos.Min+1)
		for range n {
			p.Positionals = append(p.Positionals, randomWord(random))
		}
		if pos.Max != nil && n < *pos.Max {
			break // words fill the positionals in order
		}
	}
	return p
}

func randomValue(random *rand.Rand, opt *option) string {
	pick := func(values ...string) string { return values[random.IntN(len(values))] }
	switch opt.ValueType {
	case "enum":
		return pick(opt.Values...)
	case "uint32":
		return pick("0", "501", "4294967295")
	case "int", "int32", "int64":
		return pick("0", "7", "-7", "+7")
	case "double":
		return pick("0.5", "60", "-1")
	case "cidr4":
		return pick("10.0.0.0/8", "192.168.7.0/24")
	case "cidr6":
		return pick("fd00::/64", "::/0")
	default:
		if opt.Syntax == syntaxLogsLast {
			return pick("5m", "30")
		}
		return randomWord(random)
	}
}

func randomWord(random *rand.Rand) string {
	words := []string{"", "-", "--", "---", "-x", "--help", "-=x", "--name=x", "a", "a=b", "a b", "list", "run", "é\n", "\xff", "/x:/y", "--generate-completion-script"}
	return words[random.IntN(len(words))]
}

// TestRandomLines mixes the words that the rules are about, so that lines are
// near the edge between accepted and refused.
func TestRandomLines(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	heads := [][]string{{"run"}, {"exec"}, {"create"}, {"network", "create"}, {"stop"}, {"n", "ls"}, {"machine", "run"}, {"image", "pull"}, {}, {"k8s", "create"}}
	parts := []string{
		"--", "-", "", "---", "-=", "--name", "--name=", "--name=x", "-n", "-n=5", "-it", "-itx", "-e", "-e=", "--env=-x", "--debug",
		"--help", "-h", "--version", "x", "list", "--all", "-a", "--no-dns", "--dns", "1.1.1.1", "--cpus", "2", "--label", "a=b", "--format", "json",
	}
	accepted := 0
	for range 20000 {
		argv := slices.Clone(heads[random.IntN(len(heads))])
		for range random.IntN(6) {
			argv = append(argv, parts[random.IntN(len(parts))])
		}
		checkParse(t, argv)
		if p, err := Parse(argv); err == nil && p.Info == "" {
			accepted++
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d of the lines are accepted: the test proves little", accepted)
	}
}
