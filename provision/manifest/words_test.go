package manifest

import (
	"strings"
	"testing"
)

func TestMasked(t *testing.T) {
	for in, want := range map[string]string{
		// What may be a credential.
		`"ghp_0123456789abcdefghij" is no host`:      `"…" is no host`,
		"x sk-ant-api03-abcdefgh y":                  "x … y",
		"eyJhbGciOiJIUzI1NiJ9.e30.c2ln":              "…",
		"AKIAIOSFODNN7EXAMPLE":                       "…",
		"0123456789abcdef0123456789abcdef":           "…",
		"https://user:hunter2@git.example.com/x":     "https://…@git.example.com/x",
		"user:hunter2@git.example.com":               "…@git.example.com",
		"AbCdEfGhIjKlMnOpQrSt0123":                   "…",
		"egress.routes[0].auth.glpat-0123456789abcd": "egress.routes[0].auth.…",
		// What people need to read.
		`"https://api.example.com/v1" is no host`:   `"https://api.example.com/v1" is no host`,
		"egress.routes[0].matches[1].paths[2].type": "egress.routes[0].matches[1].paths[2].type",
		"BOT_BOTTLE_CLAUDE_OAUTH_TOKEN_2":           "BOT_BOTTLE_CLAUDE_OAUTH_TOKEN_2",
		"token_pattern, naive_injection_detection":  "token_pattern, naive_injection_detection",
		"git@git.example.com:team/app.git":          "git@git.example.com:team/app.git",
		"ecdsa-sha2-nistp256":                       "ecdsa-sha2-nistp256",
	} {
		if got := masked(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestCredential(t *testing.T) {
	for name, want := range map[string]bool{
		"TOKEN": false, "BOT_BOTTLE_GITHUB_TOKEN": false, "npm_config_registry": false, "hf_home_directory": false, "sk_cache_directory": false, "MyToken2": false, "my_Very_Long_Name_Of_Token_2024": false,
		"ghp_0123456789abcdefghijklmnopqrstuvwxyz": true, "deadbeefdeadbeefdeadbeefdeadbeef": true, "AbCdEfGh0123456789ijklmnop": true, "npm_abcdefgh0123456789abcdefgh0123456789": true,
	} {
		if got := credential(name); got != want {
			t.Errorf("%q is a credential: %t", name, got)
		}
	}
}

func TestNearest(t *testing.T) {
	allowed := []string{"egress", "env", "extends", "Bearer"}
	for in, want := range map[string]string{
		"egres": "egress", "Egress": "egress", "EGRESS": "egress", "extend": "extends", "bearer": "Bearer", "enf": "env",
		"x": "", "resources": "", "": "", strings.Repeat("e", 65): "",
	} {
		if got := nearest(in, allowed); got != want {
			t.Errorf("%q is taken for %q, want %q", in, got, want)
		}
	}
}

func TestSSHURLs(t *testing.T) {
	for url, good := range map[string]bool{
		"ssh://git@git.example.com/team/app.git": true, "ssh://git.example.com/app": true, "ssh://git@git.example.com:2222/~me/app.git": true,
		"git@git.example.com:team/app.git": true, "git.example.com:app.git": true, "git@Git.Example.com:app": true, "git@git.example.com:/srv/app.git": true,
		"git@git.example.com": false, "git@git.example.com:": false, "ssh://": false, "ssh:///app": false, "": false, "git@:app": false,
		"https://git.example.com/app": false, "ssh://git@git.example.com/a b": false, "ssh://git@git.example.com/a%20b": false, "git@git.example.com:a\nb": false,
		"git@-x:app": false, "-x@git.example.com:app": false, "git@git.example.com::app": false, "ssh://git@[::1]/app": false, "git@git@git.example.com:app": false,
	} {
		if err := CheckSSHURL(url); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{1 << 10: "1KiB", 1536 << 10: "1536KiB", 512 << 20: "512MiB", 4 << 30: "4GiB", 2 << 40: "2TiB", 0: "0KiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
