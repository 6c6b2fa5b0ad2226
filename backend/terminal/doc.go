// Package terminal carries a command's pseudo terminal between its two ends.
//
// Lives here: the host's half, Input, which puts what is typed and the sizes of
// the window into one stream of frames; and the guest's half, which opens a
// terminal in the guest's own devpts and moves bytes between it and the streams
// of whoever started the command. Does not live here: who the command is and
// how it ends, which is the engine's.
//
// No terminal and no descriptor of this host ever gets to a guest, and none of a
// guest's gets out: an ioctl of a hostile command has only its own terminal to
// act on.
//
// # The stream
//
// A frame is a kind, a length of two bytes (big endian) and as much payload:
// 'i' is input of 1 to 16384 bytes, 'r' is a size (rows and columns, two bytes
// each), 'e' says that the input has ended. Anything else breaks the stream,
// which is no more read. The output is not framed.
package terminal
