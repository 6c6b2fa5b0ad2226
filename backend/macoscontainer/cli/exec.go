package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// Exec runs a command in a running container and returns when the program has
// ended. The error is about the program: it is nil whatever status it ended
// with. There is no deadline but ctx's. When ctx ends, the program is ended and
// the command in the guest may live on.
func (c *CLI) Exec(ctx context.Context, req ExecRequest) (ExecResult, error) {
	v := req.vector()
	run := call{
		argv: v, stdout: req.Stdout, stderr: req.Stderr, signals: req.Signals, grace: execGrace, terminal: req.TTY,
	}
	if req.Interactive {
		run.stdin = req.Stdin
	}
	if run.stdout == nil {
		run.stdout = io.Discard
	}
	out, err := c.start(ctx, run)
	if err != nil {
		return ExecResult{Code: -1}, err
	}
	var failed *command.Error
	if out.err == nil {
		return ExecResult{}, nil
	}
	if !errors.As(out.err, &failed) || failed.Err != nil || failed.Signal != 0 {
		return ExecResult{Code: out.Code}, v.failure(out)
	}
	res := ExecResult{Code: out.Code}
	if ownWords(out.words, out.Code) {
		res.Failure = v.ownFailure(out)
	}
	return res, nil
}

// ownFailure is what the program said behind whatever the command said.
func (v *vector) ownFailure(out outcome) *Error {
	e := v.error(KindOther, "")
	e.Code = out.Code
	words := command.Printable(out.words, maxWords)
	if at := strings.LastIndex("\n"+words, "\n"+errorPrefix); at >= 0 {
		words = words[at:]
	}
	e.Stderr = words
	e.Kind, e.Message = read(words, out.Code)
	return e
}

func (r ExecRequest) vector() *vector {
	v := subcommand(r.Container, "exec")
	v.check(checkContainer(r.Container))
	v.check(checkEnv(r.Env))
	v.check(checkUser(r.UID, r.GID))
	if r.Workdir != "" {
		v.check(checkPath("the working directory", r.Workdir))
	}
	switch {
	case len(r.Argv) == 0 || r.Argv[0] == "":
		v.refuse("there is no command to run")
	case r.Stdin != nil && !r.Interactive:
		v.refuse("there is an input for a command that takes none")
	}
	v.flag("interactive", r.Interactive)
	v.flag("tty", r.TTY)
	v.options("env", r.Env)
	v.user(r.UID, r.GID)
	v.given("workdir", r.Workdir)
	v.words(append([]string{r.Container}, r.Argv...)...)
	return v
}
