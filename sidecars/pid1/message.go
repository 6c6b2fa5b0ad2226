package pid1

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// maxStart holds the largest configuration directory, as JSON.
	maxStart = 16 << 20
	// maxAnswer bounds what a daemon can make the init read.
	maxAnswer = 16 << 10
	// drainWord is the byte that tells a daemon to finish what it has begun
	// and accept nothing more.
	drainWord = 'd'
	// reloadWord is the byte before a startMessage whose policy a daemon is to
	// put in force while it serves. It answers with one answer.
	reloadWord = 'r'
)

// startMessage is the first thing a daemon reads from its socket, which has no
// name and two ends. It holds secrets and must not be logged or stored.
type startMessage struct {
	Config    sidecars.Config   `json:"config"`
	CAKey     string            `json:"ca_key"`
	Tokens    map[string]string `json:"tokens"`
	Roots     []byte            `json:"roots"`
	Listeners int               `json:"listeners"`
	// BottlesToken is for sidecars.Bottles, everything else for egress.
	BottlesToken string       `json:"bottles_token,omitempty"`
	Known        []plainNamed `json:"known,omitempty"`
	Canaries     []plainNamed `json:"canaries,omitempty"`
}

// newStartMessage gives a daemon what it needs and nothing else. Egress is told all
// secrets, to look for them; it can use only those that are Tokens.
func newStartMessage(daemon sidecars.Service, s *settings, listeners int) startMessage {
	if daemon == sidecars.Bottles {
		return startMessage{
			Config: sidecars.Config{Bottle: s.config.Bottle}, Listeners: listeners,
			BottlesToken: s.secrets.BottlesToken.Reveal(),
		}
	}
	m := startMessage{
		Config: s.config, CAKey: s.secrets.CAKey.Reveal(), Tokens: map[string]string{},
		Roots: s.roots, Listeners: listeners,
	}
	for slot, token := range s.usedTokens() {
		m.Tokens[slot] = token.Reveal()
	}
	m.Known, m.Canaries = revealNamed(append(s.unused(), s.secrets.Known...)), revealNamed(s.secrets.Canaries)
	return m
}

func (m startMessage) settings() *settings {
	s := &settings{config: m.Config, roots: m.Roots}
	s.secrets = sidecars.Secrets{CAKey: secret.New(m.CAKey), Tokens: map[string]secret.Value{}}
	for slot, token := range m.Tokens {
		s.secrets.Tokens[slot] = secret.New(token)
	}
	s.secrets.Known, s.secrets.Canaries = sealNamed(m.Known), sealNamed(m.Canaries)
	if m.BottlesToken != "" {
		s.secrets.BottlesToken = secret.New(m.BottlesToken)
	}
	return s
}

func writeStart(w io.Writer, m startMessage) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	defer clear(data)
	if len(data) > maxStart {
		return fmt.Errorf("the configuration has %d bytes, more than %d", len(data), maxStart)
	}
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(data))) //nolint:gosec // bounded above
	if _, err := w.Write(length[:]); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func readStart(r io.Reader) (startMessage, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return startMessage{}, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxStart {
		return startMessage{}, fmt.Errorf("a start message of %d bytes, more than %d", n, maxStart)
	}
	data := make([]byte, n)
	defer clear(data)
	if _, err := io.ReadFull(r, data); err != nil {
		return startMessage{}, err
	}
	var m startMessage
	err := json.Unmarshal(data, &m)
	return m, err
}

// answer is a daemon's one line: it serves, or why it does not.
type answer struct {
	Error string `json:"error,omitempty"`
}

func writeAnswer(w io.Writer, err error) error {
	var a answer
	if err != nil {
		a.Error = printable(err.Error())
	}
	return json.NewEncoder(w).Encode(a)
}

// readAnswer reads what a daemon says, which is hostile once the daemon is.
func readAnswer(r io.Reader) error {
	var a answer
	err := json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(&a)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ended before it served")
	case err != nil:
		return fmt.Errorf("what it said cannot be understood: %w", err)
	case a.Error != "":
		return &refusedError{printable(a.Error)}
	}
	return nil
}

// refusedError is why a daemon does not do what it was told.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

// printable bounds s and replaces what a terminal could act on.
func printable(s string) string {
	cut := s[:min(len(s), maxLine)]
	out := strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, cut)
	if len(cut) < len(s) {
		out += "..."
	}
	return out
}
