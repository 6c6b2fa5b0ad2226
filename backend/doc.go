// Package backend holds the seam between the product and the engines that run bottles:
// the Backend interface, the engine-neutral types it speaks, and the selection of a
// backend. Engines live in the packages below it; policy does not live here.
package backend
