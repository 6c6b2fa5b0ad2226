// Package faults reads what the stand-in is told to do wrong. Each file of the
// directory switches on the fault of its name, its content being the value; the
// file next holds a fault for one of the calls to come, which is consumed when
// it fires. Everything is read anew at every call.
//
// Does not live here: doing it wrong (engine and the program), and writing the
// files, which tests do.
package faults
