package provider

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// HostLogin is the login that a program of this host has: the one credential
// that egress gets, and what the guest is given in its place.
type HostLogin struct {
	Format  string
	Token   secret.Value
	Expires time.Time
	// placeholder is the program's own file without a credential, placeholders are
	// what stands in it for one.
	placeholder  File
	placeholders []string
}

// Host is what reading a login needs to know of this host.
type Host struct {
	// LookupEnv reads the host's environment, as os.LookupEnv does.
	LookupEnv func(string) (string, bool)
	Now       time.Time
}

// LoginError says why this host's login cannot be used. It never repeats what
// stands in the file.
type LoginError struct {
	Format  string
	File    string
	Problem string
	Renew   string // what to do

	cause error
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("the %s login of this host, %s: %s; %s", e.Format, e.File, e.Problem, e.Renew)
}

// Unwrap gives the cause, such as fs.ErrNotExist, or nil.
func (e *LoginError) Unwrap() error { return e.cause }

// format is a program whose login file is known.
type format struct {
	name string
	// homeEnv names the variable that moves the program's directory, dir is the
	// usual one below the home, file stands in it. guest is below the guest's home.
	homeEnv, dir, file, guest string
	renew                     string
	// read takes the file apart; what it returns as an error is a problem in words.
	read func(data []byte) (HostLogin, error)
}

// formats lists the programs. The shapes of their files are public: Codex's
// source declares its own, Claude Code's is described by its documentation and by
// the many programs that read it.
func formats() []format {
	return []format{
		{
			name: "claude", homeEnv: "CLAUDE_CONFIG_DIR", dir: ".claude", file: ".credentials.json", guest: ".claude/.credentials.json",
			renew: `run "claude" on this host and log in (/login); on macOS the login is in the keychain, so use "claude setup-token" and agent_provider.auth_token instead`,
			read:  readClaude,
		},
		{
			name: "codex", homeEnv: "CODEX_HOME", dir: ".codex", file: "auth.json", guest: ".codex/auth.json",
			renew: `run "codex login" on this host (with cli_auth_credentials_store = "file" where a keyring is used)`,
			read:  readCodex,
		},
	}
}

func loginFormats() []string {
	var out []string
	for _, f := range formats() {
		out = append(out, f.name)
	}
	return out
}

func loginFormat(name string) (format, bool) {
	for _, f := range formats() {
		if f.name == name {
			return f, true
		}
	}
	return format{}, false
}

// refreshMargin is how long before its end a login is as good as over: programs
// renew it then, which a guest cannot.
const refreshMargin = 10 * time.Minute

// ReadHostLogin reads the login of a program of this host. A failure is a
// *LoginError.
func ReadHostLogin(name string, host Host) (*HostLogin, error) {
	f, ok := loginFormat(name)
	if !ok {
		return nil, fmt.Errorf("no login of the format %.40q is known; known: %s", name, strings.Join(loginFormats(), ", "))
	}
	path, err := f.path(host)
	fail := func(problem string, cause error) (*HostLogin, error) {
		return nil, &LoginError{Format: name, File: path, Problem: problem, Renew: f.renew, cause: cause}
	}
	if err != nil {
		return fail(err.Error(), nil)
	}
	data, err := manifest.ReadOwn(path)
	var unfit *manifest.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail("there is none", err)
	case errors.As(err, &unfit):
		return fail(strings.TrimSuffix(unfit.Problem+"; "+unfit.Hint, "; "), err)
	case err != nil:
		return fail("it cannot be read", err)
	}
	login, err := f.read(data)
	if err != nil {
		return fail(err.Error(), nil)
	}
	if left := login.Expires.Sub(host.Now); left < refreshMargin {
		when := "expired at "
		if left > 0 {
			when = "expires at "
		}
		return fail("it "+when+login.Expires.UTC().Format(time.RFC3339), nil)
	}
	login.Format, login.placeholder.Path, login.placeholder.Mode, login.placeholder.Format = name, f.guest, defaultMode, FormatText
	return &login, nil
}

// path is where the file stands on this host.
func (f format) path(host Host) (string, error) {
	if dir, ok := host.LookupEnv(f.homeEnv); ok && dir != "" {
		if !filepath.IsAbs(dir) {
			return f.homeEnv, fmt.Errorf("the variable %s is not an absolute path", f.homeEnv)
		}
		return filepath.Join(dir, f.file), nil
	}
	home, ok := host.LookupEnv("HOME")
	if !ok || !filepath.IsAbs(home) {
		return "~/" + f.dir + "/" + f.file, errors.New("the variable HOME is not set to an absolute path")
	}
	return filepath.Join(home, f.dir, f.file), nil
}

// wrapToken puts a token away. One that no header can hold is not one.
func wrapToken(token string) (secret.Value, error) {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return secret.Value{}, errors.New("its token holds something that no header can")
	}
	return secret.New(token), nil
}

// Bounds of what is taken over from a login.
const (
	maxFact   = 200
	maxScopes = 32
)

// fact reports whether s may be taken over into a guest: a short plain word and
// nothing that looks like a credential.
func fact(s string) bool {
	return len(s) <= maxFact && !manifest.LooksSecret(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// errForeign is the problem of a file that its program did not write.
var errForeign = errors.New("it is not what this program writes")

// unsignedToken is a token in the form of a JWT, with claims that anybody may
// know and without a signature that anybody could use.
func unsignedToken(claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc.EncodeToString(body) + "." + enc.EncodeToString([]byte(placeholderMark)), nil
}

// claimsOf reads a token's claims without judging them.
func claimsOf(token string, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errForeign
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(body, into) != nil {
		return errForeign
	}
	return nil
}
