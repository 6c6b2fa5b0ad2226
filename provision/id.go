package provision

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// digest covers everything that decides what the bottle is, but its id. Host
// variables stand in it by name.
func (p *Plan) digest() (string, error) {
	data, err := json.Marshal(struct {
		Plan      Plan
		TTL       time.Duration
		Routes    []manifest.Route
		Env       map[string]manifest.EnvValue
		Prompt    string
		Agent     any
		Principal string
		Parent    *parentRef
		Caller    string
		// SubBottles and what the guest's bottles begin with.
		SubBottles manifest.SubBottles
	}{
		Plan: Plan{
			Agent: p.Agent, Bottles: p.Bottles, Label: p.Label, Backend: p.Backend, Isolation: p.Isolation,
			Image: p.Image, Workspace: p.Workspace.place(), Limits: p.Limits, Services: p.Services,
		},
		TTL: p.resolved.life, Routes: p.resolved.routes, Env: p.resolved.env, Prompt: p.resolved.prompt, Agent: p.resolved.agent.digested(), Principal: p.resolved.principal,
		Parent: p.resolved.parentRef(), Caller: p.resolved.callerDir, SubBottles: p.resolved.subBottles,
	})
	if err != nil {
		return "", fmt.Errorf("digest of the plan: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Shape of a generated id: what it is for, and five random characters, so that
// two launches of one agent never collide.
const (
	idRandom = 5
	idMax    = 40
	idTries  = 10
)

func (m *Manager) newID(p *Plan) (backend.ID, error) {
	name := p.Label
	for _, other := range []string{p.Agent, strings.Join(p.Bottles, "-")} {
		if slug(name) == "" {
			name = other
		}
	}
	for range idTries {
		suffix, err := randomBase36(idRandom)
		if err != nil {
			return "", fmt.Errorf("choose an id: %w", err)
		}
		id := backend.ID(slug(name) + "-" + suffix)
		if _, err := m.cfg.State.Read(id); errors.Is(err, backend.ErrNotFound) {
			return id, nil
		}
	}
	return "", errors.New("choose an id: every try is taken; give one")
}

// slug keeps what an id may hold.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
		if b.Len() == idMax-idRandom-1 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

func randomBase36(n int) (string, error) {
	out := make([]byte, n)
	for i := range out {
		digit, err := rand.Int(rand.Reader, big.NewInt(36))
		if err != nil {
			return "", err
		}
		out[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[digit.Int64()]
	}
	return string(out), nil
}
