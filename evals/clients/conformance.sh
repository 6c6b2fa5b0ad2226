#!/usr/bin/env bash
# The conformance suite's generic server scenarios against a bottle-mcp binary
# over HTTP. The others need tools, prompts and resources made for the suite.
#
#   conformance.sh BINARY
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?usage: conformance.sh BINARY}")
node=${NODE22:-$here/node_modules/node/bin/node}
readonly scenarios="server-initialize ping tools-list server-sse-multiple-streams dns-rebinding-protection logging-set-level"
scratch=$(mktemp -d)
passed=0 failed=0

"$node" "$here/bearer-proxy.mjs" "$binary" "$scratch/port" &
proxy=$!
cleanup() { kill "$proxy" 2>/dev/null || true; wait "$proxy" 2>/dev/null || true; rm -rf "$scratch"; }
trap cleanup EXIT

for _ in $(seq 200); do
	[ -s "$scratch/port" ] && break
	kill -0 "$proxy" 2>/dev/null || { echo "the proxy or its server did not start"; exit 1; }
	sleep 0.1
done
url=http://127.0.0.1:$(cat "$scratch/port")/mcp

for scenario in $scenarios; do
	status=0
	out=$(timeout 60 "$node" "$here/node_modules/@modelcontextprotocol/conformance/dist/index.js" \
		server --url "$url" --scenario "$scenario" -o "$scratch/results" 2>&1) || status=$?
	# The exit code alone would also pass a scenario without a check.
	if [ "$status" -eq 0 ] && grep -qE 'Passed: [1-9][0-9]*/[0-9]+, 0 failed' <<<"$out"; then
		passed=$((passed + 1))
		echo "ok    conformance: $scenario ($(grep -oE 'Passed: .*' <<<"$out" | head -n 1))"
	else
		failed=$((failed + 1))
		echo "FAIL  conformance: $scenario, exit $status:"
		tail -c 3000 <<<"$out"
	fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
