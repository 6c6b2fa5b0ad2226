// Package early runs the processes of a bottle before the rest of the program
// initialises. Importing it is enough.
//
// Packages initialise in the order of their import paths as soon as what they
// import has (Go specification, "Program initialization"; fixed since Go
// 1.21). This one imports little and sorts before the heavy ones, so its init
// comes first and never returns in those processes. Should that order ever
// change, they would only start more slowly.
package early
