package grammar

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// lineCase is a command line and what becomes of it: a result in short, or an
// exit code and the rule that decided.
type lineCase struct {
	argv string // words between spaces; '' is an empty one
	want string
	code int
	rule string
}

func words(line string) []string {
	argv := strings.Fields(line)
	for i, word := range argv {
		argv[i] = strings.ReplaceAll(word, "''", "")
	}
	return argv
}

// short writes a result on one line: path | flags | options | positionals.
func short(p Parsed) string {
	if p.Info != "" {
		return strings.TrimSpace(p.Command() + " ?" + p.Info)
	}
	parts := []string{p.Command()}
	for _, name := range sortedKeys(p.Flags) {
		parts = append(parts, "+"+name)
	}
	for _, name := range sortedKeys(p.Options) {
		for _, value := range p.Options[name] {
			parts = append(parts, name+":"+value)
		}
	}
	for _, word := range p.Positionals {
		parts = append(parts, "<"+word+">")
	}
	return strings.Join(parts, " ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func checkLines(t *testing.T, version string, cases []lineCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.argv, func(t *testing.T) {
			got, err := ParseAs(version, words(c.argv))
			if c.code == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if short(got) != c.want {
					t.Errorf("got %q, want %q", short(got), c.want)
				}
				return
			}
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("accepted as %q (%v), want exit %d", short(got), err, c.code)
			}
			if refusal.Code != c.code || refusal.Rule != c.rule {
				t.Errorf("exit %d by %q (%v), want %d by %q", refusal.Code, refusal.Rule, refusal, c.code, c.rule)
			}
			if refusal.Message == "" {
				t.Error("the refusal says nothing")
			}
		})
	}
}

func TestTheTerminatorIsDroppedInFrontOnly(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "exec -- ID ls -l", want: "exec <ID> <ls> <-l>"},
		{argv: "exec ID -- ls", want: "exec <ID> <--> <ls>"},
		{argv: "exec -- ID -- ls", want: "exec <ID> <--> <ls>"},
		{argv: "exec -it -- ID --help --version -i", want: "exec +interactive +tty <ID> <--help> <--version> <-i>"},
		{argv: "run -- IMG", want: "run <IMG>"},
		{argv: "run -d -- IMG ---x -=y", want: "run +detach <IMG> <---x> <-=y>"},
		{argv: "create -- -IMG x", want: "create <-IMG> <x>"},
		{argv: "machine run -- ls -l", want: "machine run <ls> <-l>"},
		{argv: "machine run --", want: "machine run"},
		{argv: "inspect -- a b", want: "inspect <a> <b>"},
		{argv: "inspect a -- -b", want: "inspect <a> <-b>"},
		{argv: "list --", want: "list"},
		{argv: "list -- x", code: 64, rule: ruleExtraWord},
		{argv: "-- list", code: 64, rule: rulePlugin},
		{argv: "network -- list", code: 64, rule: ruleExtraWord},
		{argv: "run --", code: 64, rule: ruleMissingWord},
		{argv: "exec -- ID", code: 64, rule: ruleMissingWord},
	})
}

func TestThreeDashesRefuseTheLine(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "run IMG ---x", code: 64, rule: ruleDashes},
		{argv: "run IMG echo -----BEGIN_KEY-----", code: 64, rule: ruleDashes},
		{argv: "exec ID ---", code: 64, rule: ruleDashes},
		{argv: "run IMG -=x", code: 64, rule: ruleDashes},
		{argv: "run IMG --=x", code: 64, rule: ruleDashes},
		{argv: "--help ---x", code: 64, rule: ruleDashes},
		{argv: "list -- ---x", code: 64, rule: ruleExtraWord},
		{argv: "run IMG -", want: "run <IMG> <->"},
		{argv: "run IMG x---y", want: "run <IMG> <x---y>"},
		{argv: "run -e=---x IMG", want: "run env:---x <IMG>"},
	})
}

