package provision

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

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
