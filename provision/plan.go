package provision

// resolvedPlan carries what Launch needs and callers must not see.
type resolvedPlan struct{}
