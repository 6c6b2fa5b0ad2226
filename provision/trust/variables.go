package trust

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// JavaOptions is the variable that every Java program reads. The machine says so
// with a line on standard error ("Picked up JAVA_TOOL_OPTIONS: …") whenever one
// starts; there is no other way to reach all of them.
const JavaOptions = "JAVA_TOOL_OPTIONS"

// Places of our own files in the guest.
const (
	dir       = backend.AgentHome + "/.bottle"
	envFile   = dir + "/env.sh"
	javaStore = dir + "/cacerts.jks"
)

// CAVariables makes clients trust the bottle's CA. All but Node's variable
// replace the system's roots, so they name the bundle that holds both.
func CAVariables() map[string]string {
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

// BottlesVariable leads to the MCP server of a bottle that may launch others.
const BottlesVariable = "BOTTLE_MCP_URL"

// ProxyVariables leads clients to the egress proxy. curl, wget and PHP read
// http_proxy in lower case only; ALL_PROXY is left out, because clients take
// it for SOCKS.
func ProxyVariables(e backend.Endpoints) map[string]string {
	if e.Egress == "" {
		return nil
	}
	direct := strings.Join(noProxy(e), ",")
	return map[string]string{
		"HTTP_PROXY": e.Egress, "http_proxy": e.Egress,
		"HTTPS_PROXY": e.Egress, "https_proxy": e.Egress,
		"NO_PROXY": direct, "no_proxy": direct,
		// Node reads proxy variables only when told to (22.21, 24.0 and later).
		"NODE_USE_ENV_PROXY": "1",
	}
}

// noProxy are the names that clients reach without the proxy.
func noProxy(e backend.Endpoints) []string {
	return append([]string{"localhost", "127.0.0.1", "::1"}, e.NoProxy...)
}

// Java is the value of JavaOptions. What others want in it follows behind, where
// a repeated property wins.
func Java(e backend.Endpoints) string {
	options := []string{
		"-Djavax.net.ssl.trustStore=" + javaStore,
		"-Djavax.net.ssl.trustStoreType=JKS",
		"-Djavax.net.ssl.trustStorePassword=" + storePassword,
	}
	if host, port, ok := hostPort(e.Egress); ok {
		for _, scheme := range []string{"http", "https"} {
			options = append(options, fmt.Sprintf("-D%s.proxyHost=%s", scheme, host), fmt.Sprintf("-D%s.proxyPort=%s", scheme, port))
		}
		// https has no list of its own: it uses this one.
		options = append(options, "-Dhttp.nonProxyHosts="+javaDirect(e))
	}
	return strings.Join(options, " ")
}

// javaDirect are the names without the proxy as Java writes them.
func javaDirect(e backend.Endpoints) string {
	names := []string{"localhost", "127.*", "[::1]"}
	for _, n := range e.NoProxy {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return strings.Join(names, "|")
}

// hostPort splits the proxy's URL for clients that want the parts.
func hostPort(proxy string) (host, port string, ok bool) {
	u, err := url.Parse(proxy)
	if err != nil || proxy == "" || u.Hostname() == "" || u.Port() == "" {
		return "", "", false
	}
	return u.Hostname(), u.Port(), true
}

// variables is everything that a process without an environment lacks.
func variables(e backend.Endpoints) map[string]string {
	env := CAVariables()
	for name, value := range ProxyVariables(e) {
		env[name] = value
	}
	env[JavaOptions] = Java(e)
	if e.Bottles != "" {
		env[BottlesVariable] = e.Bottles
	}
	return env
}
