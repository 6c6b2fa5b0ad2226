package provider

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	claudeToken  = "sk-ant-oat01-Real7Credential9OfClaude"
	refreshToken = "sk-ant-ort01-Real7Refresh9Credential"
	signature    = "UmVhbFNpZ25hdHVyZQ"
)

func jwt(t testing.TB, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + enc.EncodeToString(body) + "." + signature
}

func codexTokenUntil(t testing.TB, until time.Time) string {
	t.Helper()
	return jwt(t, map[string]any{"exp": until.Unix(), "secret_claim": "inner"})
}

func codexToken(t testing.TB) string { return codexTokenUntil(t, now.Add(48*time.Hour)) }

func claudeFile(until time.Time) string {
	return fmt.Sprintf(`{"claudeAiOauth":{"accessToken":%q,"refreshToken":%q,"expiresAt":%d,"scopes":["user:inference","user:profile"],"subscriptionType":"max","rateLimitTier":"default_claude_max_5x"},"mcpOAuth":{"x":{"accessToken":"other"}}}`,
		claudeToken, refreshToken, until.UnixMilli())
}

func codexFile(t testing.TB, until time.Time) string {
	t.Helper()
	id := jwt(t, map[string]any{
		"exp": until.Unix(), "email": "person@example.com", "name": "A Person",
		"https://api.openai.com/auth": map[string]any{"chatgpt_plan_type": "pro", "chatgpt_user_id": "user-1", "chatgpt_account_id": "acc-2"},
	})
	return fmt.Sprintf(`{"auth_mode":"chatgpt","OPENAI_API_KEY":null,"tokens":{"id_token":%q,"access_token":%q,"refresh_token":%q,"account_id":"acc-2"},"last_refresh":"2026-11-20T08:00:00.123456Z"}`,
		id, codexTokenUntil(t, until), refreshToken)
}