func TestACompletionScriptRunsNothing(t *testing.T) {
	const asked = "--generate-completion-script"
	checkLines(t, Version(), []lineCase{
		{argv: asked, want: "?completion"},
		{argv: asked + " zsh", want: "?completion"},
		{argv: asked + "=bash", want: "?completion"},
		{argv: "run IMG echo " + asked, want: "?completion"},
		{argv: "exec ID cmd " + asked + " fish -x", want: "?completion"},
		{argv: "run " + asked + " --help IMG", want: "?completion"},
		{argv: "run " + asked + " -- IMG", want: "?completion"},
		{argv: "run " + asked + " IMG", code: 64, rule: ruleCompletion},
		{argv: "list " + asked + "=zsh " + asked, code: 64, rule: ruleUnknownOption},
		{argv: "run -- IMG " + asked, want: "run <IMG> <" + asked + ">"},
	})
}

func TestOptionsEndAtTheFirstWordOfAPassthroughCommand(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "run IMG -d", want: "run <IMG> <-d>"},
		{argv: "run -d IMG -d", want: "run +detach <IMG> <-d>"},
		{argv: "run IMG --help", want: "run <IMG> <--help>"},
		{argv: "create IMG --version", want: "create <IMG> <--version>"},
		{argv: "exec ID ls --format json", want: "exec <ID> <ls> <--format> <json>"},
		{argv: "machine run -n M ls -n x", want: "machine run name:M <ls> <-n> <x>"},
		{argv: "run --bogus IMG", code: 64, rule: ruleUnknownOption},
		{argv: "run --bogus IMG -d", code: 64, rule: ruleUnknownOption},
		{argv: "exec --cpus 2 ID ls", code: 64, rule: ruleUnknownOption},
		{argv: "stop a -t 3 b", want: "stop time:3 <a> <b>"},
		{argv: "inspect a --bogus b", code: 64, rule: ruleUnknownOption},
		{argv: "image tag a b c", code: 64, rule: ruleExtraWord},
		{argv: "image tag a", code: 64, rule: ruleMissingWord},
	})
}

func TestValuesOfOptions(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "run --env A=b IMG", want: "run env:A=b <IMG>"},
		{argv: "run --env=A=b IMG", want: "run env:A=b <IMG>"},
		{argv: "run -e A IMG", want: "run env:A <IMG>"},
		{argv: "run -e=-x IMG", want: "run env:-x <IMG>"},
		{argv: "run --env=-x IMG", want: "run env:-x <IMG>"},
		{argv: "run --env -x IMG", code: 64, rule: ruleMissingValue},
		{argv: "run --env - IMG", want: "run env:- <IMG>"},
		{argv: "run --entrypoint '' IMG", want: "run entrypoint: <IMG>"},
		{argv: "run -e= IMG", want: "run env: <IMG>"},
		{argv: "run --env= IMG", code: 64, rule: ruleMissingWord},
		{argv: "run --env= X IMG", want: "run env:X <IMG>"},
		{argv: "run --name", code: 64, rule: ruleMissingValue},
		{argv: "run --name -- IMG", code: 64, rule: ruleMissingValue},
		{argv: "run --name --help IMG", code: 64, rule: ruleMissingValue},
		{argv: "list --all=1", code: 64, rule: ruleFlagValue},
		{argv: "list -a=1", code: 64, rule: ruleFlagValue},
		{argv: "list -a=", code: 64, rule: ruleFlagValue},
		{argv: "list --all=", want: "list +all"},
	})
}

func TestShortNames(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "logs -n 5 ID", want: "logs n:5 <ID>"},
		{argv: "logs -n=5 ID", want: "logs n:5 <ID>"},
		{argv: "logs -n5 ID", code: 64, rule: ruleValueType},
		{argv: "logs -n5 5 ID", code: 64, rule: ruleUnknownOption},
		{argv: "run -p8080:80 IMG", code: 64, rule: ruleMissingWord},
		{argv: "run -p8080:80 X IMG", code: 64, rule: ruleUnknownOption},
		{argv: "run -mg X IMG", code: 64, rule: ruleUnknownOption},
		{argv: "run -dit IMG", want: "run +detach +interactive +tty <IMG>"},
		{argv: "run -ie A=b IMG", want: "run +interactive env:A=b <IMG>"},
		{argv: "run -em A=b 1g IMG", want: "run env:A=b memory:1g <IMG>"},
		{argv: "list -aq", want: "list +all +quiet"},
		{argv: "list -aqx", code: 64, rule: ruleUnknownOption},
		{argv: "run -dx IMG", code: 64, rule: ruleUnknownOption},
		{argv: "run -xd IMG", code: 64, rule: ruleUnknownOption},
		{argv: "list -qh", want: "list ?help"},
		{argv: "exec -ih ID ls", want: "exec ?help"},
		{argv: "run -it=1 IMG", code: 64, rule: ruleUnknownOption},
	})
}

