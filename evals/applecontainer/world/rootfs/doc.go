// Package rootfs writes the file systems of the test images as tar streams,
// from programs of this machine: no registry is needed, and the same machine
// writes the same bytes twice. Loading them into an engine does not live here.
package rootfs
