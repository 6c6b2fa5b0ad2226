// Command bench measures bottle-mcp against its peers in one run and prints
// medians and ratios. It uses the MCP surface over stdio; the peers are crun
// (the same topology: an empty network namespace with a handed-over listener)
// and Podman with no network. It is for Linux as root, with crun, podman and
// busybox installed:
//
//	go run ./evals/bench -binary bin/bottle-mcp -out evals/results/linux.md
package main
