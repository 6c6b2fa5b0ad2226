package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Column widths of the probe report.
const (
	nameColumn = 28
	timeColumn = 11
)

// probePrinter prints the head and then every section as it ends. For JSON it
// prints nothing.
func (c *cli) probePrinter(o probeOptions, bar *progress) func(*probeSection) {
	if o.asJSON {
		return func(*probeSection) { bar.clear() }
	}
	c.printProbeHead()
	return func(s *probeSection) {
		bar.clear()
		c.printSection(s)
	}
}

func (c *cli) printProbeHead() {
	s := c.con.outStyle()
	r := newProbeReport()
	who := fmt.Sprintf("uid %d", r.Host.UID)
	if r.Host.UID == 0 {
		who = "root"
	}
	c.con.printf("%s %s\n", s.bold("bottle-mcp probe"), s.faint(r.Version.Version+", "+r.Version.Go))
	c.con.printf("host: %s %s, %s, %d CPUs, %s%s\n", r.Host.OS, r.Host.Kernel, r.Host.Arch, r.Host.CPUs, who, inCI())
}

// inCI says that the report comes from a continuous build.
func inCI() string {
	if os.Getenv("CI") != "" {
		return ", CI"
	}
	return ""
}

// printSection prints a heading and one line per check. Checks of the same
// name, run as several users with the same finding, share a line.
func (c *cli) printSection(section *probeSection) {
	s := c.con.outStyle()
	heading := fmt.Sprintf("%-*s", c.con.width-timeColumn, section.Name)
	if n := len(section.Checks); section.Name == "isolation" {
		heading = fmt.Sprintf("%-*s", c.con.width-timeColumn, fmt.Sprintf("isolation, %d checks from inside", n))
	}
	c.con.printf("\n%s%*s\n", s.bold(heading), timeColumn, milliseconds(time.Duration(section.Elapsed)))
	for _, row := range mergeChecks(section.Checks) {
		c.printCheck(row)
	}
}

// mergedCheck is one line of the report.
type mergedCheck struct {
	probeCheck
	as []string
}

// mergeChecks groups checks that differ only in who ran them and in their time.
// A red check keeps a line of its own.
func mergeChecks(checks []probeCheck) []mergedCheck {
	var rows []mergedCheck
	for _, check := range checks {
		at := slices.IndexFunc(rows, func(r mergedCheck) bool {
			return check.As != "" && r.Name == check.Name && r.Detail == check.Detail && r.OK && check.OK
		})
		if at < 0 {
			row := mergedCheck{probeCheck: check}
			if check.As != "" {
				row.as = []string{check.As}
			}
			rows = append(rows, row)
			continue
		}
		if !slices.Contains(rows[at].as, check.As) {
			rows[at].as = append(rows[at].as, check.As)
		}
		rows[at].Elapsed = max(rows[at].Elapsed, check.Elapsed)
	}
	return rows
}

// printCheck prints mark, name, detail and time in one line; the detail of a
// red check is never cut, but wrapped.
func (c *cli) printCheck(row mergedCheck) {
	s := c.con.outStyle()
	const indent, gap = 4, 2
	room := c.con.width - indent - nameColumn - timeColumn - gap
	detail := row.Detail
	if len(row.as) > 0 {
		detail = strings.Join(row.as, "+") + ": " + detail
	}
	detail = oneLine(detail, 0)
	lines := []string{oneLine(detail, room)}
	name := oneLine(row.Name, nameColumn)
	if !row.OK {
		lines = wrapText(detail, room)
		name = s.red(pad(name, nameColumn))
	}
	c.con.printf("  %s %s  %s%*s\n", s.mark(row.OK), pad(name, nameColumn), s.faint(pad(lines[0], room)),
		timeColumn, milliseconds(time.Duration(row.Elapsed)))
	for _, line := range lines[1:] {
		c.con.printf("%*s%s\n", indent+nameColumn+gap, "", line)
	}
}

// printProbeEnd prints what is in force, what to do, and the verdict.
func (c *cli) printProbeEnd(r *probeReport) {
	s := c.con.outStyle()
	if r.Backend.Name != "" {
		c.con.printf("\n%s\n", s.bold("walls"))
		c.printList("backend", r.Backend.Name+", isolation class "+r.Backend.Isolation)
		c.printEach("in force", r.Backend.Walls)
		for _, missing := range r.Backend.Missing {
			c.printList(s.yellow("missing"), missing.Name+": "+missing.Reason)
		}
	}
	if r.Bottle.Kept {
		c.con.printf("\nbottle %s is left running; remove it with: bottle-mcp cleanup %s\n", r.Bottle.ID, r.Bottle.ID)
	}
	for _, hint := range r.Hints {
		c.con.printf("  %s %s\n", s.bold("hint:"), oneLine(hint, 0))
	}
	verdict := fmt.Sprintf("probe: %d checks passed, %d failed", r.Passed, r.Failed)
	if r.OK {
		verdict = s.green(verdict)
	} else {
		verdict = s.red(verdict)
	}
	c.con.printf("\n%s %s\n", verdict, s.faint("in "+milliseconds(time.Duration(r.Elapsed))))
}

// printList prints a label and wrapped text beside it.
func (c *cli) printList(label, text string) {
	const labelColumn = 10
	for i, line := range wrapText(oneLine(text, 0), c.con.width-labelColumn-2) {
		if i > 0 {
			label = ""
		}
		c.con.printf("  %s%s\n", pad(label, labelColumn), line)
	}
}

// printEach prints a label and one text a line beside it.
func (c *cli) printEach(label string, texts []string) {
	if len(texts) == 0 {
		c.printList(label, "-")
	}
	for _, text := range texts {
		c.printList(label, text)
		label = ""
	}
}

// pad fills text with spaces up to width; colour codes count as nothing.
func pad(text string, width int) string {
	visible := 0
	for rest := text; rest != ""; {
		if strings.HasPrefix(rest, "\x1b[") {
			rest = rest[strings.IndexByte(rest, 'm')+1:]
			continue
		}
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
		visible++
	}
	return text + strings.Repeat(" ", max(0, width-visible))
}

// wrapText breaks text into lines of at most width, at spaces where it can.
// There is always one line.
func wrapText(text string, width int) []string {
	width = max(width, 20)
	var lines []string
	line := []rune{}
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > width {
			lines = append(lines, string(line))
			line = line[:0:0]
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		line = append(line, w...)
		for len(line) > width {
			lines = append(lines, string(line[:width]))
			line = append([]rune{}, line[width:]...)
		}
	}
	return append(lines, string(line))
}
