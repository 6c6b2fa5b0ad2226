package main

// hiddenVerb runs the verbs that this program starts itself as: the keeper of a
// bottle (shim), what runs inside one (guest) and its sidecar. It looks at the
// arguments alone and comes before everything else, since these processes
// start once per bottle and must be small and quick.
func hiddenVerb(args []string) (handled bool, code int) {
	if len(args) < 2 {
		return false, 0
	}
	switch args[1] {
	case "shim", "guest", "sidecar":
		return true, runHidden(args[1:])
	}
	return false, 0
}
