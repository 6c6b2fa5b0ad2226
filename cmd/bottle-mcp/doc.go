// Command bottle-mcp gives agents isolated bottles: it serves MCP tools that
// launch, use and remove them, and offers the same to people as verbs.
//
// Lives here: flags, wiring, and what people read on a terminal. Does not live
// here: what a tool does (tools), what a bottle is (provision), how one runs
// (backend). Standard output belongs to the protocol under serve and to the
// command's own output under run; everything else goes to standard error.
//
// # Exit codes
//
//	0    done
//	1    it failed, or something checked is red
//	2    the command line is wrong
//	124  run: the time limit passed
//	125  run: the bottle failed, not the command
//	126  run: the command cannot be executed
//	127  run: the command does not exist
//	130  interrupted
//
// Every other code of run is that of the command, 128+N when signal N ended it.
package main
