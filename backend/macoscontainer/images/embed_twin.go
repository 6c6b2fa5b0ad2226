//go:build bottle_twin

package images

import _ "embed" // the twin of a release

// embeddedTwin is the linux/arm64 build of this program. The file is put here
// by the release recipe and is not committed.
//
//go:embed bottle-mcp-linux-arm64
var embeddedTwin string
