package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// maxElements bounds a list: an element costs more memory than its JSON.
const maxElements = 10_000

var errAlien = errors.New("it is JSON of something else")

// garbled is an error about what the program printed.
func (v *vector) garbled(err error) error {
	e := v.error(KindOutput, shorten(err.Error()))
	e.Code, e.Err = 0, err
	return e
}

// decoded reads a list of elements.
func decoded[T any](v *vector, data []byte, one func(json.RawMessage) (T, error)) ([]T, error) {
	list, err := decodeList(data, one)
	if err != nil {
		return nil, v.garbled(err)
	}
	return list, nil
}

// decodedOne reads a list for the one element that was asked for. An empty list
// is how versions before 1.0.0 say that there is none.
func decodedOne[T any](v *vector, data []byte, one func(json.RawMessage) (T, error), asked func(T) bool) (T, error) {
	var none T
	list, err := decoded(v, data, one)
	if err != nil {
		return none, err
	}
	if len(list) == 0 {
		e := v.error(KindNotFound, "")
		e.Code = 0
		return none, e
	}
	for _, found := range list {
		if asked(found) {
			return found, nil
		}
	}
	return none, v.garbled(errors.New("it describes another object than the one asked for"))
}

func decodeList[T any](data []byte, one func(json.RawMessage) (T, error)) ([]T, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if first, err := dec.Token(); err != nil || first != json.Delim('[') {
		return nil, notJSON(err)
	}
	list := []T{}
	for dec.More() {
		if len(list) == maxElements {
			return nil, fmt.Errorf("it lists more than %d objects", maxElements)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, notJSON(err)
		}
		element, err := one(raw)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", len(list), err)
		}
		list = append(list, element)
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err)
	}
	return list, atEnd(dec)
}

// decodeValue reads one value and nothing behind it.
func decodeValue(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(into); err != nil {
		return notJSON(err)
	}
	return atEnd(dec)
}

func atEnd(dec *json.Decoder) error {
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its JSON")
	}
	return nil
}

func notJSON(err error) error {
	if err == nil {
		return errAlien
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("its JSON is cut off")
	}
	return fmt.Errorf("its JSON is broken: %w", err)
}

// object reads an element, which must be a JSON object.
func object(raw json.RawMessage, into any) error {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' {
		return errAlien
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("its JSON is of another shape: %w", err)
	}
	return nil
}

// date is a moment: ISO 8601, or before 1.0.0 seconds since 2001-01-01.
type date struct{ time.Time }

// maxSeconds is year 9999 in seconds since 2001.
const maxSeconds = 252_423_993_600

// UnmarshalJSON implements json.Unmarshaler.
func (d *date) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		t, err := time.Parse(time.RFC3339, s)
		d.Time = t.UTC()
		return err
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > maxSeconds {
		return fmt.Errorf("%v is no date", seconds)
	}
	whole, part := math.Modf(seconds)
	epoch := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	d.Time = time.Unix(epoch.Unix()+int64(whole), int64(part*1e9)).UTC()
	return nil
}

// address splits "192.168.64.2/24" and takes a bare address too. What is none
// gives "": the caller decides whether it needs one.
func address(s string) (bare string, bits int) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr().String(), p.Bits()
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return a.String(), 0
	}
	return "", 0
}

// ipv4 is a bare IPv4 address, else "".
func ipv4(s string) (bare string, bits int) {
	bare, bits = address(s)
	if strings.Contains(bare, ":") {
		return "", 0
	}
	return bare, bits
}

// subnet is an IPv4 network in CIDR form, else "".
func subnet(s string) string {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return ""
	}
	return p.String()
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// digest is a digest, else "".
func digest(s string) string {
	if !digestPattern.MatchString(s) {
		return ""
	}
	return s
}

// first is the first that is not empty: keys were renamed between versions.
func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
