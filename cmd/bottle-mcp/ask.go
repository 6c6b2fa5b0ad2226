package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// maxAnswer bounds one answer: what a variable may hold.
const maxAnswer = 32 << 10

// questionText is what the operator reads: the manifest's words, the variable,
// and who asks.
func questionText(q provision.Question) string {
	file := q.File
	if home, err := os.UserHomeDir(); err == nil {
		if rest, ok := strings.CutPrefix(file, home+string(filepath.Separator)); ok {
			file = filepath.Join("~", rest)
		}
	}
	text := strings.TrimRight(q.Text, ": ")
	if text == "" {
		text = "the value of " + q.Name
	}
	return fmt.Sprintf("%s [%s, %s:%s]", text, q.Name, file, strconv.Itoa(q.Line))
}

// ask has the operator answer on the terminal itself, whatever the streams are.
// Nothing that is typed is shown.
func (c *cli) ask(ctx context.Context, questions []provision.Question) (map[string]secret.Value, error) {
	tty, err := c.con.openTTY()
	if err != nil {
		return nil, withHint(
			fmt.Errorf("the bottle asks for %s, and there is no terminal to answer on", questionText(questions[0])),
			fmt.Sprintf("set %[1]s where this is started and name it: %[1]s=… bottle-mcp run --env %[1]s …", questions[0].Name))
	}
	defer func() { _ = tty.Close() }()
	answers := map[string]secret.Value{}
	lines := bufio.NewReader(io.LimitReader(tty, int64(len(questions)*maxAnswer)))
	for _, q := range questions {
		text, err := hiddenLine(ctx, tty, lines, oneLine(questionText(q), 0)+": ")
		if err != nil {
			return nil, fmt.Errorf("the answer for %s: %w", q.Name, err)
		}
		answers[q.Name] = secret.New(text)
	}
	return answers, nil
}

// hiddenLine prompts for a line that is not shown. A signal ends it.
func hiddenLine(ctx context.Context, tty *os.File, lines *bufio.Reader, prompt string) (string, error) {
	fd := int(tty.Fd())
	saved, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	hidden := *saved
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, setTermios, &hidden); err != nil {
		return "", fmt.Errorf("hide what is typed: %w", err)
	}
	defer func() {
		_ = unix.IoctlSetTermios(fd, setTermios, saved)
		_, _ = io.WriteString(tty, "\n") // the one that was typed is hidden too
	}()
	if _, err := io.WriteString(tty, prompt); err != nil { // who sees it may type
		return "", fmt.Errorf("ask: %w", err)
	}
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() { // after a signal it waits for a line that nobody types
		text, err := lines.ReadString('\n')
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-read:
		text := strings.TrimRight(l.text, "\r\n")
		if text == "" {
			return "", errors.New("nothing was typed")
		}
		if l.err != nil && !errors.Is(l.err, io.EOF) {
			return "", fmt.Errorf("read it: %w", l.err)
		}
		return text, nil
	}
}
