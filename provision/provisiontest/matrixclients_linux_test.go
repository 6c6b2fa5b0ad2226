package provisiontest

import (
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// installed is where .ci/run puts what it has from npm. Bottles see it, as all of
// /usr.
const installed = "/usr/local/lib/bottle-mcp-clients/node_modules"

// HTTP clients make every request that the matrix asks for; package managers
// fetch what they are for.
type matrixClient struct {
	name string
	need string // ends with 0 where a guest has it
	ci   bool   // Debian or npm has it, so the continuous build installs it

	// drive is a driver of testdata/drive; more are its cells beside the basic
	// ones.
	drive string
	more  []string
	// limits are cells that this client cannot do, and why.
	limits map[string]string

	// fetch is the command of a package manager; $URL is its registry.
	fetch string
}

// basicCells are those of every HTTP client.
func basicCells() []string {
	return []string{"get", "foreign", "host", "path", "method", "upload", "secret"}
}

func (c matrixClient) tag() string { return Client{Name: c.name}.Tag("")[:len(c.name)] }

// matrixClients is the matrix of docs/linux.md.
func matrixClients() []matrixClient {
	const blindWebSocket = "its WebSocket asks no proxy"
	node := installed + "/node/bin/node"
	stream := []string{"download", "cancel", "sse"}
	web, trailers := slices.Concat(stream, []string{"ws", "ws-secret"}), slices.Concat(stream, []string{"trailers"})
	python := func(name, module string, more ...string) matrixClient {
		return matrixClient{name: name, ci: true, need: "/usr/bin/python3 -c 'import " + module + "'", drive: "/usr/bin/python3 drive.py " + name, more: more}
	}
	return []matrixClient{
		{name: "curl", ci: true, need: "command -v curl", drive: "sh drive.sh curl", more: trailers},
		{name: "wget", ci: true, need: "wget --version | grep -q GNU", drive: "sh drive.sh wget"},
		{name: "openssl", ci: true, need: "command -v openssl", drive: "sh drive.sh openssl"},
		{name: "go", ci: true, need: "true", drive: backend.GuestBinary + " drive", more: slices.Concat(web, []string{"trailers"})},
		{name: "node-fetch", ci: true, need: "test -x " + node, drive: node + " drive.mjs fetch", more: web},
		{name: "node-https", ci: true, need: "test -x " + node, drive: node + " drive.mjs https", more: trailers},
		{
			name: "undici", ci: true, need: "command -v node && test -d " + installed + "/undici",
			drive: "env -u NODE_USE_ENV_PROXY node drive.mjs undici " + installed + "/undici/index.js", more: stream,
		},
		{name: "deno", ci: true, need: "test -x " + installed + "/deno/deno", drive: installed + "/deno/deno run -A --no-config drive.mjs fetch", more: web},
		{name: "bun", ci: true, need: "test -x " + installed + "/bun/bin/bun.exe", drive: installed + "/bun/bin/bun.exe drive.mjs fetch", more: web,
			limits: map[string]string{"ws": blindWebSocket, "ws-secret": blindWebSocket}},
		python("urllib", "urllib.request", stream...),
		python("requests", "requests", stream...),
		python("httpx", "httpx", stream...),
		python("aiohttp", "aiohttp", web...),
		python("botocore", "botocore"),
		{name: "java", ci: true, need: "command -v javac", drive: "java Drive.java", more: []string{"download", "cancel"}},
		{name: "php", ci: true, need: `php -d extension=curl -r 'exit(extension_loaded("curl") ? 0 : 1);'`, drive: "php -d extension=curl drive.php", more: []string{"download", "cancel"}},
		{name: "lwp", ci: true, need: "perl -MLWP::UserAgent -MLWP::Protocol::https -e1", drive: "perl drive.pl lwp", more: []string{"download"}},
		{name: "http-tiny", ci: true, need: "perl -MHTTP::Tiny -MIO::Socket::SSL -e1", drive: "perl drive.pl tiny", more: []string{"download"}},
		{name: "ruby", ci: true, need: "command -v ruby", drive: "ruby drive.rb", more: []string{"download"}},

		{name: "git", ci: true, need: "command -v git", fetch: `git clone -q "$URL/repo.git" clone && test -s clone/file`},
		{name: "npm", ci: true, need: "command -v npm", fetch: `npm_config_fetch_retries=0 npm install --cache ./cache --registry "$URL/" left && test -s node_modules/left/package.json`},
		{name: "pip", ci: true, need: "/usr/bin/python3 -m pip --version", fetch: `PIP_RETRIES=0 /usr/bin/python3 -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check -d . --index-url "$URL/" left==1.0 && test -s left-1.0.tar.gz`},
		{name: "cargo", ci: true, need: "command -v cargo", fetch: `cargo init -q --name x . && printf 'left = { git = "%s/repo.git" }\n' "$URL" >>Cargo.toml && CARGO_NET_RETRY=0 cargo fetch -q && grep -q 'name = "left"' Cargo.lock`},
		{name: "gem", ci: true, need: "command -v gem", fetch: `gem fetch -q left --clear-sources --source "$URL/"; true`},
		{name: "apt", ci: true, need: "test -x /usr/lib/apt/apt-helper", fetch: `/usr/lib/apt/apt-helper -q -o Acquire::Retries=0 download-file "$URL/file" file && test -s file`},
		{name: "go-command", need: "test -x /usr/local/go/bin/go", fetch: `GOTOOLCHAIN=local GOSUMDB=off GOFLAGS=-modcacherw GOPATH=$PWD/go GOPROXY="$URL" /usr/local/go/bin/go mod download example.com/left@v1.0.0`},
	}
}
