package manifest

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// MinTTL and MaxTTL bound a bottle's life.
const (
	MinTTL = time.Second
	MaxTTL = 30 * 24 * time.Hour
)

const (
	maxCPUs       = 1024
	maxPIDs       = 1 << 22
	maxSubBottles = 64
	maxSubDepth   = 8
	maxPublish    = 64
)

// SubBottles says which bottles the agent inside may launch itself.
type SubBottles struct {
	// Max is how many may live at one time; 0 = none.
	Max int
	// Depth is how many generations there may be; 0 = one.
	Depth int
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,12})(KiB|MiB|GiB|TiB)$`)

func (p *parser) ttl(a at) time.Duration {
	s, ok := p.str(a)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < MinTTL || d > MaxTTL {
		p.fail(a, fmt.Sprintf("%.40q is not a duration from %s to %s", s, MinTTL, MaxTTL), suggestDays(s)+`write for example "90m" or "8h"`)
		return 0
	}
	return d
}

var days = regexp.MustCompile(`^([1-9][0-9]?) ?d(?:ays?)?$`)

// suggestDays turns days, which a duration does not know, into hours.
func suggestDays(s string) string {
	m := days.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	n, _ := strconv.Atoi(m[1]) // two digits
	return fmt.Sprintf("did you mean %q? ", strconv.Itoa(24*n)+"h")
}

func (p *parser) resources(a at) backend.Limits {
	var l backend.Limits
	p.mapping(a, keys{read: map[string]func(at){
		"cpus":   func(a at) { l.CPUs = p.cpus(a) },
		"memory": func(a at) { l.MemoryBytes = p.size(a) },
		"disk":   func(a at) { l.DiskBytes = p.size(a) },
		"pids": func(a at) {
			n, _ := p.integer(a, 1, maxPIDs)
			l.PIDs = int(n)
		},
	}})
	return l
}

func (p *parser) cpus(a at) float64 {
	tag := a.node.ShortTag()
	if a.node.Kind != yaml.ScalarNode || (tag != "!!int" && tag != "!!float") {
		p.wrongType(a, "a number")
		return 0
	}
	n, err := strconv.ParseFloat(a.node.Value, 64)
	if err != nil || math.IsNaN(n) || n < 0.01 || n > maxCPUs {
		p.fail(a, fmt.Sprintf("it must be a number from 0.01 to %d", maxCPUs), "")
		return 0
	}
	return n
}

// size reads "512MiB". Units without "i" are refused, because half the world
// reads them as powers of ten.
func (p *parser) size(a at) int64 {
	s, ok := p.str(a)
	if !ok {
		return 0
	}
	m := sizePattern.FindStringSubmatch(s)
	shift := map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
	if m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if s := shift[m[2]]; err == nil && n > 0 && n <= math.MaxInt64>>s {
			return n << s
		}
	}
	p.fail(a, fmt.Sprintf("%.40q is not a size", s), suggestSize(s)+`write for example "512MiB" or "4GiB"`)
	return 0
}

var looseSize = regexp.MustCompile(`^([1-9][0-9]{0,8}) *([kKmMgGtT])([iI]?[bB]?)$`)

// suggestSize completes a size whose unit was written another way.
func suggestSize(s string) string {
	m := looseSize.FindStringSubmatch(s)
	if m == nil || sizePattern.MatchString(s) { // well written, and too much
		return ""
	}
	return fmt.Sprintf("did you mean %q? ", m[1]+strings.ToUpper(m[2])+"iB")
}

func sizeText(n int64) string {
	for _, unit := range []struct {
		name  string
		shift int
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}} {
		if n >= 1<<unit.shift && n%(1<<unit.shift) == 0 {
			return strconv.FormatInt(n>>unit.shift, 10) + unit.name
		}
	}
	return strconv.FormatInt(n>>10, 10) + "KiB"
}

func (p *parser) subBottles(a at) SubBottles {
	var s SubBottles
	number := func(into *int, low, high int64) func(at) {
		return func(a at) {
			n, _ := p.integer(a, low, high)
			*into = int(n)
		}
	}
	p.mapping(a, keys{read: map[string]func(at){
		"max":   number(&s.Max, 0, maxSubBottles),
		"depth": number(&s.Depth, 1, maxSubDepth),
	}})
	return s
}

// publish reads guest ports. Where the host offers them is decided at launch: a
// manifest cannot open a port of the host to a network.
func (p *parser) publish(a at) []int { return p.portList(a, maxPublish) }

func (p *parser) portList(a at, most int) []int {
	out := distinct(p, a, most, func(item at) (int, bool) {
		if item.node.Kind == yaml.ScalarNode && strings.ContainsAny(item.node.Value, ":-/") {
			p.fail(item, fmt.Sprintf("%.40q is not a port", item.node.Value), "write one TCP port number for each entry, no pairs, ranges or protocols")
			return 0, false
		}
		n, ok := p.integer(item, 1, math.MaxUint16)
		return int(n), ok
	})
	slices.Sort(out)
	return out
}
