package grammar

// scanned is what a command found among the options of a line.
type scanned struct {
	cmd  *command
	rest line
	// used are the tokens that the command understood, consumed those of them
	// that are gone for what comes after it: a declared-only option is not.
	used, consumed []int
	found          []finding
}

type finding struct {
	opt   *option
	value string
}

// scan reads the line up to its end or, for a command that hands its rest on,
// up to the first token that it cannot use. Options that it does not know are
// left for its subcommands, or to be complained about.
func (p *parser) scan() (*scanned, *Refusal) {
	s := &scanned{cmd: p.cmd, rest: p.line.clone()}
	for i := s.rest.next(0); i >= 0; i = s.rest.next(i + 1) {
		s.rest.pop(i)
		t := p.line.tokens[i]
		switch t.kind {
		case wordToken:
			if p.endsScan(t.text) {
				return s, nil
			}
		case optionToken:
			opt := p.cmd.option(t.name, p.at)
			if opt == nil {
				// A pack is looked at letter by letter before it counts as unknown.
				if p.cmd.captures() && !t.pack {
					return s, nil
				}
				continue
			}
			if refusal := s.take(opt, i); refusal != nil {
				return nil, refusal
			}
		}
	}
	return s, nil
}

// endsScan decides on a word that no option took as its value.
func (p *parser) endsScan(word string) bool {
	sub := p.cmd.child(word, p.at)
	switch {
	case sub != nil && sub.Passthrough:
		return true
	case sub != nil && p.cmd.fallbackCaptures():
		return false
	default:
		return p.cmd.captures()
	}
}

// take consumes the option at token i and its value.
func (s *scanned) take(opt *option, i int) *Refusal {
	t, indices := s.rest.tokens[i], []int{i}
	value := t.value
	switch {
	case opt.Arity == 0 && t.attached:
		return usage(ruleFlagValue, "The option '%s' does not take any value, but '%s' was specified.", t.name, t.value)
	case opt.Arity == 1 && !t.attached:
		next := s.rest.nextArgument(i)
		if next < 0 || s.rest.tokens[next].kind != wordToken {
			return usage(ruleMissingValue, "Missing value for '%s'", t.name)
		}
		value, indices = s.rest.tokens[next].text, append(indices, next)
	}
	if opt.Arity == 1 && !opt.accepts(value) {
		return usage(ruleValueType, "The value '%s' is invalid for '%s'", value, t.name)
	}
	if other := s.excluded(opt); other != nil {
		return usage(ruleExclusive, "Value to be set with flag '%s' had already been set with flag '%s'", t.name, other.Names[0])
	}
	for _, j := range indices {
		s.rest.remove(j)
	}
	s.used = append(s.used, indices...)
	if !opt.DeclaredOnly {
		s.consumed = append(s.consumed, indices...)
		s.found = append(s.found, finding{opt, value})
	}
	return nil
}

// excluded is a flag found already that sets the same setting otherwise.
func (s *scanned) excluded(opt *option) *option {
	for _, f := range s.found {
		if opt.Sets != "" && f.opt.Sets == opt.Sets && f.opt.To != opt.To {
			return f.opt
		}
	}
	return nil
}

// record adds what was found to the result.
func (s *scanned) record(out *Parsed) {
	for _, f := range s.found {
		if f.opt.Arity == 0 {
			out.Flags[f.opt.canonical()] = true
		} else {
			out.Options[f.opt.canonical()] = append(out.Options[f.opt.canonical()], f.value)
		}
	}
}

// words fills the command's positionals from the arguments that its options
// did not use. It gives their tokens and the first required one that has no
// word. An ordinary positional steps over options and `--`; the list that
// captures takes both as they are.
func (p *parser) words(s *scanned) (words []string, used []int, missing string) {
	left := p.line.clone()
	for _, i := range s.used {
		left.remove(i)
	}
	i := -1
	for _, pos := range p.cmd.Positionals {
		n := 0
		for pos.takesMore(n) {
			next := left.nextArgument(i)
			if next < 0 {
				break
			}
			i = next
			if t := left.tokens[i]; pos.captures() || t.kind == wordToken {
				words, used, n = append(words, t.text), append(used, i), n+1
			}
		}
		if n < pos.Min && missing == "" {
			missing = pos.Name
		}
	}
	return words, used, missing
}
