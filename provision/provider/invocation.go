package provider

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxPromptArgument is what Linux takes as one argument, less its end.
const maxPromptArgument = 128<<10 - 1

// Invocation is a command ready to be run, without a shell.
type Invocation struct {
	Argv  []string
	Stdin string
}

// With gives the command a task. An empty task leaves it out, which only an
// interactive command can do.
func (c Command) With(task string) (Invocation, error) {
	argv := slices.Clone(c.Argv)
	switch {
	case len(argv) == 0:
		return Invocation{}, errors.New("this provider has no such command; give one of your own")
	case strings.ContainsRune(task, 0):
		return Invocation{}, errors.New("the prompt holds a NUL character; leave it out")
	case task == "" && c.Prompt == PromptStdin:
		return Invocation{}, errors.New("this command needs a prompt; give one")
	case task == "":
		return Invocation{Argv: argv}, nil
	case c.Prompt == PromptStdin:
		return Invocation{Argv: argv, Stdin: task}, nil
	case c.Prompt == PromptArgument && len(task) > maxPromptArgument:
		return Invocation{}, fmt.Errorf("the prompt is longer than the %d bytes that an argument can have; put it into a file and name that", maxPromptArgument)
	case c.Prompt == PromptArgument:
		return Invocation{Argv: append(argv, "--", task)}, nil
	}
	return Invocation{}, errors.New("this command takes no prompt; leave it out")
}
