// Package provisiontest is what provisioning promises, as tests that every
// backend passes unchanged.
//
// Lives here: the suite, which launches bottles with an agent, skills, a prompt
// and a workspace and looks at what is inside; the real programs that must reach
// the Internet from an empty environment; and its runs on the linux backend and
// on the stand-in of Apple's container. Does not live here: what a plan refuses
// (package provision), what one step's guest half does with each file (package
// setup), and isolation (backendtest, selftest).
package provisiontest
