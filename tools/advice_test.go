package tools

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// constants reads the string constants whose names match, from the sources of
// the packages that decide: no list here could be forgotten.
func constants(t *testing.T, name *regexp.Regexp) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"egress", "policy", "ledger"} {
		files, err := filepath.Glob(filepath.Join("..", "sidecars", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no sources of %s: %v", dir, err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				for i := 0; ok && i < len(spec.Values) && i < len(spec.Names); i++ {
					lit, ok := spec.Values[i].(*ast.BasicLit)
					if !ok || lit.Kind != gotoken.STRING || !name.MatchString(spec.Names[i].Name) {
						continue
					}
					value, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					out[value] = dir + "." + spec.Names[i].Name
				}
				return true
			})
		}
	}
	return out
}

// Every layer that decides says what to do, also those that a route's rules add.
func TestEveryLayerHasAdvice(t *testing.T) {
	layers := constants(t, regexp.MustCompile(`^[lL]ayer[A-Z]`))
	for _, known := range []string{"parse", "host", "git", "match", "dlp", "pin", "budget", "identity", "address", "upstream", "response", "ledger"} {
		layers[known] += ""
	}
	if len(layers) < 12 {
		t.Fatalf("only %d layers were found: %v", len(layers), layers)
	}
	for layer, where := range layers {
		text, ok := layerAdvice(sidecars.Decision{Layer: layer, Host: "h.example", Port: 8443})
		if !ok {
			t.Errorf("layer %q (%s) says nothing of what to do", layer, where)
		}
		plainAdvice(t, layer, text)
	}
}

// Every reason has a text of its own or its layer's, and no text is for a
// reason that nobody gives.
func TestReasonAdvice(t *testing.T) {
	reasons := constants(t, regexp.MustCompile(`^[rR]eason[A-Z]`))
	if len(reasons) < 40 {
		t.Fatalf("only %d reasons were found", len(reasons))
	}
	own := 0
	for reason := range reasons {
		text, ok := reasonAdvice(sidecars.Decision{Reason: reason, Host: "h.example"})
		if ok {
			own++
			plainAdvice(t, reason, text)
		}
	}
	file, err := parser.ParseFile(gotoken.NewFileSet(), "advice.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	ast.Inspect(file, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		if ok && f.Name.Name != "reasonAdvice" {
			return false
		}
		if c, ok := n.(*ast.CaseClause); ok {
			listed += len(c.List)
		}
		return true
	})
	if own != listed {
		t.Errorf("%d reasons have a text, and there are texts for %d: one is for a reason that nobody gives", own, listed)
	}
}

// plainAdvice demands a sentence that names no tool and promises nothing.
func plainAdvice(t *testing.T, of, text string) {
	t.Helper()
	if len(text) < 30 || !strings.HasSuffix(text, ".") {
		t.Errorf("%s: %q is no sentence", of, text)
	}
	for _, word := range []string{"exec", "cleanup", "dry_run", "approve"} {
		if strings.Contains(text, word) {
			t.Errorf("%s: %q names %s", of, text, word)
		}
	}
}

func TestAdviceOfTheUnknown(t *testing.T) {
	if got := howToAsk(sidecars.Decision{Layer: "new", Reason: "new"}); !strings.Contains(got, "not allowed by any route") {
		t.Errorf("advice %q", got)
	}
	if got := howToAsk(sidecars.Decision{Layer: "ledger", Reason: "audit_unavailable"}); got != ledgerAdvice {
		t.Errorf("advice %q", got)
	}
	if got := howToAsk(sidecars.Decision{Layer: "host", Host: "a\x1b[31m\nb"}); strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("advice %q", got)
	}
}
