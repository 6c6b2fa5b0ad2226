package macoscontainer

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// The engine's own rules, for names and for the labels of networks.
var (
	networkName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$`)
	networkKey  = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$`)
)

func TestNames(t *testing.T) {
	for _, id := range []backend.ID{"a", "agent-x1y2z", backend.ID(strings.Repeat("a", 40))} {
		for _, r := range []role{roleAgent, roleSidecar, roleInternal, roleEgress} {
			name := r.name(id)
			if !networkName.MatchString(name) || len(name) > 63 {
				t.Errorf("%s of %s is %q, which the engine refuses", r, id, name)
			}
		}
		// Containers share names with networks only, never with each other.
		if roleAgent.name(id) == roleSidecar.name(id) || roleInternal.name(id) == roleEgress.name(id) {
			t.Errorf("two objects of one kind share a name, for bottle %s", id)
		}
	}
}

func TestLabels(t *testing.T) {
	created, expires := time.Unix(1_800_000_000, 0), time.Unix(1_800_003_600, 0)
	for _, owner := range []string{"0f3b", "conformance-/tmp/x=y", "", strings.Repeat("o", 200), "ä"} {
		i := identity{owner: owner, id: "task", created: created, expires: expires}
		for _, r := range []role{roleAgent, roleSidecar, roleInternal, roleEgress} {
			labels := i.labels(r)
			for k, v := range labels {
				if !networkKey.MatchString(k) || strings.Contains(v, "=") || v == "" || len(k+v) > 4000 {
					t.Errorf("label %q=%q is refused by the engine", k, v)
				}
			}
			got, gotRole, ok := owned(owner, r.name("task"), labels)
			if !ok || got != i || gotRole != r {
				t.Errorf("owner %.20q, role %s: read back as %+v, %s, %v", owner, r, got, gotRole, ok)
			}
		}
	}
}

// TestForeign has objects that must never be taken for ours.
func TestForeign(t *testing.T) {
	i := identity{owner: "me", id: "task", created: time.Now(), expires: time.Now()}
	ours := func(change func(map[string]string)) map[string]string {
		labels := i.labels(roleAgent)
		change(labels)
		return labels
	}
	tests := []struct {
		why, name string
		labels    map[string]string
	}{
		{"no labels", "bot-bottle-task", nil},
		{"another owner", "bot-bottle-task", ours(func(l map[string]string) { l[labelOwner] = "you" })},
		{"no owner", "bot-bottle-task", ours(func(l map[string]string) { delete(l, labelOwner) })},
		{"another name", "web", ours(func(map[string]string) {})},
		{"another bottle's name", "bot-bottle-other", ours(func(map[string]string) {})},
		{"the sidecar's name", "bot-bottle-sidecars-task", ours(func(map[string]string) {})},
		{"a path as bottle", "bot-bottle-../x", ours(func(l map[string]string) { l[labelBottle] = "../x" })},
		{"no bottle", "bot-bottle-", ours(func(l map[string]string) { delete(l, labelBottle) })},
		{"another role", "bot-bottle-task", ours(func(l map[string]string) { l[labelRole] = "sidecar" })},
	}
	if _, _, ok := owned("me", "bot-bottle-task", i.labels(roleAgent)); !ok {
		t.Fatal("our own object is not ours: this test proves nothing")
	}
	for _, tt := range tests {
		if _, r, ok := owned("me", tt.name, tt.labels); ok && r == roleAgent {
			t.Errorf("%s: taken for ours", tt.why)
		}
	}
}

func TestDamagedTimes(t *testing.T) {
	labels := identity{owner: "me", id: "task"}.labels(roleAgent)
	for _, v := range []string{"", "x", "-5", "99999999999999999999"} {
		labels[labelExpires] = v
		if i, _, ok := owned("me", "bot-bottle-task", labels); !ok || !i.expires.IsZero() {
			t.Errorf("expires %q is read as %s, %v", v, i.expires, ok)
		}
	}
}
