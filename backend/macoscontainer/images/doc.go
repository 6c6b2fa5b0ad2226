// Package images is everything about images for Apple's container: the linux
// build of this program that guests run, the sidecar image made of it, the
// agent image built from a Dockerfile, and the resolver of the builder.
//
// Nothing here pulls an image. What is made here is named below
// bottle-mcp.invalid, a name that never resolves (RFC 2606), and after its
// content: an image that is missing can be made again, never fetched from
// somewhere, and one that is there is the one that was meant.
//
// # Release builds
//
// A darwin binary needs its linux/arm64 twin. With the build tag bottle_twin it
// carries it: put the twin into this directory as bottle-mcp-linux-arm64 and
// build with -tags bottle_twin (just release-darwin does both). Without the tag
// the twin is looked for beside the binary; see [Images.Twin].
//
// Does not live here: how the container program is called (cli) and what a
// bottle is made of (macoscontainer).
package images
