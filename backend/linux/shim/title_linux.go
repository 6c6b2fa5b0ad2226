package shim

import (
	"os"
	"strings"
	"unsafe"
)

// titleLength is the room for an id in the arguments; ids have 40 characters
// at most.
const titleLength = 40

// Args are the arguments a shim is started with: room for the id of the bottle
// it will keep, which it does not know yet.
func Args() []string {
	return []string{"bottle-mcp", "shim", strings.Repeat("-", titleLength)}
}

// setTitle writes the id where ps reads arguments, so that people can tell
// which bottle a process keeps. The kernel shows the memory that the arguments
// were passed in, which the runtime's os.Args points to.
func setTitle(id string) {
	if len(os.Args) != 3 || len(os.Args[2]) != titleLength || len(id) > titleLength {
		return
	}
	room := unsafe.Slice(unsafe.StringData(os.Args[2]), titleLength) //nolint:gosec // within the bounds just checked
	clear(room[copy(room, id):])
}
