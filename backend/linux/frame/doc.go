// Package frame is the wire between the processes of one Linux bottle: JSON
// frames with a length prefix over unix sockets, with file descriptors where
// the receiver asks for them, and frames of plain bytes for what must not be in
// an encoder's buffers.
//
// Lives here: bounded reading and writing. Does not: what the frames mean (see
// proto in guest and shim). A peer may be hostile: sizes are checked before
// memory is taken, and descriptors are accepted only by RecvFiles.
package frame
