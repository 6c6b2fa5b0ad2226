// Package peers is the module of the programs that egressbench measures the
// product beside, so that the product does not depend on them.
package peers
