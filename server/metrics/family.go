package metrics

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxSeries bounds the series of one family. What is beyond is counted under
// overflow: label values come from ledgers, whose writers may have been taken
// over.
const (
	maxSeries = 512
	maxLabel  = 64
	overflow  = "other"
)

// kind is a metric type of the text format.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family is one metric with its series.
type family struct {
	name, help string
	kind       kind
	labels     []string
	bounds     []float64 // of a histogram's buckets, ascending

	mu     sync.Mutex
	series map[string]*series // by the label values, joined
}

type series struct {
	values  []string
	sum     float64
	buckets []uint64
	count   uint64
}

// get finds or makes the series of some label values. It must be called with
// the lock held.
func (f *family) get(values []string) *series {
	clean := make([]string, len(f.labels))
	for i := range clean {
		if i < len(values) {
			clean[i] = label(values[i])
		}
	}
	key := strings.Join(clean, "\x00")
	if s := f.series[key]; s != nil {
		return s
	}
	if len(f.series) >= maxSeries {
		for i := range clean {
			clean[i] = overflow
		}
		key = strings.Join(clean, "\x00")
		if s := f.series[key]; s != nil {
			return s
		}
	}
	s := &series{values: clean, buckets: make([]uint64, len(f.bounds))}
	if f.series == nil {
		f.series = map[string]*series{}
	}
	f.series[key] = s
	return s
}

// label bounds a label value and makes it printable.
func label(value string) string {
	value = value[:min(len(value), maxLabel)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, value)
}

func (f *family) add(n float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.get(values).sum += n
}

func (f *family) set(n float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.get(values).sum = n
}

// observe adds a value to a histogram.
func (f *family) observe(n float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.get(values)
	s.sum += n
	s.count++
	for i, bound := range f.bounds {
		if n <= bound {
			s.buckets[i]++
		}
	}
}

// keep drops all series whose first label value is not kept.
func (f *family) keep(kept func(first string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.series, func(_ string, s *series) bool { return !kept(s.values[0]) })
}

// write renders the family; one without series is left out.
func (f *family) write(out *bytes.Buffer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.series) == 0 {
		return
	}
	out.WriteString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " " + string(f.kind) + "\n")
	for _, key := range slices.Sorted(maps.Keys(f.series)) {
		s := f.series[key]
		if f.kind != histogram {
			f.line(out, "", s.values, "", number(s.sum))
			continue
		}
		for i, bound := range f.bounds {
			f.line(out, "_bucket", s.values, number(bound), strconv.FormatUint(s.buckets[i], 10))
		}
		count := strconv.FormatUint(s.count, 10)
		f.line(out, "_bucket", s.values, "+Inf", count)
		f.line(out, "_sum", s.values, "", number(s.sum))
		f.line(out, "_count", s.values, "", count)
	}
}

// line renders one sample; le is the bucket's bound.
func (f *family) line(out *bytes.Buffer, suffix string, values []string, le, value string) {
	out.WriteString(f.name + suffix)
	pairs := make([]string, 0, len(values)+1)
	for i, v := range values {
		pairs = append(pairs, f.labels[i]+"="+strconv.Quote(v))
	}
	if le != "" {
		pairs = append(pairs, `le="`+le+`"`)
	}
	if len(pairs) > 0 {
		out.WriteString("{" + strings.Join(pairs, ",") + "}")
	}
	out.WriteString(" " + value + "\n")
}

func number(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
