package manifest

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// budget reads how much of a route may be used.
func (p *parser) budget(a at) *sidecars.Budget {
	var b sidecars.Budget
	ok := p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"requests":  func(v at) { b.Requests, _ = p.integer(v, 1, policy.MaxBudget) },
			"bytes_out": func(v at) { b.BytesOut = p.bytes(v) },
			"bytes_in":  func(v at) { b.BytesIn = p.bytes(v) },
			"per_minute": func(v at) {
				n, _ := p.integer(v, 1, policy.MaxPerMinute)
				b.PerMinute = int(n)
			},
		}})
	})
	if !ok {
		return nil
	}
	if b == (sidecars.Budget{}) {
		p.fail(a, "a budget needs requests, bytes_out, bytes_in or per_minute", "remove it for no bound")
		return nil
	}
	return &b
}

// response reads what a route may answer.
func (p *parser) response(a at) *sidecars.ResponseRules {
	var r sidecars.ResponseRules
	ok := p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"max_bytes": func(v at) { r.MaxBytes = p.bytes(v) },
			"types":     func(v at) { r.Types = p.mediaTypes(v) },
		}})
	})
	if !ok {
		return nil
	}
	if r.MaxBytes == 0 && r.Types == nil {
		p.fail(a, "it needs max_bytes or types", "remove it for any answer")
		return nil
	}
	return &r
}

func (p *parser) mediaTypes(a at) []string {
	if !p.filled(a, "every type") {
		return nil
	}
	return distinct(p, a, policy.MaxTypes, func(item at) (string, bool) {
		s, ok := p.str(item)
		if !ok {
			return "", false
		}
		s = strings.ToLower(s)
		if err := policy.CheckMediaType(s); err != nil {
			p.fail(item, fmt.Sprintf("%.80q: %v", s, err), `write for example "application/json" or "text/*"`)
			return "", false
		}
		return s, true
	})
}

// bytes reads a number of bytes, or a size such as "10MiB".
func (p *parser) bytes(a at) int64 {
	if a.node.Kind == yaml.ScalarNode && a.node.ShortTag() == "!!str" {
		if n := p.size(a); n <= policy.MaxBudget {
			return n
		}
		p.fail(a, "it is more than can be counted", "remove it for no bound")
		return 0
	}
	if a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!int" {
		p.wrongType(a, `a number of bytes, or a size such as "10MiB"`)
		return 0
	}
	n, _ := p.integer(a, 1, policy.MaxBudget)
	return n
}

// bytesText is a number of bytes as a manifest has it.
func bytesText(n int64) string {
	if n%(1<<10) != 0 {
		return strconv.FormatInt(n, 10)
	}
	return sizeText(n)
}