// hostWith is a host whose home holds one file.
func hostWith(t testing.TB, name, text string) (Host, string) {
	t.Helper()
	home := t.TempDir()
	path := filepath.Join(home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Host{Now: now, LookupEnv: func(n string) (string, bool) { return home, n == "HOME" }}, path
}

func hostLogin(t testing.TB, name string) *HostLogin {
	t.Helper()
	until := now.Add(48 * time.Hour)
	host, _ := hostWith(t, ".claude/.credentials.json", claudeFile(until))
	if name == "codex" {
		host, _ = hostWith(t, ".codex/auth.json", codexFile(t, until))
	}
	l, err := ReadHostLogin(name, host)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestReadHostLogin(t *testing.T) {
	for name, want := range map[string]string{"claude": claudeToken, "codex": codexToken(t)} {
		t.Run(name, func(t *testing.T) {
			l := hostLogin(t, name)
			if l.Token.Reveal() != want || !l.Expires.Equal(now.Add(48*time.Hour)) {
				t.Errorf("token right: %t, expires %s", l.Token.Reveal() == want, l.Expires)
			}
			text := l.placeholder.Content.(string)
			for _, secret := range []string{want, refreshToken, signature, "inner", "person@example.com", "A Person", "other"} {
				if strings.Contains(text, secret) || strings.Contains(fmt.Sprintf("%+v", l), secret) {
					t.Errorf("%q is in the placeholder or in print", secret)
				}
			}
			if l.placeholder.Mode != 0o600 || !json.Valid([]byte(text)) {
				t.Errorf("placeholder %+v", l.placeholder)
			}
		})
	}
}

// TestPlaceholderOfCodex parses the guest's file as Codex does.
func TestPlaceholderOfCodex(t *testing.T) {
	var got struct {
		Tokens struct {
			ID      string `json:"id_token"`
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
			Account string `json:"account_id"`
		} `json:"tokens"`
		LastRefresh time.Time `json:"last_refresh"`
	}
	if err := json.Unmarshal([]byte(hostLogin(t, "codex").placeholder.Content.(string)), &got); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{got.Tokens.ID, got.Tokens.Access} {
		var claims codexClaims
		if err := claimsOf(token, &claims); err != nil {
			t.Fatal(err)
		}
		if claims.Expires != now.Add(48*time.Hour).Unix() || claims.Auth.Account != "acc-2" || claims.Auth.Plan != "pro" || claims.Auth.User != "user-1" {
			t.Errorf("claims %+v", claims)
		}
	}
	if got.Tokens.Account != "acc-2" || got.Tokens.Refresh != Placeholder || got.LastRefresh.IsZero() {
		t.Errorf("file %+v", got)
	}
}

func TestReadHostLoginRefuses(t *testing.T) {
	soon, past := now.Add(5*time.Minute), now.Add(-time.Hour)
	const claude, codex = ".claude/.credentials.json", ".codex/auth.json"
	tests := []struct {
		name, format, file, text string
		spoil                    func(path string) error
		want                     string
	}{
		{"claude expired", "claude", claude, claudeFile(past), nil, `it expired at 2026-11-24T11:00:00Z; run "claude" on this host`},
		{"claude about to expire", "claude", claude, claudeFile(soon), nil, "it expires at 2026-11-24T12:05:00Z"},
		{"claude logged out", "claude", claude, `{}`, nil, "it holds no login of a Claude account"},
		{"claude without an end", "claude", claude, `{"claudeAiOauth":{"accessToken":"x"}}`, nil, "it is not what this program writes"},
		{"claude of another kind", "claude", claude, `{"claudeAiOauth":"SECRET"}`, nil, "it is not what this program writes"},
		{"claude broken", "claude", claude, `{"claudeAiOauth":{"accessToken":"SECRET`, nil, "it is not what this program writes"},
		{"claude with a line feed", "claude", claude, fmt.Sprintf(`{"claudeAiOauth":{"accessToken":"SECRET\nX: y","expiresAt":%d}}`, now.Add(time.Hour).UnixMilli()), nil, "its token holds something that no header can"},
		{"claude missing", "claude", claude, "", os.Remove, "there is none; run \"claude\" on this host and log in"},
		{"codex expired", "codex", codex, codexFile(t, past), nil, `it expired at 2026-11-24T11:00:00Z; run "codex login" on this host`},
		{"codex with an API key", "codex", codex, `{"OPENAI_API_KEY":"SECRET"}`, nil, "it is an API key and no login of an account; name a host variable"},
		{"codex logged out", "codex", codex, `{"OPENAI_API_KEY":null}`, nil, "it holds no login of a ChatGPT account"},
		{"codex with an opaque token", "codex", codex, `{"tokens":{"access_token":"SECRET","id_token":"SECRET"}}`, nil, "it is not what this program writes"},
		{"codex with a foreign id token", "codex", codex, fmt.Sprintf(`{"tokens":{"access_token":%q,"id_token":"SECRET"}}`, codexToken(t)), nil, "it is not what this program writes"},
		{"codex missing", "codex", codex, "", os.Remove, "there is none; run \"codex login\""},
		{"writable by others", "codex", codex, codexFile(t, now.Add(time.Hour)), func(p string) error { return os.Chmod(p, 0o666) }, "others may write to it (mode 0666)"},
		{"a directory", "codex", codex, "", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, "it is a directory"},
		{"enormous", "codex", codex, "", func(p string) error { return os.Truncate(p, 1<<40) }, "it is larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host, path := hostWith(t, tt.file, tt.text)
			if tt.spoil != nil {
				if err := tt.spoil(path); err != nil {
					t.Fatal(err)
				}
			}
			l, err := ReadHostLogin(tt.format, host)
			var typed *LoginError
			if l != nil || !errors.As(err, &typed) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v, %v; want %q", l, err, tt.want)
			}
			if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), claudeToken) {
				t.Errorf("the error repeats the file: %v", err)
			}
			if strings.HasSuffix(tt.name, "missing") != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the cause of %v is wrong", err)
			}
		})
	}
}

func TestHostLoginDirectory(t *testing.T) {
	_, path := hostWith(t, "moved/auth.json", codexFile(t, now.Add(time.Hour)))
	env := func(values map[string]string) Host {
		return Host{Now: now, LookupEnv: func(n string) (string, bool) { v, ok := values[n]; return v, ok }}
	}
	if _, err := ReadHostLogin("codex", env(map[string]string{"CODEX_HOME": filepath.Dir(path)})); err != nil {
		t.Errorf("CODEX_HOME is not followed: %v", err)
	}
	for name, values := range map[string]map[string]string{
		"relative": {"CODEX_HOME": "moved"}, "no home": {}, "home relative": {"HOME": "x"},
	} {
		if _, err := ReadHostLogin("codex", env(values)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := ReadHostLogin("other", env(nil)); err == nil || !strings.Contains(err.Error(), "known: claude, codex") {
		t.Errorf("an unknown format gives %v", err)
	}
}

// FuzzHostLogin looks for a file whose token comes through into the guest.
func FuzzHostLogin(f *testing.F) {
	f.Add([]byte(claudeFile(now)))
	f.Add([]byte(codexFile(f, now)))
	f.Add([]byte(`{"tokens":{"access_token":"a.e30.c","id_token":"a.e30.c"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, form := range formats() {
			l, err := form.read(data)
			if err != nil {
				continue
			}
			token := l.Token.Reveal()
			text, ok := l.placeholder.Content.(string)
			if !ok || !json.Valid([]byte(text)) {
				t.Fatalf("the placeholder is no JSON: %q", text)
			}
			if len(token) > 16 && strings.Contains(text, token) {
				t.Fatalf("the token %q is in the placeholder", token)
			}
		}
	})
}
