// Package tools holds the MCP tools, one file each: typed inputs and outputs, their schemas,
// and the text a model reads. Transports live in server, engines in backend, and
// what a bottle is in provision.
package tools
