// Command supervisor works in a bottle that may launch three others. It prints a
// line for each thing that it tried, and ends with 1 when one came out wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

// timeout bounds the whole work.
const timeout = 9 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s := &supervisor{}
	if err := s.work(ctx, os.Args[1:]); err != nil {
		s.check("work", err)
	}
	if s.failed {
		os.Exit(1)
	}
}

// supervisor hands out tasks.
type supervisor struct {
	host   *drive.Host
	failed bool
}

func (s *supervisor) check(what string, err error) {
	if err != nil {
		s.failed = true
		fmt.Printf("FAIL %s: %v\n", what, err)
		return
	}
	fmt.Printf("ok   %s\n", what)
}

func (s *supervisor) work(ctx context.Context, args []string) error {
	url := os.Getenv("BOTTLE_MCP_URL")
	if url == "" || len(args) < 2 {
		return errors.New("it takes BOTTLE_MCP_URL, and: all STRANGER, or: again CHILD…")
	}
	var err error
	// A server that ended a moment ago is followed by another.
	for range 60 {
		if s.host, err = drive.Connect(ctx, url); err == nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.host.Close() }()
	if args[0] == "again" {
		s.again(ctx, args[1:])
		return nil
	}
	return s.all(ctx, args[1])
}

// again finds the children of before with a server that did not launch them.
func (s *supervisor) again(ctx context.Context, children []string) {
	s.check("another server knows the children", s.sees(ctx, children...))
	for _, id := range children {
		s.check("it works in "+id, s.exec(ctx, id, "true"))
	}
}

func (s *supervisor) all(ctx context.Context, stranger string) error {
	names, err := s.host.Tools(ctx)
	slices.Sort(names)
	if want := []string{"cleanup", "cp", "exec", "launch", "list"}; err == nil && !slices.Equal(names, want) {
		err = fmt.Errorf("they are %q, want %q", names, want)
	}
	s.check("the five tools", err)
	s.check("nobody else is seen", s.sees(ctx))
	s.nothingWider(ctx)
	s.nobodyElses(ctx, stranger)
	children := s.threeTasks(ctx)
	if s.failed {
		return errors.New("without its children there is nothing more to try")
	}
	s.check("they are its own", s.sees(ctx, children...))
	s.refused(ctx, "a fourth child", "launch", nil, "3 of the 3")
	s.nobodyElses(ctx, stranger) // now with children of its own
	s.inside(ctx, children[0])
	s.check("one child goes", s.host.Call(ctx, "cleanup", map[string]any{"ids": children[:1]}, nil))
	s.check("the others stay", s.sees(ctx, children[1:]...))
	var l drive.Launch
	s.check("there is room again", s.host.Call(ctx, "launch", map[string]any{"id": "next"}, &l))
	s.check("and it goes", s.host.Call(ctx, "cleanup", map[string]any{"ids": []string{l.ID}}, nil))
	return nil
}

// sees compares list with what there has to be.
func (s *supervisor) sees(ctx context.Context, want ...string) error {
	var out struct {
		Bottles []struct {
			ID    string `json:"id"`
			State string `json:"state"`
		} `json:"bottles"`
	}
	if err := s.host.Call(ctx, "list", nil, &out); err != nil {
		return err
	}
	var got []string
	for _, b := range out.Bottles {
		got = append(got, b.ID)
	}
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		return fmt.Errorf("it lists %q, want %q", got, want)
	}
	return nil
}

// refused demands a tool's own refusal, which says each of words.
func (s *supervisor) refused(ctx context.Context, what, tool string, args map[string]any, words ...string) {
	err := s.host.Call(ctx, tool, args, nil)
	var refusal *drive.ToolError
	if !errors.As(err, &refusal) {
		s.check(what+" is refused", fmt.Errorf("the answer is %v", err)) //nolint:errorlint // no error is one of the answers
		return
	}
	for _, word := range words {
		if !strings.Contains(refusal.Text, word) {
			s.check(what+" is refused", fmt.Errorf("the refusal lacks %q: %s", word, refusal.Text))
			return
		}
	}
	s.check(what+" is refused", nil)
}

