// Package shape is what the stand-in prints: the documents of Apple's container
// program as Go types, and an encoder that writes them as Apple's does, with
// sorted keys, escaped slashes, and either on one line or indented. It also
// knows the shapes that releases before 1.0.0 and from 1.3.0 on print.
//
// Does not live here: where the values come from (engine), and reading such
// documents for use, which is the product's business.
package shape
