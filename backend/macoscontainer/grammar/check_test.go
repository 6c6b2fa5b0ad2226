package grammar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestCheckLooksAtValuesBeforeACommandRuns(t *testing.T) {
	many := func(n int) string {
		var line strings.Builder
		for i := range n {
			fmt.Fprintf(&line, " -p %d:%d", 1000+i, 80)
		}
		return line.String()
	}
	for _, c := range []struct {
		argv string
		rule string // "" = passes
		code int
	}{
		{argv: "run --name bot-bottle-x IMG"},
		{argv: "run --name x IMG", rule: ruleName},
		{argv: "run --name -- IMG --name x", rule: "refused"},
		{argv: "run --name bad/name --name good IMG"},
		{argv: "create --name bad/name IMG", rule: ruleName},
		{argv: "run --label a=b --label k= IMG"},
		{argv: "run --label a=b=c IMG", rule: ruleLabel},
		{argv: "run --network none IMG"},
		{argv: "run --network none --network x IMG", rule: ruleNetwork},
		{argv: "run --network a --network b,mtu=1500 IMG"},
		{argv: "run --network a,ip=1 IMG", rule: ruleNetwork},
		{argv: "run -p 127.0.0.1:80:80 -p 127.0.0.2:80:80 IMG", rule: rulePublish},
		{argv: "run -p 80:80 -p 80:80/udp IMG"},
		{argv: "run -p 80-82:80-82 -p 82:1000 IMG", rule: rulePublish},
		{argv: "run" + many(64) + " IMG"},
		{argv: "run" + many(65) + " IMG", rule: rulePublish},
		{argv: "run -p 0:80 IMG", rule: rulePublish},
		{argv: "run --publish-socket /a:/b IMG"},
		{argv: "run --publish-socket /a IMG", rule: rulePublish},
		{argv: "run -m 200m IMG"},
		{argv: "run -m 200 IMG", rule: ruleMemory},
		{argv: "run -m 199.9m IMG", rule: ruleMemory},
		{argv: "run -m lots IMG", rule: ruleMemory},
		{argv: "run --shm-size 64m IMG"},
		{argv: "run --shm-size x IMG", rule: ruleMemory},
		{argv: "run --mount type=bind,source=/a,target=/b IMG"},
		{argv: "run --mount type=bind,target=/b IMG", rule: ruleMount},
		{argv: "run -v /a:/b:ro IMG"},
		{argv: "run -v /a:/b:ro:x IMG", rule: ruleMount},
		{argv: "run --tmpfs /tmp IMG"},
		{argv: "run --tmpfs '' IMG", rule: ruleMount},
		{argv: "run --ulimit nofile=10:20 --ulimit core=0 IMG"},
		{argv: "run --ulimit nofile=10 --ulimit NOFILE=20 IMG", rule: ruleUlimit},
		{argv: "run --ulimit files=10 IMG", rule: ruleUlimit},
		{argv: "exec --ulimit nonsense ID ls"},
		{argv: "run --cap-drop ALL --cap-add cap_net_admin --cap-add Chown IMG"},
		{argv: "run --cap-add NET IMG", rule: ruleCapability},
		{argv: "run --masked-path /proc/x --masked-path none IMG"},
		{argv: "run --read-only-path proc IMG", rule: rulePath},
		{argv: "run --max-concurrent-downloads 1 IMG"},
		{argv: "run --max-concurrent-downloads 0 IMG", rule: ruleCount},
		{argv: "run --scheme https IMG"},
		{argv: "run --scheme ftp IMG", rule: ruleScheme},
		{argv: "run --platform linux/arm64/v8 IMG"},
		{argv: "run --platform linux IMG", rule: rulePlatform},
		{argv: "build --platform linux/arm64,linux/amd64"},
		{argv: "build --platform linux/arm64,", rule: rulePlatform},
		{argv: "build --secret id=a,env=B --secret id=c,src=/d --secret id=e"},
		{argv: "build --secret a=b", rule: ruleSecret},
		{argv: "build --secret id=a,file=b", rule: ruleSecret},
		{argv: "build -m 100m"},
		{argv: "network create --internal --label dev.example.x=a=b net-1"},
		{argv: "network create --label Dev=a net", rule: ruleLabel},
		{argv: "network create Net", rule: ruleName},
		{argv: "network create none", rule: ruleName},
		{argv: "network create default", rule: ruleName},
		{argv: "cp /a ID:/b"},
		{argv: "cp ID:/b ."},
		{argv: "cp a b", rule: ruleCopy},
		{argv: "cp A:/a B:/b", rule: ruleCopy},
		{argv: "cp /a:b ID:/b", rule: ruleCopy},
		{argv: "cp /a ID:b", rule: ruleCopy},
		{argv: "image list --quiet"},
		{argv: "image list --quiet --verbose", rule: ruleList},
		{argv: "system kernel set --recommended"},
		{argv: "system kernel set --binary /k"},
		{argv: "system kernel set", rule: ruleKernel, code: 64},
		{argv: "system kernel set --tar x", rule: ruleKernel, code: 64},
		{argv: "system kernel set --binary /k --digest x", rule: ruleKernel, code: 64},
		{argv: "run --help IMG"},
		{argv: "volume create -s 1g --label anything=goes=here v"},
		{argv: "volume create -s huge v", rule: ruleMemory},
	} {
		t.Run(c.argv, func(t *testing.T) {
			p, err := Parse(words(c.argv))
			if c.rule == "refused" {
				if err == nil {
					t.Fatalf("%+v is no refusal", p)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkRefusal(t, Check(p), c.rule, max(c.code, 1))
		})
	}
}

// checkRefusal wants an error of a rule, or none when it is "".
func checkRefusal(t *testing.T, err error, rule string, code int) {
	t.Helper()
	var refusal *Refusal
	switch {
	case rule == "" && err != nil:
		t.Errorf("refused: %v", err)
	case rule == "":
	case !errors.As(err, &refusal):
		t.Errorf("got %v, want a refusal by %q", err, rule)
	case refusal.Rule != rule || refusal.Code != code:
		t.Errorf("exit %d by %q (%v), want %d by %q", refusal.Code, refusal.Rule, refusal, code, rule)
	}
}

// TestEveryConstraintIsDecidedSomewhere keeps a new word of the contract from
// being passed over: each is checked, or the host's or the daemon's to check.
func TestEveryConstraintIsDecidedSomewhere(t *testing.T) {
	parsed := []string{constraintNoNames, constraintNamesAll, constraintDNS, constraintNoUlimit}
	elsewhere := []string{
		"name must match names.container_id (exit 1)", "bad --subnet/--subnet-v6: exit 64", "--progress accepts auto, plain, tty",
		"no -r, -a, -L options", "--secret syntax, --output type and platform syntax checked at run time (exit 1 or 64)",
	}
	state := []string{
		"--attach/--interactive on a running container: exit 1", "Dockerfile (or Containerfile) must exist (exit 1)",
		"a virtiofs source that vanished: exit 1", "a volume referenced by any container, also a stopped one: exit 1",
		"any network other than the builtin one needs macOS 26 (exit 1)", "builtin network: exit 1", "container must be running",
		"container must be running (exit 1, invalidState)", "empty or missing command and entrypoint: exit 1",
		"log that is not UTF-8: exit 1 (without -n)", "not stopped and no --force: exit 1",
		"referenced by any container, also a stopped one: exit 1", "running container without --force: exit 1, invalidState",
		"without --enable/--disable-kernel-install and without a kernel the command PROMPTS on stdout and reads stdin; end of file: exit 1",
	}
	checked := 0
	for key, cmd := range load().Commands {
		for _, constraint := range cmd.Constraints {
			switch {
			case checkOfConstraint(constraint) != nil:
				checked++
			case slices.Contains(parsed, constraint), slices.Contains(elsewhere, constraint), slices.Contains(state, constraint):
			default:
				t.Errorf("%s: nothing decides on %q", key, constraint)
			}
		}
	}
	if checked == 0 {
		t.Error("no constraint is checked")
	}
}

func TestEverySyntaxIsDecidedSomewhere(t *testing.T) {
	free := []string{
		"", "ARCH[,...]", "DOUBLE seconds", "INT", "INT32", "INT64", "UINT32", "IP (not validated by the CLI)", "IPv4 CIDR a.b.c.d/n",
		"IPv6 CIDR x::/n", "KEY=VALUE", "KEY=VALUE; KEY matches ResourceLabels rule, whole label <= 4096", "KEY[=VALUE]",
		"KEY[=VALUE] kernel word", "KEY[=VALUE] with at most one '='", "NAME|SIGNAME|NUMBER", "NAME|UID[:GID] (any string; resolved in the guest)",
		"OS[,...]", "PATH", "PATH|-", syntaxLogsLast, "default", "image reference", "machine id", "sha256:HEX", "type=oci|tar|local[,dest=PATH]",
	}
	seen := map[string]bool{}
	for key, cmd := range load().Commands {
		for _, opt := range cmd.Options {
			seen[opt.Syntax] = true
			if checkOfSyntax(opt.Syntax) == nil && !slices.Contains(free, opt.Syntax) {
				t.Errorf("%s %s: nothing decides on %q", key, opt.Names[0], opt.Syntax)
			}
		}
	}
	for _, syntax := range append(free, syntaxScheme) {
		if !seen[syntax] {
			t.Errorf("the contract has no syntax %q", syntax)
		}
	}
}
