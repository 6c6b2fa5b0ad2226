#!/usr/bin/env bash
# All client scripts against one binary: the one given, or one built here.
#
#   run.sh [BINARY]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ $# -gt 0 ]; then
	binary=$(realpath "$1")
else
	binary=$scratch/bottle-mcp
	(cd "$here/../.." && CGO_ENABLED=0 go build -trimpath -o "$binary" ./cmd/bottle-mcp)
	chmod 0755 "$scratch" # guests read the binary as other users
fi

# The stamp is the lock file that was installed: a changed one installs again.
stamp=$here/node_modules/.installed
if ! cmp -s "$here/package-lock.json" "$stamp"; then
	(cd "$here" && npm ci --no-audit --no-fund --loglevel=error)
	cp "$here/package-lock.json" "$stamp"
fi
export NODE22=$here/node_modules/node/bin/node
"$NODE22" -e 'process.exit(process.versions.node.split(".")[0] >= 22 ? 0 : 1)' ||
	{ echo "the npm package node did not bring Node 22; see the output of npm ci" >&2; exit 1; }

failed=0
run() {
	printf '\n=== %s\n' "$1"
	shift
	"$@" || failed=1
}
run "TypeScript SDK" "$NODE22" "$here/client.mjs" "$binary"
run "Inspector" "$here/inspector.sh" "$binary"
run "conformance" "$here/conformance.sh" "$binary"
exit "$failed"
