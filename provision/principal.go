package provision

// Principal is who makes a call, established by the transport and never by the
// call's own words.
type Principal struct {
	// Kind is Operator (stdio, or the operator's bearer token) or Guest (a
	// bottle's own token; not issued yet).
	Kind PrincipalKind
	// Bottle is the calling bottle when Kind is Guest.
	Bottle string
}

// PrincipalKind separates the operator's orchestrator from bottles.
type PrincipalKind string

// The kinds of principal.
const (
	Operator PrincipalKind = "operator"
	Guest    PrincipalKind = "guest"
)
