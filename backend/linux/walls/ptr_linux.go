package walls

import "unsafe"

// ptr passes the address of a system call's structure. The callers keep the
// structure alive on their stack across the call.
func ptr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }
