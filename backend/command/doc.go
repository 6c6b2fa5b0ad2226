// Package command runs the external programs of the engines: one way to start
// a program, bound it and tell how it ended.
//
// # Invariants
//
// A program gets a fixed argument vector, never a shell, and exactly the
// environment that it is given. It ends with ctx or its timeout: SIGTERM to its
// process group, SIGKILL after the grace. Its output is streamed to the
// caller's writers or captured within bounds, and a program that prints without
// end is killed. A descendant that keeps an inherited pipe open, an input that
// never ends and a writer that blocks delay Run by a bounded time only. An
// error never shows an argument's value or the environment.
//
// # Does not live here
//
// What the programs are called with and what their output means (the engines),
// and how guests' commands are run (backend.Backend.Exec).
package command
