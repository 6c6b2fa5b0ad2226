// Package provision turns manifests and requests into plans, and plans into live bottles:
// attenuation, launch order with rollback, environment wiring, the isolation
// self-test, state, list and cleanup. Engine commands do not live here.
package provision
