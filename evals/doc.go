// Package evals holds what looks at the product from outside, through its
// public surfaces alone: clients of other makers, benchmarks against peers,
// real work in real bottles. Product code does not live here.
package evals
