// Command realwork does real work in real bottles through the MCP surface: it
// copies this repository with its .git into a bottle, looks at git status,
// downloads Go modules and npm packages through the egress proxy with only
// their registry allowed, and runs a real test suite. Then it tries the same
// with the registry not allowed, and demands a refusal that says why.
//
// Registries are read at run time from the clients' own configuration on this
// host (go env GOPROXY, npm config get registry):
//
//	go run ./evals/realwork -binary bin/bottle-mcp -repo .
package main
