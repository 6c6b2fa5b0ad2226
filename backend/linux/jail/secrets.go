package jail

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Kinds of secrets on the wire.
const (
	kindCAKey byte = iota + 1
	kindBottlesToken
	kindToken
	kindKnown
	kindCanary
)

// errSecrets says nothing of what was in it.
var errSecrets = errors.New("the frame of secrets is damaged")

// item is one secret on the wire: its kind, its name and its value, the latter two
// behind their lengths.
type item struct {
	kind  byte
	name  string
	value secret.Value
}

const itemHead = 1 + 4 + 4

// EncodeSecrets writes secrets for the sockets without a name between the
// server, the shim, which cannot read them, and the sidecar. It is not JSON, since
// an encoder's buffers would keep pieces. Whoever holds the result clears it.
func EncodeSecrets(s sidecars.Secrets) []byte {
	items := []item{{kindCAKey, "", s.CAKey}, {kindBottlesToken, "", s.BottlesToken}}
	for _, slot := range slices.Sorted(maps.Keys(s.Tokens)) {
		items = append(items, item{kindToken, slot, s.Tokens[slot]})
	}
	for _, n := range s.Known {
		items = append(items, item{kindKnown, n.Name, n.Value})
	}
	for _, n := range s.Canaries {
		items = append(items, item{kindCanary, n.Name, n.Value})
	}
	size := 0
	for _, i := range items {
		size += itemHead + len(i.name) + len(i.value.Reveal())
	}
	out := make([]byte, 0, size) // never grown: that would leave a copy behind
	for _, i := range items {
		out = append(out, i.kind)
		for _, text := range []string{i.name, i.value.Reveal()} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(text))) //nolint:gosec // far below what a frame holds
			out = append(out, text...)
		}
	}
	return out
}

// DecodeSecrets is the reverse of EncodeSecrets. It clears data.
func DecodeSecrets(data []byte) (sidecars.Secrets, error) {
	defer clear(data)
	s := sidecars.Secrets{Tokens: map[string]secret.Value{}}
	for rest := data; len(rest) > 0; {
		var i item
		var ok bool
		if i, rest, ok = cutItem(rest); !ok || !i.into(&s) {
			return sidecars.Secrets{}, errSecrets
		}
	}
	return s, nil
}

func cutItem(data []byte) (i item, rest []byte, ok bool) {
	i.kind, rest = data[0], data[1:]
	name, rest, ok := cutText(rest)
	if !ok {
		return i, nil, false
	}
	value, rest, ok := cutText(rest)
	i.name, i.value = string(name), secret.New(string(value))
	return i, rest, ok
}

func cutText(data []byte) (text, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	n, data := binary.BigEndian.Uint32(data), data[4:]
	if uint64(n) > uint64(len(data)) {
		return nil, nil, false
	}
	return data[:n], data[n:], true
}

// into puts the secret where it belongs; empty ones are none.
func (i item) into(s *sidecars.Secrets) bool {
	switch i.kind {
	case kindCAKey:
		s.CAKey = i.value
	case kindBottlesToken:
		if !i.value.Empty() {
			s.BottlesToken = i.value
		}
	case kindToken:
		s.Tokens[i.name] = i.value
	case kindKnown:
		s.Known = append(s.Known, sidecars.Named{Name: i.name, Value: i.value})
	case kindCanary:
		s.Canaries = append(s.Canaries, sidecars.Named{Name: i.name, Value: i.value})
	default:
		return false
	}
	return true
}
