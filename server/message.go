package server

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
)

// messageKind tells the three kinds of JSON-RPC message apart.
type messageKind int

const (
	request messageKind = iota + 1
	notification
	response // an answer to a request of ours; we send none
)

// message is one JSON-RPC message of a client.
type message struct {
	kind   messageKind
	id     requestID
	method string
	params json.RawMessage
}

// requestID is an id as the client spelt it. Answers repeat the spelling, so a
// number beyond 2^53 stays what it is.
type requestID struct{ raw json.RawMessage }

// key is equal for equal ids however they are spelt; a number never equals a
// string.
func (id requestID) key() string {
	var text string
	if json.Unmarshal(id.raw, &text) == nil {
		return "s" + text
	}
	return "n" + string(bytes.TrimSpace(id.raw))
}

// valid holds for a string or a number: all that MCP allows.
func (id requestID) valid() bool {
	raw := bytes.TrimSpace(id.raw)
	return len(raw) > 0 && (raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

// fault is a JSON-RPC error: for faults of the protocol, never for what a tool
// has to say.
type fault struct {
	id   json.RawMessage // nil = null
	code int
	text string
	data any
}

func (f *fault) Error() string { return f.text }

// parseMessage reads one message. Keys are taken exactly as spelt and only the
// known ones, so that what is checked here is what mcp-go sees later.
func parseMessage(raw []byte) (message, *fault) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '[' {
		return message{}, &fault{code: mcp.INVALID_REQUEST, text: "batches are not supported; send one message at a time"}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return message{}, &fault{code: mcp.PARSE_ERROR, text: "the message is not one JSON object"}
	}
	m := message{id: requestID{fields["id"]}, params: fields["params"]}
	invalid := func(format string, args ...any) (message, *fault) {
		f := &fault{code: mcp.INVALID_REQUEST, text: fmt.Sprintf(format, args...)}
		if m.id.valid() {
			f.id = m.id.raw
		}
		return message{}, f
	}
	if string(bytes.TrimSpace(fields["jsonrpc"])) != `"2.0"` {
		return invalid(`"jsonrpc" must be "2.0"`)
	}
	_, hasID := fields["id"]
	if hasID && !m.id.valid() {
		return invalid(`"id" must be a string or a number`)
	}
	method, hasMethod := fields["method"]
	switch {
	case !hasMethod && hasID && (fields["result"] != nil || fields["error"] != nil):
		m.kind = response
		return m, nil
	case json.Unmarshal(method, &m.method) != nil || m.method == "":
		return invalid(`"method" must be a string`)
	}
	m.kind = notification
	if hasID {
		m.kind = request
	}
	return m, nil
}

// canonical is the message under another id, with nothing but known keys.
func (m message) canonical(id uint64) (json.RawMessage, error) {
	return json.Marshal(struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      uint64          `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params,omitempty"`
	}{mcp.JSONRPC_VERSION, id, m.method, m.params})
}

// encodeResult is a success answer.
func encodeResult(id json.RawMessage, result any) ([]byte, error) {
	return json.Marshal(struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result"`
	}{mcp.JSONRPC_VERSION, id, result})
}

// encode is the error answer. Data that cannot be encoded is left out: a fault
// is always answerable.
func (f *fault) encode() []byte {
	id := f.id
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	body := struct {
		JSONRPC string                  `json:"jsonrpc"`
		ID      json.RawMessage         `json:"id"`
		Error   mcp.JSONRPCErrorDetails `json:"error"`
	}{mcp.JSONRPC_VERSION, id, mcp.JSONRPCErrorDetails{Code: f.code, Message: f.text, Data: f.data}}
	frame, err := json.Marshal(body)
	if err != nil {
		body.Error.Data = nil
		frame, _ = json.Marshal(body)
	}
	return frame
}

// cancelParams are those of notifications/cancelled.
type cancelParams struct {
	RequestID json.RawMessage `json:"requestId"`
}

// callParams are the parts of tools/call that the front needs.
type callParams struct {
	Name string `json:"name"`
	Meta struct {
		ProgressToken json.RawMessage `json:"progressToken"`
	} `json:"_meta"`
}

// protocolVersion is the version a message claims in its _meta, as only the
// sessionless protocol does.
func (m message) protocolVersion() string {
	var p struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	if json.Unmarshal(m.params, &p) != nil {
		return ""
	}
	var version string
	_ = json.Unmarshal(p.Meta[mcp.MetaKeyProtocolVersion], &version)
	return version
}

// unsupportedVersion refuses a protocol version and lists those that work.
func unsupportedVersion(id requestID, version string) *fault {
	supported := mcp.LegacyProtocolVersions()
	return &fault{
		id:   id.raw,
		code: mcp.UNSUPPORTED_PROTOCOL_VERSION,
		text: fmt.Sprintf("protocol version %q is not supported; begin with initialize and one of %v", clip(version), supported),
		data: mcp.UnsupportedProtocolVersionData{Supported: supported, Requested: clip(version)},
	}
}
