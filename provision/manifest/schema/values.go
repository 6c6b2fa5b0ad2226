package schema

import (
	"encoding/json"

	"github.com/invopop/jsonschema"
)

// Kinds of values that a Go type alone does not describe. Their titles stand in
// the reference.
type (
	name      string
	names     []string
	variable  string
	host      string
	cidr      string
	method    string
	duration  string
	size      string
	byteCount string
	mediaType string
	image     string
	hostPath  string
	sshURL    string
	httpsURL  string
	skill     string
	port      int
	logLevel  int
	env       map[string]string
	repos     map[string]repo
	outbound  []string
	inbound   []string
)

const (
	namePattern     = `^[a-z][a-z0-9-]*$`
	variablePattern = `^[A-Za-z_][A-Za-z0-9_]*$`
	repoPattern     = `^[A-Za-z0-9][A-Za-z0-9._-]*$`
)

// text is a string of a shape.
func text(title, pattern string, most uint64) *jsonschema.Schema {
	one := uint64(1)
	return &jsonschema.Schema{Type: "string", Title: title, Pattern: pattern, MinLength: &one, MaxLength: &most}
}

func (name) JSONSchema() *jsonschema.Schema { return text("name", namePattern, 64) }

// JSONSchema takes one name or a list.
func (names) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Title: "name, or list of names", OneOf: []*jsonschema.Schema{
		name("").JSONSchema(), list(name("").JSONSchema(), 1, 16),
	}}
}

// list is an array in which nothing stands twice.
func list(items *jsonschema.Schema, least, most uint64) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: items, UniqueItems: true, MinItems: &least, MaxItems: &most}
}

func (variable) JSONSchema() *jsonschema.Schema { return text("host variable", variablePattern, 256) }

func (host) JSONSchema() *jsonschema.Schema {
	return text("host", `^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`, 255)
}

func (cidr) JSONSchema() *jsonschema.Schema {
	return text("address or prefix", `^[0-9a-fA-F.:/]+$`, 64)
}

func (method) JSONSchema() *jsonschema.Schema { return text("method", `^[A-Za-z-]+$`, 32) }

func (duration) JSONSchema() *jsonschema.Schema {
	return text("duration", `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`, 32)
}

func (size) JSONSchema() *jsonschema.Schema {
	return text("size", `^[0-9]{1,12}(KiB|MiB|GiB|TiB)$`, 16)
}

// JSONSchema takes a number, or a size.
func (byteCount) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Title: "bytes, or size", OneOf: []*jsonschema.Schema{
		{Type: "integer", Minimum: "1", Maximum: "281474976710656"}, size("").JSONSchema(),
	}}
}

func (mediaType) JSONSchema() *jsonschema.Schema {
	return text("media type", `^[A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+|\*)$`, 127)
}

// JSONSchemaExtend demands a header's name where one is used.
func (auth) JSONSchemaExtend(s *jsonschema.Schema) {
	named := jsonschema.NewProperties()
	named.Set("scheme", &jsonschema.Schema{Const: "header"})
	s.If = &jsonschema.Schema{Properties: named}
	s.Then = &jsonschema.Schema{Required: []string{"header"}}
	s.Else = &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{"header"}}}
}

func (image) JSONSchema() *jsonschema.Schema {
	return text("image", `^[A-Za-z0-9][!#-&(-\[\]-~]*$`, 512)
}

func (hostPath) JSONSchema() *jsonschema.Schema { return text("path", "", 4096) }

func (sshURL) JSONSchema() *jsonschema.Schema {
	return text("SSH URL", `^(ssh://|([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9.-]+:)[^\s]+$`, 1024)
}

func (httpsURL) JSONSchema() *jsonschema.Schema {
	return text("https URL", `^https://[^\s@?#]+$`, 1024)
}

func (skill) JSONSchema() *jsonschema.Schema { return text("name of a skill", repoPattern, 64) }

func (port) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Title: "port", Minimum: "1", Maximum: "65535"}
}

func (logLevel) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Enum: []any{json.Number("0"), json.Number("1")}}
}

func (env) JSONSchema() *jsonschema.Schema {
	most := uint64(512)
	longest := uint64(32 << 10)
	return &jsonschema.Schema{
		Type: "object", Title: "strings by name", MaxProperties: &most,
		PropertyNames:        variable("").JSONSchema(),
		AdditionalProperties: &jsonschema.Schema{Type: "string", MaxLength: &longest},
	}
}

// JSONSchemaExtend bounds the names of repositories.
func (repos) JSONSchemaExtend(s *jsonschema.Schema) {
	most := uint64(64)
	s.MaxProperties = &most
	s.PropertyNames = text("", repoPattern, 100)
}

// JSONSchemaExtend has one key at most: the other may come from a parent.
func (repo) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, pair := range [][]string{{"identity", "provisioned_key"}, {"identity", "key"}, {"provisioned_key", "key"}} {
		s.AllOf = append(s.AllOf, &jsonschema.Schema{Not: &jsonschema.Schema{Required: pair}})
	}
}

// JSONSchemaExtend has one root at most.
func (bottle) JSONSchemaExtend(s *jsonschema.Schema) {
	properties := jsonschema.NewProperties()
	properties.Set("agent_provider", &jsonschema.Schema{Required: []string{"dockerfile"}})
	s.Not = &jsonschema.Schema{Required: []string{"image", "agent_provider"}, Properties: properties}
}

// JSONSchemaExtend has one login at most.
func (provider) JSONSchemaExtend(s *jsonschema.Schema) {
	properties := jsonschema.NewProperties()
	properties.Set("forward_host_credentials", &jsonschema.Schema{Const: true})
	s.Not = &jsonschema.Schema{Required: []string{"auth_token", "forward_host_credentials"}, Properties: properties}
}

// JSONSchemaExtend refuses an entry that would allow everything.
func (match) JSONSchemaExtend(s *jsonschema.Schema) {
	one := uint64(1)
	s.MinProperties = &one
}

// JSONSchemaExtend refuses a budget that bounds nothing.
func (budget) JSONSchemaExtend(s *jsonschema.Schema) { match{}.JSONSchemaExtend(s) }

// JSONSchemaExtend refuses rules that allow everything.
func (response) JSONSchemaExtend(s *jsonschema.Schema) { match{}.JSONSchemaExtend(s) }

func (outbound) JSONSchema() *jsonschema.Schema {
	return detectors("token_patterns", "known_secrets", "entropy")
}

func (inbound) JSONSchema() *jsonschema.Schema { return detectors("naive_injection_detection") }

// detectors is a list of names, or false for none.
func detectors(allowed ...any) *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "boolean", Enum: []any{false}},
		list(&jsonschema.Schema{Type: "string", Enum: allowed}, 1, uint64(len(allowed))),
	}}
}
