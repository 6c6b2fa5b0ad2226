package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// digest covers everything that decides what the bottle is, but its id: whoever
// launches the same id again with anything else is told so. Host variables stand
// in it by name. What is left out, and why, is a list in its test.
func (p *Plan) digest() (string, error) {
	r := p.resolved
	data, err := json.Marshal(struct {
		Plan       Plan
		TTL        time.Duration
		Routes     []manifest.Route
		OnlyHosts  []string
		Only       []OnlyRule
		Env        map[string]manifest.EnvValue
		Prompt     string
		Agent      any
		Principal  string
		Parent     *parentRef
		Caller     string
		SubBottles manifest.SubBottles
		Image      backend.ImageSpec
		Dockerfile string
		GitUser    manifest.GitUser
		Repos      map[string]manifest.Repo
	}{
		Plan: Plan{
			Agent: p.Agent, Bottles: p.Bottles, Label: p.Label, Backend: p.Backend, Isolation: p.Isolation,
			Image: p.Image, Workspace: p.Workspace.place(), Limits: p.Limits, Services: p.Services, Publish: p.Publish,
		},
		TTL: r.life, Routes: r.routes, OnlyHosts: r.onlyHosts, Only: r.only, Env: r.env, Prompt: r.prompt, Agent: r.agent.digested(), Principal: r.principal,
		Parent: r.parentRef(), Caller: r.callerDir, SubBottles: r.subBottles,
		Image: r.image, Dockerfile: r.dockerfile, GitUser: r.git.user, Repos: r.git.repos,
	})
	if err != nil {
		return "", fmt.Errorf("digest of the plan: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
