package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	agentFilesTimeout = 60 * time.Second
	registerTimeout   = 30 * time.Second
	// batchFiles and batchBytes bound what one command in the guest brings.
	batchFiles = 200
	batchBytes = 8 << 20
)

// login is this host's login, read once for the credential and its placeholder.
func (l *launch) hostLogin(format string) (*provider.HostLogin, error) {
	if l.login == nil {
		login, err := l.m.hostLogin(format)
		if err != nil {
			return nil, err
		}
		l.login = login
	}
	return l.login, nil
}

// token finds the credential of a route.
func (l *launch) token(ref string) (secret.Value, error) {
	format, ok := provider.CutLoginRef(ref)
	if !ok {
		return l.m.token(ref)
	}
	login, err := l.hostLogin(format)
	if err != nil {
		return secret.Value{}, asInvalid(err)
	}
	return login.Token, nil
}

// withLogin completes settings that use this host's login.
func (l *launch) withLogin(s provider.Settings) (provider.Settings, error) {
	if !s.ForwardHostCredentials {
		return s, nil
	}
	login, err := l.hostLogin(l.r.agent.provider.HostLogin.Format)
	s.HostLogin = login
	return s, err
}

// placeholders are the texts in the guest that stand for a credential: the
// provider's, and values of variables that say so themselves.
func (l *launch) placeholders() ([]string, error) {
	var out []string
	if a := l.r.agent; a != nil {
		s, err := l.withLogin(a.settings)
		if err != nil {
			return nil, asInvalid(err)
		}
		r, err := provider.Resolve(a.provider, s)
		if err != nil {
			return nil, asInvalid(err)
		}
		out = append(out, r.Placeholders...)
	}
	for _, name := range slices.Sorted(maps.Keys(l.r.env)) {
		if text := l.r.env[name].Literal; provider.IsPlaceholder(text) && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out, nil
}

// writeAgentFiles puts the provider's files into the agent's home, and proves by
// reading back that they are there.
func writeAgentFiles(ctx context.Context, l *launch) (string, error) {
	a := l.r.agent
	s := a.settings
	s.SuperviseURL, s.BottlesURL = l.record.Endpoints.Supervise, l.record.Endpoints.Bottles
	// A program compares paths with where it finds itself, not with a link.
	s.Account = l.detail.Account
	if s.Workspace != "" {
		s.Workspace = s.Account.Workspace()
	}
	s, err := l.withLogin(s)
	if err != nil {
		return "", err
	}
	r, err := provider.Resolve(a.provider, s)
	if err != nil {
		return "", err
	}
	files := make([]setup.File, 0, len(r.Files))
	for _, f := range r.Files {
		files = append(files, setup.File{Path: path.Join(r.Home, f.Path), Content: []byte(f.Content), How: setup.Replace, Mode: f.Mode})
	}
	text, err := l.putFiles(ctx, files)
	if err != nil {
		return text, err
	}
	return text + l.register(ctx, "supervisor", r.SuperviseArgv) + l.register(ctx, "server for bottles", r.BottlesArgv), nil
}

// putFiles brings files as the agent. All of them must arrive.
func (l *launch) putFiles(ctx context.Context, files []setup.File) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, agentFilesTimeout)
	defer cancel()
	bytes := 0
	for rest := files; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && n < batchFiles && (n == 0 || size+len(rest[n].Content) <= batchBytes) {
			size += len(rest[n].Content)
			n++
		}
		outcomes, err := l.bring(ctx, backend.AgentUser, rest[:n])
		if err != nil {
			return "", err
		}
		if err := mustHave(rest[:n], outcomes); err != nil {
			return "", err
		}
		bytes += size
		rest = rest[n:]
	}
	return fmt.Sprintf("%d files, %d bytes", len(files), bytes), nil
}

// register lets the agent's program note an MCP server, where that takes a command.
// An agent without it can work, so a failure is told and no more.
func (l *launch) register(ctx context.Context, what string, argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	stderr := &bounded{limit: 4 << 10}
	status, err := l.r.engine.Exec(ctx, l.plan.ID, backend.Command{Argv: argv}, backend.Streams{Stderr: stderr})
	if err == nil && status.Code == 0 {
		return ", " + what + " registered"
	}
	l.m.log.Warn("the agent could not be told of the "+what, "bottle", l.plan.ID, "program", argv[0], "status", status.Code, "error", err,
		"said", fmt.Sprintf("%.200q", strings.TrimSpace(stderr.data.String())))
	return ", the agent could not be told of the " + what
}

// writeSkills copies the agent's skills in.
func writeSkills(ctx context.Context, l *launch) (string, error) {
	var files []setup.File
	room := maxSkillBytes
	for _, s := range l.r.agent.skills {
		more, err := s.read(&room)
		if err != nil {
			return "", err
		}
		files = append(files, more...)
	}
	text, err := l.putFiles(ctx, files)
	return fmt.Sprintf("%d skills, %s", len(l.r.agent.skills), text), err
}

// writePrompt puts the system prompt and the task where the agent finds them.
// Without a provider both are one file.
func writePrompt(ctx context.Context, l *launch) (string, error) {
	at := promptFile
	var files []setup.File
	if a := l.r.agent; a != nil {
		at = a.prompt
		if a.task != "" {
			files = append(files, setup.File{Path: taskFile, Content: []byte(a.task + "\n"), How: setup.Replace})
		}
	}
	if l.r.prompt != "" && at != "" {
		files = append(files, setup.File{Path: at, Content: []byte(l.r.prompt + "\n"), How: setup.Replace})
	}
	if _, err := l.putFiles(ctx, files); err != nil {
		return "", fmt.Errorf("write the prompt: %w", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, path.Base(f.Path))
	}
	return strings.Join(names, ", "), nil
}

// hasPrompt reports whether writePrompt has something to do.
func (r *resolvedPlan) hasPrompt() bool {
	if r.agent == nil {
		return r.prompt != ""
	}
	return r.agent.task != "" || r.prompt != "" && r.agent.prompt != ""
}

// ownDockerfile puts a Dockerfile that is part of this program where an engine
// can read it, in a directory of its own, which is all that a build sees.
func (m *Manager) ownDockerfile(text string) (string, error) {
	sum := sha256.Sum256([]byte(text))
	dir := filepath.Join(m.cfg.State.Path(), "dockerfiles", hex.EncodeToString(sum[:8]))
	file := filepath.Join(dir, "Dockerfile")
	if old, err := os.ReadFile(file); err == nil && string(old) == text {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep the provider's Dockerfile: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(dir), "new-*")
	if err != nil {
		return "", fmt.Errorf("keep the provider's Dockerfile: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // it is gone when all went well
	_, err = tmp.WriteString(text)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return "", fmt.Errorf("keep the provider's Dockerfile: %w", err)
	}
	return file, nil
}
