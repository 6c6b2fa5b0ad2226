package pid1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// maxSlot bounds the name of a token's file.
const maxSlot = 64

// checkSlot keeps a slot to what can be the name of a file and says nothing
// else: it is also quoted in messages.
func checkSlot(slot string) error {
	plain := slot != "" && len(slot) <= maxSlot && slot[0] != '-'
	for _, c := range []byte(slot) {
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !plain {
		return fmt.Errorf("token slot %.80q: use 1 to %d of A-Z, a-z, 0-9, '_' and '-', not beginning with '-'", slot, maxSlot)
	}
	return nil
}

// decodeConfig reads sidecars.ConfigFile. Unknown and repeated keys are
// refused, also those that differ from a known one in case only: a policy that
// is not read as it was meant must not be applied.
func decodeConfig(data []byte) (sidecars.Config, error) {
	if err := checkKeys(data); err != nil {
		return sidecars.Config{}, err
	}
	var f fileConfig
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return sidecars.Config{}, fmt.Errorf("%w; the keys are bottle, routes and ledger", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return sidecars.Config{}, errors.New("something follows the configuration; keep one JSON object")
	}
	if f.Bottle == "" {
		return sidecars.Config{}, errors.New("it names no bottle; set bottle")
	}
	if f.Routes == nil {
		return sidecars.Config{}, errors.New("it has no routes; write an empty list to allow nothing")
	}
	return sidecars.Config{Bottle: f.Bottle, Routes: f.Routes, Placeholders: f.Placeholders, Ledger: f.Ledger}, nil
}

// object is one that checkKeys is inside of.
type object struct {
	isArray bool
	isValue bool // a value comes next, not a key
	seen    map[string]bool
}

// checkKeys refuses what encoding/json lets pass: a key that comes twice, and
// one that it would fold into one of ours, all of which are plain lower case.
func checkKeys(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	var within []*object
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && len(within) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is not JSON: %w", err)
		}
		var top *object
		if len(within) > 0 {
			top = within[len(within)-1]
		}
		switch delim, isDelim := token.(json.Delim); {
		case isDelim && (delim == '}' || delim == ']'):
			within = within[:len(within)-1]
		case top != nil && !top.isArray && !top.isValue:
			if err := top.key(token); err != nil {
				return err
			}
		default:
			if top != nil {
				top.isValue = false
			}
			if isDelim {
				within = append(within, &object{isArray: delim == '[', seen: map[string]bool{}})
			}
		}
	}
}

func (o *object) key(token json.Token) error {
	key, _ := token.(string)
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return fmt.Errorf("the key %.80q is not known; keys are in lower case", key)
	}
	if o.seen[key] {
		return fmt.Errorf("the key %.80q comes twice; keep one", key)
	}
	o.seen[key] = true
	o.isValue = true
	return nil
}
