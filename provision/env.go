package provision

import (
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// wiring is what the environment of a guest is made from.
type wiring struct {
	endpoints backend.Endpoints
	// extra are the manifest's and the request's variables. None of them is
	// reserved.
	extra map[string]string
}

// environment builds the whole environment of a guest, sorted by name. It is
// set before anything runs there.
func environment(w wiring) []string {
	env := baseEnv()
	maps.Copy(env, w.extra)
	maps.Copy(env, trustEnv())
	maps.Copy(env, proxyEnv(w.endpoints))
	if w.endpoints.GitGate != "" {
		env["GIT_GATE_URL"] = w.endpoints.GitGate
	}
	if w.endpoints.Supervise != "" {
		env["MCP_SUPERVISE_URL"] = w.endpoints.Supervise
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// baseEnv is what every program expects. A manifest may set it differently.
func baseEnv() map[string]string {
	return map[string]string{
		"HOME":    backend.AgentHome,
		"USER":    backend.AgentUser,
		"LOGNAME": backend.AgentUser,
		"SHELL":   "/bin/sh",
		"PATH":    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG":    "C.UTF-8",
		// There is no terminal: programs that ask do without colours.
		"TERM": "dumb",
	}
}

// proxyEnv leads clients to the egress proxy. curl, wget and PHP read
// http_proxy in lower case only; ALL_PROXY is left out, because clients take
// it for SOCKS.
func proxyEnv(e backend.Endpoints) map[string]string {
	if e.Egress == "" {
		return nil
	}
	direct := strings.Join(append([]string{"localhost", "127.0.0.1", "::1"}, e.NoProxy...), ",")
	return map[string]string{
		"HTTP_PROXY": e.Egress, "http_proxy": e.Egress,
		"HTTPS_PROXY": e.Egress, "https_proxy": e.Egress,
		"NO_PROXY": direct, "no_proxy": direct,
		// Node reads proxy variables only when told to (22.21, 24.0 and later).
		"NODE_USE_ENV_PROXY": "1",
	}
}

// trustEnv makes clients trust the bottle's CA. All but Node's variable
// replace the system's roots, so they name the bundle that holds both.
func trustEnv() map[string]string {
	env := map[string]string{
		"NODE_EXTRA_CA_CERTS": backend.GuestCACert,
		"NODE_USE_SYSTEM_CA":  "1",
		"DENO_TLS_CA_STORE":   "system",
	}
	for _, name := range []string{
		"SSL_CERT_FILE",                    // OpenSSL, Go, Python's ssl and httpx, Bun
		"CURL_CA_BUNDLE",                   // curl, requests
		"REQUESTS_CA_BUNDLE",               // requests
		"PIP_CERT",                         // pip
		"GIT_SSL_CAINFO",                   // git reads this one only
		"AWS_CA_BUNDLE",                    // botocore
		"CARGO_HTTP_CAINFO",                // cargo
		"CODEX_CA_CERTIFICATE",             // Codex
		"DENO_CERT",                        // Deno
		"npm_config_cafile",                // npm
		"PERL_LWP_SSL_CA_FILE",             // LWP
		"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC
		"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
		"NIX_SSL_CERT_FILE",
		"HTTPLIB2_CA_CERTS",
	} {
		env[name] = backend.GuestCABundle
	}
	return env
}

// reservedEnv reports whether a variable is the wiring's and nobody else's.
func reservedEnv(name string) bool {
	for _, prefix := range []string{"EGRESS_TOKEN_", "BOT_BOTTLE_", "BOTTLE_MCP_"} {
		if strings.HasPrefix(strings.ToUpper(name), prefix) {
			return true
		}
	}
	switch name {
	case "GIT_GATE_URL", "MCP_SUPERVISE_URL", "ALL_PROXY", "all_proxy":
		return true
	}
	_, trust := trustEnv()[name]
	_, proxy := proxyEnv(backend.Endpoints{Egress: "x"})[name]
	return trust || proxy
}

// baseName reports whether a variable is one of the base, which a manifest may
// set and a request may not.
func baseName(name string) bool {
	_, ok := baseEnv()[name]
	return ok
}
