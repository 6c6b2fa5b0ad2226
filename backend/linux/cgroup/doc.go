// Package cgroup limits a bottle through control groups where this process
// may: as root on either version, as a user where version 2 is delegated.
//
// Lives here: finding a place, limits, usage, removal. Does not: namespaces.
// A place that is missing is a reason in words, never an error: the other
// limits still hold, and the report says which are in force.
package cgroup
