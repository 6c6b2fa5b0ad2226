package dlp

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var resultsFile = flag.String("results", "", "write the table of the corpus to this file")

// tally counts a class of samples.
type tally struct{ samples, hits, warned int }

// measure scans samples and returns how many of each class were found, and
// calls bad with each that is not as its label says.
func measure(s *Scanner, all []sample, bad func(sample, []Finding)) map[string]*tally {
	classes := map[string]*tally{}
	for _, m := range all {
		found := s.ScanAll(StreamOptions{}, m.texts)
		hit, warned := false, false
		for _, f := range found {
			switch {
			case len(m.kinds) > 0:
				hit = hit || slices.Contains(m.kinds, f.Kind)
			case m.detector != "":
				hit = hit || f.Detector == m.detector
			default:
				hit = hit || f.Level >= Act
				warned = warned || f.Level == Warn
			}
		}
		c := classes[m.class]
		if c == nil {
			c = &tally{}
			classes[m.class] = c
		}
		c.samples++
		if hit {
			c.hits++
		}
		if warned {
			c.warned++
		}
		if negative := len(m.kinds) == 0 && m.detector == ""; hit == negative && bad != nil {
			bad(m, found)
		}
	}
	return classes
}

func TestCorpus(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("the corpus takes some seconds")
	}
	g := newGenerator(42)
	known, canaries := g.secrets(), g.secrets()[:4]
	s := newScanner(t, Options{Known: known, Canaries: canaries})
	positives := slices.Concat(g.tokens(t), g.knownSamples(known, KnownSecrets), g.knownSamples(canaries, Canary))
	negatives := g.negatives(t)
	missed := map[string]int{}
	recall := measure(s, positives, func(m sample, found []Finding) { missed[fmt.Sprint(m.class, " ", m.kinds, " in ", m.texts[0].Field)]++ })
	shown := 0
	alarms := measure(s, negatives, func(m sample, found []Finding) {
		if shown++; shown <= 40 {
			t.Logf("a false alarm in %s: %s", m.class, excerpt(m, found))
		}
	})
	report := table(recall, alarms)
	t.Log("\n" + report)
	for _, k := range slices.Sorted(maps.Keys(missed)) {
		t.Logf("missed %d of %s", missed[k], k)
	}
	if *resultsFile != "" {
		text := "# Corpus of the secret scanner\n\nCommand: `go test ./sidecars/dlp -run TestCorpus -results ../../evals/results/dlp.md`\n\n" + report
		if err := os.WriteFile(*resultsFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	demand(t, recall, alarms)
}

// excerpt shows what a false alarm was raised by. Negatives hold no secret.
func excerpt(m sample, found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		if f.Level < Act {
			continue
		}
		text := m.texts[0].Value
		fmt.Fprintf(&b, "%s %s %s %q ", f.Detector, f.Kind, f.Via, text[max(0, f.Start-20):min(int64(len(text)), max(f.End, f.Start+60))])
	}
	return b.String()
}

// demand holds the figures to what is promised.
func demand(t *testing.T, recall, alarms map[string]*tally) {
	t.Helper()
	positives, flagged, samples := 0, 0, 0
	for class, c := range recall {
		positives += c.samples
		least := 0.95
		switch {
		case strings.HasPrefix(class, KnownSecrets), strings.HasPrefix(class, Canary):
			least = 1
		case strings.Contains(class, "warnings"):
			least = 0.5
		}
		if float64(c.hits) < least*float64(c.samples) {
			t.Errorf("%s: %d of %d found, want %.0f %%", class, c.hits, c.samples, 100*least)
		}
	}
	for _, c := range alarms {
		flagged, samples = flagged+c.hits, samples+c.samples
	}
	if float64(flagged) > 0.005*float64(samples) {
		t.Errorf("%d of %d texts without a secret raise an alarm, want 0.5 %%", flagged, samples)
	}
	if positives < 3000 || samples < 3000 {
		t.Errorf("the corpus has only %d positives and %d negatives", positives, samples)
	}
}

func table(recall, alarms map[string]*tally) string {
	var b strings.Builder
	rows := func(head string, classes map[string]*tally, last bool) {
		var sum tally
		b.WriteString(head)
		for _, class := range slices.Sorted(maps.Keys(classes)) {
			c := classes[class]
			sum = tally{sum.samples + c.samples, sum.hits + c.hits, sum.warned + c.warned}
			fmt.Fprintf(&b, "| %s | %d | %d | %.2f %% |", class, c.samples, c.hits, 100*float64(c.hits)/float64(c.samples))
			if last {
				fmt.Fprintf(&b, " %d |", c.warned)
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "| **all** | %d | %d | %.2f %% |", sum.samples, sum.hits, 100*float64(sum.hits)/float64(sum.samples))
		if last {
			fmt.Fprintf(&b, " %d |", sum.warned)
		}
		b.WriteString("\n\n")
	}
	rows("| Texts with a secret | samples | found | recall |\n|--|--|--|--|\n", recall, false)
	rows("| Texts without one | samples | alarms | rate | with warnings |\n|--|--|--|--|--|\n", alarms, true)
	return b.String()
}
