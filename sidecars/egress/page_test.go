package egress

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/egress/egresstest"
)

// reasonsIn are the codes that a file's constants give to refusals.
func reasonsIn(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	check(t, err)
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "reason") {
			return true
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok {
				code, err := strconv.Unquote(lit.Value)
				check(t, err)
				codes = append(codes, code)
			}
		}
		return true
	})
	return codes
}

// firstCells are the first cells of the rows of a page's tables.
func firstCells(t *testing.T, page string) []string {
	t.Helper()
	var cells []string
	for line := range strings.Lines(page) {
		if cut, ok := strings.CutPrefix(line, "| "); ok {
			cell, _, _ := strings.Cut(cut, " |")
			cells = append(cells, cell)
		}
	}
	return cells
}

// TestPage holds docs/egress.md to the code: every reason is explained there and
// no other, every row of the catalogue is listed and attacked, and every test
// that is named exists.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/egress.md")
	check(t, err)
	page := string(raw)
	_, rest, ok := strings.Cut(page, "\n## Refusals\n")
	refusals, _, ended := strings.Cut(rest, "\n## ")
	if !ok || !ended {
		t.Fatal("the page has no section about refusals")
	}
	told := map[string]bool{}
	for _, cell := range firstCells(t, refusals) {
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cell, -1) {
			told[m[1]] = true
		}
	}
	given := slices.Concat(reasonsIn(t, "refusal.go"), reasonsIn(t, "../policy/decide.go"), reasonsIn(t, "../ledger/writer.go"))
	if len(given) < 60 {
		t.Fatalf("only %d reasons were found in the code", len(given))
	}
	for _, code := range given {
		if !told[code] {
			t.Errorf("%s is not explained", code)
		}
		delete(told, code)
	}
	for code := range told {
		t.Errorf("%s is explained and never given", code)
	}
	rows := map[string]bool{}
	for _, a := range (egresstest.Scene{EvilIP: netip.MustParseAddr("127.0.0.2"), Known: testKnown, Canary: testCanary}).Attacks() {
		rows[a.Row] = true
	}
	listed := slices.DeleteFunc(firstCells(t, page), func(cell string) bool { return !regexp.MustCompile(`^[HPX]\d+$`).MatchString(cell) })
	slices.Sort(listed)
	if attacked := slices.Sorted(maps.Keys(rows)); !slices.Equal(listed, attacked) {
		t.Errorf("the page lists %q, the table attacks %q", listed, attacked)
	}
	tests := sources(t)
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(tests, "func "+name[1]+"(") {
			t.Errorf("the page names %s, which is no test", name[1])
		}
	}
}

// sources are the tests that the page may name.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{".", "../../provision/provisiontest", "../../backend/linux"} {
		files, err := os.ReadDir(dir)
		check(t, err)
		for _, f := range files {
			if strings.HasSuffix(f.Name(), "_test.go") {
				text, err := os.ReadFile(dir + "/" + f.Name())
				check(t, err)
				all.Write(text)
			}
		}
	}
	return all.String()
}
