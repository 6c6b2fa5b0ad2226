package grammar

// Parsed is a command line that the program would run.
type Parsed struct {
	// Path is the command, aliases resolved: ["network", "create"].
	Path []string
	// Options holds the values of options that take one, by canonical name
	// without dashes ("env"), in order.
	Options map[string][]string
	// Flags holds the flags given, by canonical name ("detach").
	Flags map[string]bool
	// Positionals are the words of the command, in order.
	Positionals []string
	// Info is set when the program only prints something and exits with 0:
	// "help", "version" or "completion".
	Info string
}

// Refusal is a command line that the program does not run.
type Refusal struct { //nolint:errname // it is the program's answer, and not a failure of this package
	// Code is the exit code: 64 for usage, 1 for what is checked at run time.
	Code    int
	Message string // as after "Error: "
	// Rule names the rule of the grammar that decided, for test failures.
	Rule string
}

func (r *Refusal) Error() string { return r.Message }
