package cli

import "strings"

// passed are the variables that the program needs, each for a reason. Above all
// these are not among them: CONTAINER_DEBUG (noise on stderr),
// CONTAINER_DEFAULT_PLATFORM (another platform than ours), SSH_AUTH_SOCK (the
// agent's keys would go to the daemon), BUILDKIT_COLORS and NO_COLOR (the
// builder is made anew when they differ), the proxies (of this host, they would
// lead builds past or into something nobody meant), XDG_* (the program's
// configuration is below HOME alone), and whatever token the operator's shell
// holds.
var passed = []string{
	"HOME",    // its configuration file, and the data directory
	"PATH",    // its plugins' helpers
	"TMPDIR",  // archives it unpacks; on a Mac a private directory
	"USER",    // registry log-in and launchd session look-ups
	"LOGNAME", // the same in other libraries
	"LANG",    // text is UTF-8; so are LC_*
}

// standInPrefix marks settings of the stand-in that tests put in the program's
// place. It names nothing of Apple's program.
const standInPrefix = "BOTTLE_STANDIN_"

// scrub returns what the program may see of an environment.
func scrub(environ []string) []string {
	out := []string{}
	for _, kv := range environ {
		if name, _, ok := strings.Cut(kv, "="); ok && passes(name) {
			out = append(out, kv)
		}
	}
	return out
}

func passes(name string) bool {
	if strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, standInPrefix) {
		return true
	}
	for _, p := range passed {
		if name == p {
			return true
		}
	}
	return false
}
