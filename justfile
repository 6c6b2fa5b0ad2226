# Recipes for people. The continuous build runs `.ci/run`, which needs no just.
# just itself comes from npm: npm install --global rust-just

export CGO_ENABLED := "0"
platforms := "linux/amd64 linux/arm64 darwin/amd64 darwin/arm64"
golangci := "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0"

# List the recipes
default:
	@just --list

# Build the one binary into bin/
build:
	go build -trimpath -o bin/bottle-mcp ./cmd/bottle-mcp

# Launch a real bottle, check it from inside and remove it
probe *ARGS:
	go run ./cmd/bottle-mcp probe {{ARGS}}

# All tests, or those of the packages given
test *PACKAGES="./...":
	go test {{PACKAGES}}

# Tests under the race detector (needs a C compiler)
race *PACKAGES="./...":
	CGO_ENABLED=1 go test -race {{PACKAGES}}

# gofmt, vet for every platform, golangci-lint
lint:
	#!/usr/bin/env bash
	set -euo pipefail
	unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
	if [ -n "$unformatted" ]; then echo "gofmt would change:"; echo "$unformatted"; exit 1; fi
	for p in {{platforms}}; do GOOS=${p%/*} GOARCH=${p#*/} go vet ./...; done
	go run {{golangci}} run ./...

# Benchmarks; results belong into evals/results/
bench PACKAGES="./..." *ARGS:
	go test -run '^$' -bench . -benchmem -count 5 {{ARGS}} {{PACKAGES}}

# Against crun and Podman, through MCP: as root, with crun, podman and busybox-static
peers OUT="evals/results/linux.md": build
	go run ./evals/bench -binary bin/bottle-mcp -out {{OUT}}

# The egress proxy beside goproxy and mitmdump: as root, with unshare; mitmdump is Debian's package mitmproxy
bench-egress *ARGS: build
	go run ./evals/egressbench -binary bin/bottle-mcp {{ARGS}}

# The macos-container backend on the Linux stand-in of Apple's container: as root, with Podman
standin *ARGS:
	BOTTLE_MCP_STANDIN=1 go test -count 1 -p 1 -timeout 30m ./backend/macoscontainer/... ./evals/applecontainer/... {{ARGS}}
	BOTTLE_MCP_STANDIN=1 go test -count 1 -timeout 30m -run '^TestStandIn$' ./provision/provisiontest {{ARGS}}

# What provisioning takes: steps, workspaces beside tar, 500 manifests; results belong into evals/results/provisioning.md
bench-provision:
	go test -run '^$' -bench Provisioning -benchtime 20x ./provision
	go test -run '^$' -bench Workspace -benchtime 5x ./provision
	go test -run '^$' -bench Load500 -benchtime 20x ./provision/manifest

# The same backend on a real Mac; see docs/macos.md
mac:
	BOTTLE_MCP_MAC=1 go test ./backend/macoscontainer -run TestMac -v -count 1 -timeout 60m

# Every fuzz target for the time given
fuzz TIME="30s":
	#!/usr/bin/env bash
	set -euo pipefail
	for dir in $(git grep -lE '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do
		for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //'); do
			echo "== $dir $target"
			go test -run '^$' -fuzz "^$target\$" -fuzztime {{TIME}} "./$dir"
		done
	done

# What every backend can do on this host, and how to fix what is missing
engines:
	go run ./cmd/bottle-mcp doctor

# The linux build that runs inside guests and sidecars of a Mac
sidecar-linux ARCH=(if os() == "macos" { "arm64" } else { `go env GOARCH` }):
	GOOS=linux GOARCH={{ARCH}} go build -trimpath -ldflags '-s -w' -o bin/bottle-mcp-linux-{{ARCH}} ./cmd/bottle-mcp

# The program for a Mac with its linux twin inside, as a release has it
release-darwin OUT="dist/darwin-arm64/bottle-mcp": (sidecar-linux "arm64")
	#!/usr/bin/env bash
	set -euo pipefail
	embedded=backend/macoscontainer/images/bottle-mcp-linux-arm64
	trap 'rm -f "$embedded"' EXIT
	cp bin/bottle-mcp-linux-arm64 "$embedded"
	GOOS=darwin GOARCH=arm64 go build -trimpath -tags bottle_twin -ldflags '-s -w' -o {{OUT}} ./cmd/bottle-mcp

# Vet and build every platform as a release does, with the digests to compare
release-check:
	#!/usr/bin/env bash
	set -euo pipefail
	for p in {{platforms}}; do
		export GOOS=${p%/*} GOARCH=${p#*/}
		echo "== $p"
		go vet ./...
		go build -trimpath -ldflags '-s -w' -o "dist/$GOOS-$GOARCH/bottle-mcp" ./cmd/bottle-mcp
	done
	(cd dist && sha256sum */bottle-mcp)
