// Package sidecars holds the contract between a bottle and the daemons that serve it from
// outside the guest: service names, ports, configuration and log lines. The
// daemons live in the packages below it; engines and MCP tools do not.
package sidecars
