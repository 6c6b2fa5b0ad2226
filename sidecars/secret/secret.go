// Package secret holds the one type in which credentials travel through this
// program.
//
// Lives here: Value, which redacts itself wherever Go prints, logs or encodes
// it. Does not live here: where secrets come from (provision) or where they
// are used (sidecars/egress).
package secret

import (
	"fmt"
	"log/slog"
)

// redacted is what every printer shows instead of a secret.
const redacted = "[redacted]"

// Value is a credential. The zero Value is empty. It prints as "[redacted]" in
// every fmt verb, in slog and in text and JSON encodings, so that a struct
// holding one can be logged without a leak. Only Reveal gives the bytes. They
// are held behind a pointer, because fmt calls no method of a value in an
// unexported field: it then prints an address.
type Value struct{ plain *string }

// New wraps plain.
func New(plain string) Value { return Value{plain: &plain} }

// Reveal returns the credential itself. Call it only where the bytes leave
// for the process that must have them; never format or log the result.
func (v Value) Reveal() string {
	if v.plain == nil {
		return ""
	}
	return *v.plain
}

// Empty reports whether there is no credential.
func (v Value) Empty() bool { return v.Reveal() == "" }

// String implements fmt.Stringer with the redacted form.
func (v Value) String() string { return redacted }

// GoString implements fmt.GoStringer, so that %#v is redacted too.
func (v Value) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb (%x, %q, %d …) reaches the field.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler (JSON and YAML use it).
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