func TestRepeatedOptions(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "run --name a --name b IMG", want: "run name:a name:b <IMG>"},
		{argv: "run -e A -e B --env C IMG", want: "run env:A env:B env:C <IMG>"},
		{argv: "run -d -d --detach IMG", want: "run +detach <IMG>"},
		{argv: "run --cwd /a -w /b IMG", want: "run workdir:/a workdir:/b <IMG>"},
		{argv: "run --remove IMG", want: "run +rm <IMG>"},
		{argv: "system start --enable-kernel-install --enable-kernel-install", want: "system start +enable-kernel-install"},
		{argv: "system start --enable-kernel-install --disable-kernel-install", code: 64, rule: ruleExclusive},
	})
	p, err := Parse(words("run --name a --name b IMG"))
	if err != nil {
		t.Fatal(err)
	}
	if last, given := p.Last("name"); last != "b" || !given {
		t.Errorf("the last name is %q (%v), want b", last, given)
	}
	if last, given := p.Last("user"); last != "" || given {
		t.Errorf("a user that was not given is %q (%v)", last, given)
	}
}

func TestDebugIsForTheRoot(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "--debug run IMG", want: "run +debug <IMG>"},
		{argv: "--debug --debug network list", want: "network list +debug"},
		{argv: "run --debug IMG", code: 64, rule: ruleUnknownOption},
		{argv: "exec --debug ID ls", code: 64, rule: ruleUnknownOption},
		{argv: "inspect x --debug", code: 64, rule: ruleUnknownOption},
		{argv: "inspect --debug x", want: "inspect +debug <x>"},
		{argv: "list --debug", want: "list +debug"},
		{argv: "list --format json --debug", code: 64, rule: ruleUnknownOption},
		{argv: "system start --debug", want: "system start +debug"},
		{argv: "system status --debug", code: 64, rule: ruleUnknownOption},
		{argv: "network --debug list", want: "network list +debug"},
		{argv: "network create --debug x", code: 64, rule: ruleUnknownOption},
		{argv: "--debug", want: "default-command ?help"},
		{argv: "--debug --help", want: "?help"},
		{argv: "--debug=1 list", code: 64, rule: ruleFlagValue},
		{argv: "--debug k8s list", want: "k8s list +debug"},
	})
}