// nothingWider asks for more than this bottle may.
func (s *supervisor) nothingWider(ctx context.Context) {
	for what, args := range map[string]map[string]any{
		"another host":          {"only_hosts": []string{"elsewhere.invalid"}},
		"a part of no host":     {"only": []map[string]any{{"host": "elsewhere.invalid"}}},
		"another method":        {"only": []map[string]any{{"host": "one.invalid", "methods": []string{"POST"}}}},
		"a bottle file of more": {"bottles": []string{"wide"}},
		"more memory":           {"limits": map[string]any{"memory_mb": 1 << 20}},
		"a longer life":         {"ttl_seconds": 604800},
		"another backend":       {"backend": "smolmachines"},
	} {
		s.refused(ctx, what, "launch", args)
	}
	s.check("nothing was launched", s.sees(ctx))
}

// nobodyElses tries whatever there is with bottles that are not its own: they do
// not exist.
func (s *supervisor) nobodyElses(ctx context.Context, stranger string) {
	for _, id := range []string{stranger, "boss", "no-such-bottle"} {
		for tool, args := range map[string]map[string]any{
			"exec": {"id": id, "command": []string{"true"}},
			"cp":   {"id": id, "from": "bottle:/etc/hostname", "to": "stolen"},
			"list": {"id": id},
		} {
			s.refused(ctx, tool+" with "+id, tool, args, "no such bottle")
		}
	}
	before := s.count(ctx)
	for _, args := range []map[string]any{{"ids": []string{stranger, "boss"}}, {"orphans": true}} {
		err := s.host.Call(ctx, "cleanup", args, nil)
		var refusal *drive.ToolError
		if err != nil && !errors.As(err, &refusal) {
			s.check("cleanup of others", err)
		}
	}
	if after := s.count(ctx); after != before {
		s.check("cleanup of others", fmt.Errorf("%d bottles before, %d after", before, after))
	}
}

func (s *supervisor) count(ctx context.Context) int {
	var out struct {
		Bottles []struct{} `json:"bottles"`
	}
	if err := s.host.Call(ctx, "list", nil, &out); err != nil {
		s.check("list", err)
	}
	return len(out.Bottles)
}

// threeTasks launches three children at once, gives each a directory of this
// bottle, and collects what they make of it.
func (s *supervisor) threeTasks(ctx context.Context) []string {
	children, errs := make([]string, 3), make([]error, 3)
	var all sync.WaitGroup
	for i := range children {
		all.Go(func() { children[i], errs[i] = s.task(ctx, i) })
	}
	all.Wait()
	for i, err := range errs {
		s.check(fmt.Sprintf("task %d, in %s", i, children[i]), err)
	}
	return children
}

func (s *supervisor) task(ctx context.Context, i int) (string, error) {
	dir := fmt.Sprintf("task-%d", i)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	text := fmt.Sprintf("the words of task %d", i)
	if err := os.WriteFile(filepath.Join(dir, "in.txt"), []byte(text), 0o600); err != nil {
		return "", err
	}
	var l drive.Launch
	err := s.host.Call(ctx, "launch", map[string]any{"id": dir, "label": dir, "workspace": dir, "only_hosts": []string{"one.invalid"}}, &l)
	if err != nil {
		return "", err
	}
	if l.State != "running" || l.Report.Failed > 0 || l.Report.Passed == 0 {
		return l.ID, fmt.Errorf("it is %+v", l)
	}
	if err := s.exec(ctx, l.ID, "tr a-z A-Z < in.txt > out.txt"); err != nil {
		return l.ID, err
	}
	result := filepath.Join("results", dir+".txt")
	if err := s.host.Call(ctx, "cp", map[string]any{"id": l.ID, "from": "bottle:out.txt", "to": result}, nil); err != nil {
		return l.ID, err
	}
	got, err := os.ReadFile(result)
	if err == nil && string(got) != strings.ToUpper(text) {
		err = fmt.Errorf("it brought back %q", got)
	}
	return l.ID, err
}

// exec runs a script that has to succeed.
func (s *supervisor) exec(ctx context.Context, id, script string) error {
	var done drive.Exec
	err := s.host.Call(ctx, "exec", map[string]any{"id": id, "script": script}, &done)
	if err == nil && done.ExitCode != 0 {
		err = fmt.Errorf("%q ended with %d: %s%s", script, done.ExitCode, done.Stdout, done.Stderr)
	}
	return err
}

// inside looks at a child from inside: it has no way to launch more.
func (s *supervisor) inside(ctx context.Context, id string) {
	s.check("a child has no children to give", s.exec(ctx, id, `test -z "$BOTTLE_MCP_URL" && test -n "$HTTPS_PROXY"`))
}
