package images

import "github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"

// The program's wrappers are what this package asks for.
var _ Engine = (*cli.CLI)(nil)