func TestTypesOfValues(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "run --cpus 2 IMG", want: "run cpus:2 <IMG>"},
		{argv: "run --cpus 2.5 IMG", code: 64, rule: ruleValueType},
		{argv: "run --cpus=-2 IMG", want: "run cpus:-2 <IMG>"},
		{argv: "run --cpus -2 IMG", code: 64, rule: ruleMissingValue},
		{argv: "run --cpus +2 IMG", want: "run cpus:+2 <IMG>"},
		{argv: "run --cpus '' IMG", code: 64, rule: ruleValueType},
		{argv: "run --cpus x --help IMG", code: 64, rule: ruleValueType},
		{argv: "run --uid 4294967295 IMG", want: "run uid:4294967295 <IMG>"},
		{argv: "run --uid 4294967296 IMG", code: 64, rule: ruleValueType},
		{argv: "run --uid=-1 IMG", code: 64, rule: ruleValueType},
		{argv: "run --uid ++1 IMG", code: 64, rule: ruleValueType},
		{argv: "stop -t 2147483647 x", want: "stop time:2147483647 <x>"},
		{argv: "stop -t 2147483648 x", code: 64, rule: ruleValueType},
		{argv: "system start --timeout 1.5", want: "system start timeout:1.5"},
		{argv: "system start --timeout soon", code: 64, rule: ruleValueType},
		{argv: "list --format json", want: "list format:json"},
		{argv: "list --format JSON", code: 64, rule: ruleValueType},
		{argv: "machine list --format yaml", code: 64, rule: ruleValueType},
		{argv: "run --progress none IMG", want: "run progress:none <IMG>"},
		{argv: "create --progress none IMG", code: 64, rule: ruleUnknownOption},
		{argv: "build --progress none", code: 64, rule: ruleValueType},
		{argv: "network create --subnet 10.1.0.0/24 n", want: "network create subnet:10.1.0.0/24 <n>"},
		{argv: "network create --subnet 10.1.0.0 n", code: 64, rule: ruleValueType},
		{argv: "network create --subnet fd00::/64 n", code: 64, rule: ruleValueType},
		{argv: "network create --subnet-v6 fd00::/64 n", want: "network create subnet-v6:fd00::/64 <n>"},
		{argv: "network create --subnet-v6 10.1.0.0/24 n", code: 64, rule: ruleValueType},
		{argv: "run -m lots IMG", want: "run memory:lots <IMG>"},
	})
}

func TestDescentAndDispatch(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "ls", want: "list"},
		{argv: "n ls -q", want: "network list +quiet"},
		{argv: "i rm x", want: "image delete <x>"},
		{argv: "s dns ls", want: "system dns list"},
		{argv: "cp a b:/c", want: "copy <a> <b:/c>"},
		{argv: "network", want: "network ?help"},
		{argv: "system kernel", want: "system kernel ?help"},
		{argv: "", want: "default-command ?help"},
		{argv: "network bogus", code: 64, rule: ruleExtraWord},
		{argv: "network --format json list", code: 64, rule: ruleUnknownOption},
		{argv: "network help", code: 64, rule: ruleExtraWord},
		{argv: "bogus", code: 64, rule: rulePlugin},
		{argv: "bogus --help", code: 64, rule: rulePlugin},
		{argv: "''", code: 64, rule: rulePlugin},
		{argv: "--bogus", code: 64, rule: rulePlugin},
		{argv: "--format json list", code: 64, rule: rulePlugin},
		{argv: "--help list", code: 64, rule: rulePlugin},
		{argv: "wait x", code: 64, rule: rulePlugin},
		{argv: "k8s", want: "k8s ?help"},
		{argv: "k8s create --name x", want: "k8s create name:x"},
		{argv: "k8s bogus", code: 64, rule: ruleExtraWord},
	})
}

func TestHelpAndVersion(t *testing.T) {
	checkLines(t, Version(), []lineCase{
		{argv: "--help", want: "?help"},
		{argv: "-h", want: "?help"},
		{argv: "--help-hidden", want: "?help"},
		{argv: "--experimental-dump-help", want: "?help"},
		{argv: "--version", want: "?version"},
		{argv: "run --help", want: "run ?help"},
		{argv: "run --help IMG x", want: "run ?help"},
		{argv: "run --bogus --help", want: "run ?help"},
		{argv: "network create --version", want: "network create ?version"},
		{argv: "network create --version x", want: "network create ?version"},
		{argv: "list --version --help", want: "list ?help"},
		{argv: "delete --help", want: "delete ?help"},
		{argv: "run --no-dns --dns 1.1.1.1 --help IMG", want: "run ?help"},
		{argv: "network --help", want: "network ?help"},
		{argv: "help", want: "help ?help"},
		{argv: "help run", want: "help ?help"},
		{argv: "help -h", want: "help ?help"},
		{argv: "help --help-hidden", code: 64, rule: ruleUnknownOption},
	})
}

