package main

// hiddenVerb runs the verbs that this program starts itself as: the keeper of a
// bottle (shim), what runs inside one (guest) and its sidecar. Most have run in
// package early already.
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
