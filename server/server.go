package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// Config is what a Server publishes and how it bounds its clients.
type Config struct {
	Name    string
	Version string
	// Instructions for the model; empty means the constant Instructions.
	Instructions string
	Tools        []tools.Tool
	Resources    []tools.ResourceTemplate
	// Logger takes what goes wrong. It must not write to stdout when ServeStdio
	// does. nil discards.
	Logger *slog.Logger
	Limits Limits
}

// Limits bound what clients can make the server hold. Zero fields take the
// defaults named with them.
type Limits struct {
	// MaxMessage is the longest message in bytes, on either transport (8 MiB:
	// room for cp's inline content).
	MaxMessage int
	// MaxResult is the longest encoded tool result in bytes (4 MiB).
	MaxResult int
	// CallsPerTool is how many calls of one tool run at once (128). It is per
	// tool so that no flood of exec keeps cleanup out.
	CallsPerTool int
	// KeepAlive is the longest silence on a running call (5 s): then a
	// progress notification goes out if the caller gave a token, and on HTTP a
	// comment if not. Clients and proxies give up on silent calls.
	KeepAlive time.Duration
	// EOFGrace is how long running calls may still finish after the end of
	// stdin (1 s), so that a script's last answers are not lost.
	EOFGrace time.Duration
	// StopTimeout is how long cancelled calls may take to return when the
	// server stops (2.5 s). With EOFGrace it stays below the four seconds
	// after which the TypeScript SDK's client kills the process.
	StopTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	defaultTo(&l.MaxMessage, 8<<20)
	defaultTo(&l.MaxResult, 4<<20)
	defaultTo(&l.CallsPerTool, 128)
	defaultTo(&l.KeepAlive, 5*time.Second)
	defaultTo(&l.EOFGrace, time.Second)
	defaultTo(&l.StopTimeout, 2500*time.Millisecond)
	return l
}

func defaultTo[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Server is a published set of tools. It may serve any number of transports at
// once.
type Server struct {
	mcp    *mcpserver.MCPServer
	log    *slog.Logger
	limits Limits
	tools  map[string]*published
	reads  chan struct{} // a slot for each resource being read
	// ids numbers requests over all peers, so that mcp-go never sees an id a
	// client chose: neither a collision nor a rounded number can hit another's
	// call.
	ids atomic.Uint64
}

// New checks everything cfg publishes and fails with all that is wrong: a
// schema that does not compile or encode would otherwise silently take every
// tool away from clients.
func New(cfg Config) (*Server, error) {
	s := &Server{
		log:    cfg.Logger,
		limits: cfg.Limits.withDefaults(),
		tools:  make(map[string]*published, len(cfg.Tools)),
	}
	s.reads = make(chan struct{}, s.limits.CallsPerTool)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	instructions := cfg.Instructions
	if instructions == "" {
		instructions = Instructions
	}
	options := []mcpserver.ServerOption{
		mcpserver.WithInstructions(instructions),
		mcpserver.WithToolCapabilities(false),
		mcpserver.WithLogging(),
	}
	if len(cfg.Resources) > 0 {
		options = append(options, mcpserver.WithResourceCapabilities(false, false))
	}
	s.mcp = mcpserver.NewMCPServer(cfg.Name, cfg.Version, options...)

	var problems []error
	if cfg.Name == "" || cfg.Version == "" {
		problems = append(problems, errors.New("the server's name and version must not be empty"))
	}
	problems = append(problems, s.publishTools(cfg.Tools), s.publishResources(cfg.Resources))
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("cannot publish this set of tools, fix their definitions: %w", err)
	}
	if err := s.checkList(context.Background(), len(cfg.Tools)); err != nil {
		return nil, err
	}
	return s, nil
}