func TestWhatIsCheckedWhileParsing(t *testing.T) {
	cases := []lineCase{
		{argv: "delete --bogus", code: 1, rule: ruleNamesOrAll},
		{argv: "network rm", code: 1, rule: ruleNamesOrAll},
		{argv: "run --no-dns --dns-search x IMG", code: 64, rule: ruleNoDNS},
		{argv: "create --dns-domain x --no-dns IMG", code: 64, rule: ruleNoDNS},
		{argv: "run --dns-option x --no-dns IMG", code: 64, rule: ruleNoDNS},
		{argv: "run --no-dns --dns=1.1.1.1 IMG", code: 64, rule: ruleNoDNS},
		{argv: "run --no-dns IMG", want: "run +no-dns <IMG>"},
		{argv: "run --no-dns IMG --dns x", want: "run +no-dns <IMG> <--dns> <x>"},
		{argv: "system logs --last 5m", want: "system logs last:5m"},
		{argv: "system logs --last 30", want: "system logs last:30"},
		{argv: "system logs --last 0", code: 1, rule: ruleDuration},
		{argv: "system logs --last 5s", code: 1, rule: ruleDuration},
		{argv: "system logs --last m", code: 1, rule: ruleDuration},
		{argv: "system logs --last ''", code: 1, rule: ruleDuration},
		{argv: "system logs --follow --last 5s", want: "system logs +follow last:5s"},
	}
	for _, command := range []string{"delete", "stop", "kill", "image delete", "network delete", "volume delete"} {
		cases = append(cases,
			lineCase{argv: command, code: 1, rule: ruleNamesOrAll},
			lineCase{argv: command + " --all x", code: 1, rule: ruleNamesOrAll},
			lineCase{argv: command + " --all", want: command + " +all"},
			lineCase{argv: command + " x y", want: command + " <x> <y>"},
		)
	}
	checkLines(t, Version(), cases)
}

func TestOtherVersions(t *testing.T) {
	for version, cases := range map[string][]lineCase{
		"1.0.0": {
			{argv: "run --masked-path /x IMG", code: 64, rule: ruleUnknownOption},
			{argv: "run --kernel-arg x IMG", code: 64, rule: ruleUnknownOption},
			{argv: "machine create --virtualization IMG", code: 64, rule: ruleUnknownOption},
			{argv: "k8s list", code: 64, rule: rulePlugin},
			{argv: "cp a b:/c", want: "copy <a> <b:/c>"},
			{argv: "run --shm-size 1g IMG", want: "run shm-size:1g <IMG>"},
		},
		"1.1.0": {
			{argv: "machine create --virtualization IMG", want: "machine create +virtualization <IMG>"},
			{argv: "run --kernel-arg x IMG", code: 64, rule: ruleUnknownOption},
		},
		"1.2.0": {
			{argv: "run --kernel-arg x IMG", want: "run kernel-arg:x <IMG>"},
			{argv: "run --read-only-path /x IMG", code: 64, rule: ruleUnknownOption},
			{argv: "build --ssh default", code: 64, rule: ruleUnknownOption},
		},
		"1.2.2": {
			{argv: "run --scheme auto IMG", want: "run scheme:auto <IMG>"},
			{argv: "build --ssh default", want: "build ssh:default"},
		},
		"1.3.0": {
			{argv: "run --scheme auto IMG", code: 1, rule: ruleScheme},
			{argv: "image pull --scheme https --scheme auto x", code: 1, rule: ruleScheme},
			{argv: "run --scheme https IMG", want: "run scheme:https <IMG>"},
			{argv: "run --masked-path /x IMG", want: "run masked-path:/x <IMG>"},
		},
	} {
		t.Run(version, func(t *testing.T) { checkLines(t, version, cases) })
	}
	for _, version := range []string{"", "1", "0.12.3", "1.2.x", "1.2.3.4", "-1.0.0"} {
		_, err := ParseAs(version, []string{"list"})
		var refusal *Refusal
		if err == nil || errors.As(err, &refusal) {
			t.Errorf("version %q: %v, want an error that is no refusal", version, err)
		}
	}
	if Version() != "1.2.2" {
		t.Errorf("the contract is of version %q", Version())
	}
}

func TestAResultOfARefusalIsEmpty(t *testing.T) {
	p, err := Parse([]string{"run"})
	if err == nil || !reflect.DeepEqual(p, Parsed{}) {
		t.Errorf("got %+v, %v", p, err)
	}
}
