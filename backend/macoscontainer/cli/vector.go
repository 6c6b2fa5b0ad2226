package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// vector is an argument vector under construction. The first thing that it
// cannot say is its error, and then nothing runs.
//
// Options come first, each as --name=value: a value of its own would be taken
// for an option when it begins with a dash, and for a request to print
// something when it is --help. An empty value stands alone, because "--name="
// means "no value here" and swallows the next word. Words that are no options
// come behind "--", where nothing is special. One-letter options are not used
// but for -n of logs, which has no other name.
type vector struct {
	command string
	object  string
	argv    []string
	err     *Error
}

// subcommand begins a vector; the object is what messages call its subject.
func subcommand(object string, words ...string) *vector {
	return &vector{command: strings.Join(words, " "), object: object, argv: slices.Clone(words)}
}

// error is an *Error of this command.
func (v *vector) error(kind Kind, message string) *Error {
	return &Error{Command: v.command, Object: v.object, Kind: kind, Code: -1, Message: message}
}

// refuse notes why the vector cannot be said. It must not quote values that can
// be secret.
func (v *vector) refuse(format string, args ...any) {
	if v.err == nil {
		v.err = v.error(KindArgument, fmt.Sprintf(format, args...))
	}
}

// check refuses with a check's error.
func (v *vector) check(err error) {
	if err != nil {
		v.refuse("%v", err)
	}
}

// flag adds --name when on.
func (v *vector) flag(name string, on bool) {
	if on {
		v.argv = append(v.argv, "--"+name)
	}
}

// option adds one value.
func (v *vector) option(name, value string) {
	if err := text(value); err != nil {
		v.refuse("--%s: %v", name, err)
		return
	}
	if value == "" {
		v.argv = append(v.argv, "--"+name, "")
		return
	}
	v.argv = append(v.argv, "--"+name+"="+value)
}

// given adds one value unless it is empty.
func (v *vector) given(name, value string) {
	if value != "" {
		v.option(name, value)
	}
}

// options adds several values of one option.
func (v *vector) options(name string, values []string) {
	for _, value := range values {
		v.option(name, value)
	}
}

// pairs adds a map as --name=key=value, in order of the keys.
func (v *vector) pairs(name string, m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v.option(name, k+"="+m[k])
	}
}

// words ends the vector with what is no option.
func (v *vector) words(words ...string) {
	for i, w := range words {
		if err := text(w); err != nil {
			v.refuse("word %d: %v", i+1, err)
		}
	}
	v.argv = append(append(v.argv, "--"), words...)
}

func (v *vector) finish() ([]string, error) {
	if v.err != nil {
		return nil, v.err
	}
	return v.argv, nil
}

// text refuses what no argument can carry: a NUL ends it, and the program
// replaces what is not UTF-8 by something else without a word.
func text(s string) error {
	switch {
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("it holds a NUL byte, which no argument can carry")
	case !utf8.ValidString(s):
		return fmt.Errorf("it is not valid UTF-8, which the program would change")
	}
	return nil
}
