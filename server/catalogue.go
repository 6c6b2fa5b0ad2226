package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// namePattern is what every host accepts as a tool's name.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// published is a tool with its schemas compiled.
type published struct {
	tools.Tool
	server *Server
	input  *jsonschema.Schema
	output *jsonschema.Schema // nil = the tool has no output schema
	slots  chan struct{}
}

// publishTools registers the tools that are sound and returns what is wrong
// with the others.
func (s *Server) publishTools(list []tools.Tool) error {
	var problems []error
	for _, t := range list {
		if _, taken := s.tools[t.Name]; taken {
			problems = append(problems, fmt.Errorf("tool %q is defined twice", t.Name))
			continue
		}
		p, err := s.prepare(t)
		if err != nil {
			problems = append(problems, fmt.Errorf("tool %q: %w", t.Name, err))
			continue
		}
		s.tools[t.Name] = p
		// A literal, because NewTool with raw schemas sets both kinds of schema
		// and then tools/list cannot be encoded.
		s.mcp.AddTool(mcp.Tool{
			Name:            t.Name,
			Title:           t.Title,
			Description:     t.Description,
			RawInputSchema:  t.InputSchema,
			RawOutputSchema: t.OutputSchema,
			Annotations:     t.Annotations,
		}, p.handle)
	}
	return errors.Join(problems...)
}

func (s *Server) prepare(t tools.Tool) (*published, error) {
	p := &published{Tool: t, server: s, slots: make(chan struct{}, s.limits.CallsPerTool)}
	problems := definitionProblems(t)
	var err error
	if p.input, err = compileSchema(t.InputSchema, true); err != nil {
		problems = append(problems, fmt.Errorf("input schema: %w", err))
	}
	if len(t.OutputSchema) > 0 {
		if p.output, err = compileSchema(t.OutputSchema, false); err != nil {
			problems = append(problems, fmt.Errorf("output schema: %w", err))
		}
	}
	return p, errors.Join(problems...)
}

func definitionProblems(t tools.Tool) []error {
	var problems []error
	if !namePattern.MatchString(t.Name) {
		problems = append(problems, fmt.Errorf("the name must match %s", namePattern))
	}
	if t.Description == "" {
		problems = append(problems, errors.New("the description is empty"))
	}
	if t.Handle == nil {
		problems = append(problems, errors.New("there is no handler"))
	}
	a := t.Annotations
	if a.ReadOnlyHint == nil || a.DestructiveHint == nil || a.IdempotentHint == nil || a.OpenWorldHint == nil {
		problems = append(problems, errors.New("all four annotations must be explicit: readOnly, destructive, idempotent, openWorld"))
	}
	return problems
}

// checkList reads tools/list as a client would and counts.
func (s *Server) checkList(ctx context.Context, want int) error {
	frame, err := s.answer(ctx, newPeer("self-check"), message{
		kind: request, id: requestID{raw: json.RawMessage("0")}, method: string(mcp.MethodToolsList),
	}, nil)
	if err != nil {
		return fmt.Errorf("tools/list cannot be answered, fix the tools' definitions: %w", err)
	}
	var list struct {
		Result struct {
			Tools []struct{ Name string } `json:"tools"`
		} `json:"result"`
	}
	if err := json.Unmarshal(frame, &list); err != nil {
		return fmt.Errorf("tools/list is not valid JSON, fix the tools' definitions: %w", err)
	}
	if got := len(list.Result.Tools); got != want {
		return fmt.Errorf("tools/list shows %d of %d tools, fix the tools' definitions", got, want)
	}
	return nil
}

// publishResources registers the templates.
func (s *Server) publishResources(list []tools.ResourceTemplate) error {
	var problems []error
	seen := make(map[string]bool, len(list))
	for _, r := range list {
		template, err := resourceTemplate(r)
		switch {
		case err != nil:
			problems = append(problems, err)
			continue
		case seen[r.URITemplate]:
			problems = append(problems, fmt.Errorf("resource %q is defined twice", r.URITemplate))
			continue
		}
		seen[r.URITemplate] = true
		s.mcp.AddResourceTemplate(template, mcpserver.ResourceTemplateHandlerFunc(s.resourceHandler(r)))
	}
	return errors.Join(problems...)
}

// resourceTemplate turns mcp-go's panic on a bad template into an error.
func resourceTemplate(r tools.ResourceTemplate) (t mcp.ResourceTemplate, err error) {
	if r.Name == "" || r.Description == "" || r.Read == nil {
		return t, fmt.Errorf("resource %q needs a name, a description and a reader", r.URITemplate)
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("resource %q has a bad URI template: %v", r.URITemplate, v)
		}
	}()
	return mcp.NewResourceTemplate(r.URITemplate, r.Name,
		mcp.WithTemplateTitle(r.Title),
		mcp.WithTemplateDescription(r.Description),
		mcp.WithTemplateMIMEType(r.MIMEType),
	), nil
}
