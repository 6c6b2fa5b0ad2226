package provision

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name string
		w    wiring
	}{
		{"egress", wiring{endpoints: backend.Endpoints{Egress: "http://127.0.0.1:9099"}}},
		{"all", wiring{
			endpoints: backend.Endpoints{
				Egress: "http://192.168.64.2:9099", Supervise: "http://192.168.64.2:9100/", GitGate: "git://192.168.64.2:9418", NoProxy: []string{"192.168.64.2"},
			},
			extra: map[string]string{"LANG": "de_DE.UTF-8", "MINE": "a=b c", "HTTP_PROXY": "http://evil.example"},
		}},
		{"none", wiring{}},
		{"identity", wiring{
			endpoints: backend.Endpoints{Egress: "http://127.0.0.1:9099"}, user: manifest.GitUser{Name: "A \"B\" C", Email: "a@example.com"},
			extra: map[string]string{trust.JavaOptions: "-Xmx1g", "GIT_AUTHOR_NAME": "Another"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := environment(tt.w)
			if !slices.IsSorted(got) {
				t.Error("it is not sorted")
			}
			text := strings.Join(got, "\n") + "\n"
			golden := "testdata/env-" + tt.name + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("got:\n%swant:\n%s", text, want)
			}
		})
	}
}

// TestReserved: nobody can set what the wiring sets, in no spelling of case
// that the wiring uses.
func TestReserved(t *testing.T) {
	for _, pair := range environment(wiring{endpoints: backend.Endpoints{Egress: "x", Supervise: "x", GitGate: "x"}}) {
		name, _, _ := strings.Cut(pair, "=")
		if !reservedEnv(name) && !baseName(name) {
			t.Errorf("%s can be set by a request", name)
		}
	}
	for _, name := range []string{"BOT_BOTTLE_SIDECAR_DAEMONS", "EGRESS_TOKEN_0", "egress_token_1", "ALL_PROXY"} {
		if !reservedEnv(name) {
			t.Errorf("%s can be set by a request", name)
		}
	}
	for _, name := range []string{"GOFLAGS", "CI", "MY_PROXY"} {
		if reservedEnv(name) || baseName(name) {
			t.Errorf("%s cannot be set by a request", name)
		}
	}
}
