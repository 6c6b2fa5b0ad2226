// Package walls puts a process behind the kernel's walls: capabilities, no new
// privileges, seccomp, Landlock, resource limits.
//
// Lives here: how each wall is raised and what it was compiled from. Does not:
// namespaces and mounts, which belong to the process that enters them (guest,
// jail).
package walls
