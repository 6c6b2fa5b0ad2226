#!/usr/bin/env bash
# The MCP Inspector's command line against a bottle-mcp binary, on both
# transports: every tool, the strict schema check, and a short load.
#
#   inspector.sh BINARY
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?usage: inspector.sh BINARY}")
node=${NODE22:-$here/node_modules/node/bin/node}
scratch=$(mktemp -d)
export XDG_STATE_HOME=$scratch/state HOME=$scratch NO_COLOR=1
passed=0 failed=0 server=

cleanup() {
	if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
	"$binary" cleanup --all --yes >/dev/null 2>&1 || true
	rm -rf "$scratch"
}
trap cleanup EXIT

inspect() { timeout 60 "$node" "$here/node_modules/.bin/mcp-inspector" --cli "$@"; }

# check NAME PATTERN COMMAND… wants exit code 0 and PATTERN in the output.
check() {
	local name=$1 pattern=$2 out status=0
	shift 2
	out=$("$@" 2>&1) || status=$?
	if [ "$status" -eq 0 ] && grep -qE -- "$pattern" <<<"$out"; then
		passed=$((passed + 1))
		echo "ok    $name"
	else
		failed=$((failed + 1))
		echo "FAIL  $name: exit $status, wanted 0 and /$pattern/ in:"
		head -c 3000 <<<"$out"
		echo
	fi
}

# tools NAME TARGET… runs every check against one target.
tools() {
	local name=$1 id=inspector-$1-$$
	shift
	check "$name: tools/list is portable" '"cleanup"' inspect "$@" --method tools/list --strict
	check "$name: list" '"bottles"' inspect "$@" --method tools/call --tool-name list --tool-args-json '{}'
	check "$name: launch, dry run" '"dry_run": ?true' inspect "$@" --method tools/call --tool-name launch --tool-args-json "{\"id\":\"$id\",\"dry_run\":true}"
	check "$name: launch" '"state": ?"running"' inspect "$@" --method tools/call --tool-name launch --tool-args-json "{\"id\":\"$id\"}"
	check "$name: exec" '"exit_code": ?0' inspect "$@" --method tools/call --tool-name exec --tool-args-json "{\"id\":\"$id\",\"command\":[\"id\",\"-un\"]}"
	check "$name: exec by arguments" '"stdout": ?"hello' inspect "$@" --method tools/call --tool-name exec --tool-arg "id=$id" 'command=["echo","hello"]' timeout_seconds=5
	check "$name: cp" '"direction": ?"write"' inspect "$@" --method tools/call --tool-name cp --tool-args-json "{\"id\":\"$id\",\"to\":\"bottle:a.txt\",\"content\":\"x\"}"
	check "$name: resources" 'bottle://' inspect "$@" --method resources/templates/list
	check "$name: load" '"ok": ?100' inspect "$@" --method tools/call --tool-name list --tool-args-json '{}' --load --load-requests 100 --load-concurrency 8
	check "$name: cleanup" '"done": ?true' inspect "$@" --method tools/call --tool-name cleanup --tool-args-json "{\"ids\":[\"$id\"]}"
}

mkdir "$scratch/root"
cd "$scratch/root"

# Each call is a server of its own here: bottles must outlive it.
tools stdio "$binary" serve

token=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
(umask 077 && echo "$token" >"$scratch/token")
"$binary" serve --http 127.0.0.1:0 --token-file "$scratch/token" 2>"$scratch/log" &
server=$!
url=
for _ in $(seq 200); do
	url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+/mcp' "$scratch/log" | head -n 1 || true)
	[ -z "$url" ] || break
	sleep 0.1
done
[ -n "$url" ] || { echo "the server does not say where it listens:"; cat "$scratch/log"; exit 1; }
tools http "$url" --transport http --header "Authorization: Bearer $token"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
