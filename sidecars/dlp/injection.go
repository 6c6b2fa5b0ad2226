package dlp

import "strings"

// The detector of prompt injection is naive on purpose: it looks for phrases
// that instruct a model, weighs them, and adds up the weights of different
// phrases that stand close together. It reads letters and digits only, without
// case, so that spacing, punctuation and invisible characters hide nothing.
const (
	// InjectionWarn is the score from which a text is reported, as a Warn.
	InjectionWarn = 50
	// InjectionAct is the score from which a report weighs.
	InjectionAct = 100
	// injectionReach is how many bytes apart phrases add up.
	injectionReach = 4096
	// invisibleRun is how many letters of the block of tags, which no font
	// shows, are no flag of a country any more.
	invisibleRun = 10
)

// phrase is a sequence of groups of words. One word of each must occur, with at
// most gap letters between two.
type phrase struct {
	kind   string
	score  int
	gap    int
	groups []string // words are separated by bars
}

// phrases are what is looked for. 60 is for words that have hardly another use
// than to take a model over, 40 for what is common in attacks and possible
// elsewhere, 25 for what only adds to others.
func phrases() []phrase {
	return []phrase{
		{"override", 60, 14, []string{
			"ignore|disregard|forget|override|bypass",
			"previous|prior|above|earlier|preceding|foregoing|existing|original|system|your",
			"instruction|direction|prompt|rules|guidelines|commands|constraints|programming",
		}},
		{"override", 60, 8, []string{"ignore|disregard|forget", "everything|all that|whatever", "above|before this|you were told|you have been told"}},
		{"override", 40, 12, []string{"do not follow|dont follow|stop following|no longer follow|no longer bound by", "instruction|rules|guidelines|system prompt|safety"}},
		{"new instructions", 40, 20, []string{"new instruction|updated instruction|real instruction|actual instruction|your true task|your new task", "follow|user|developer|system|anthropic|openai|are|is"}},
		{"role", 40, 6, []string{
			"you are now|from now on you are|from now on act as|pretend to be|you will now act as|enter|enable|switch to",
			"developer mode|jailbroken|jailbreak|unrestricted|god mode|do anything now|debug mode with full access",
		}},
		{"secrecy", 40, 10, []string{"do not|dont|never|without|avoid", "tell|mention|inform|reveal|alert|notify|show", "user|human|anyone|operator|owner"}},
		{"exfiltration", 60, 24, []string{
			"send|post|upload|exfiltrate|forward|email|transmit|curl|submit",
			"system prompt|api key|access token|environment variable|credentials|private key|secrets|ssh key|id rsa|env file|conversation history|chat history",
			"to http|to https|to the following|to this|to my|webhook|at http|via http|using curl|to the address|to the url",
		}},
		{"prompt theft", 40, 10, []string{"reveal|print|repeat|output|show me|display|tell me", "your|the", "system prompt|initial instructions|hidden instructions|full prompt|developer message"}},
		{"addressed to a model", 25, 12, []string{
			"attention|note to|important|message for|message to|instructions for|instruction to|hey|dear",
			"ai assistant|ai agent|llm|language model|chatgpt|claude|copilot|coding agent|ai model|assistant",
		}},
		{"run this", 25, 12, []string{"run|execute", "the following|this", "command|script|code", "immediately|before continuing|before you continue|first|without asking|in your terminal|in your shell"}},
		// Other languages lose the letters that are not ASCII's, as they are read here.
		{"override", 60, 14, []string{"ignoriere|vergiss|missachte", "vorherig|bisherig|obig|frher|frueher|vorangegangen", "anweisung|instruktion|regeln|befehle|vorgaben"}},                                                                           //nolint:misspell // German
		{"override", 60, 14, []string{"ignora|olvida|omite|dimentica|ignore|ignorez|oublie|esquea|esqueca", "instruccion|instrues|instrucoes|istruzioni|instruction|consigne|reglas|regole", "anterior|previas|precedent|prcdent|antrieur|anterieur"}}, //nolint:misspell // Romance languages
		// Between the parts may stand what JSON makes of an angle bracket.
		{"template", 60, 5, []string{"imstart|startheaderid|beginoftext", "system|user|assistant|startheaderid"}},
	}
}

// marks are control words of chat templates, which have no place in a page. They
// are compared as they stand and separated by spaces.
func marks() []phrase {
	return []phrase{
		{"template", 60, 0, []string{"<|im_start|> <|im_end|> <|system|> <|start_header_id|> <|eot_id|> <|begin_of_text|>"}},
		{"template", 60, 0, []string{"[INST] [/INST] <<SYS>> <</SYS>> <system_prompt> <start_of_turn>"}},
		{"tool call", 40, 0, []string{"<tool_call> <function_calls> <|tool_calls|> [TOOL_CALLS]"}},
	}
}

// word is what an automaton's id stands for.
type word struct{ phrase, group, length int }

// injectionRules are compiled once for a Scanner, when they are first needed.
type injectionRules struct {
	phrases []phrase
	words   []word
	folded  *automaton // the words of phrases
	exact   *automaton // marks
}

// tags are the first three bytes of the letters of the block of tags, U+E0020
// to U+E007F.
const tagsA, tagsB = "\xf3\xa0\x80", "\xf3\xa0\x81"

// invisible is the word of a letter of that block.
const invisible = -1

func newInjectionRules() *injectionRules {
	said := phrases()
	r := &injectionRules{phrases: append(said, marks()...)}
	folded := newTrie(alnumClasses())
	var exact [][]byte
	var exactID []uint32
	add := func(w word) uint32 {
		r.words = append(r.words, w)
		return uint32(len(r.words) - 1) // #nosec G115 -- some hundred words
	}
	for i, p := range r.phrases {
		for g, group := range p.groups {
			if i >= len(said) {
				for mark := range strings.FieldsSeq(group) {
					exact, exactID = append(exact, []byte(mark)), append(exactID, add(word{i, g, len(mark)}))
				}
				continue
			}
			for text := range strings.SplitSeq(group, "|") {
				text = strings.ReplaceAll(text, " ", "")
				folded.add([]byte(text), add(word{i, g, len(text)}))
			}
		}
	}
	for _, tag := range []string{tagsA, tagsB} {
		exact, exactID = append(exact, []byte(tag)), append(exactID, add(word{invisible, 0, len(tag)}))
	}
	marks := newTrie(exactClasses(exact))
	for i, w := range exact {
		marks.add(w, exactID[i])
	}
	r.folded, r.exact = folded.build(), marks.build()
	return r
}

// injectionReader looks for injection in one text.
type injectionReader struct {
	rules *injectionRules
	a, b  uint32
	at    int64 // bytes read
	seen  int   // letters and digits read
	// reached is, by phrase and group, where the last match of the groups up to
	// this one ended, in letters, from 1.
	reached [][]int
	// found is, by phrase, where it was last complete, from 1.
	found   []int64
	told    Level
	toldAny bool
	run     int   // letters of the block of tags in a row
	lastTag int64 // where the last one ended
}

func (r *injectionReader) reset(rules *injectionRules) {
	r.rules, r.a, r.b, r.at, r.seen, r.toldAny, r.run, r.lastTag = rules, 0, 0, 0, 0, false, 0, 0
	if len(r.found) != len(rules.phrases) {
		r.found = make([]int64, len(rules.phrases))
		r.reached = make([][]int, len(rules.phrases))
		for i, p := range rules.phrases {
			r.reached[i] = make([]int, len(p.groups))
		}
	}
	clear(r.found)
	for _, groups := range r.reached {
		clear(groups)
	}
}

// write reads on.
func (r *injectionReader) write(p []byte, to sink) {
	folded, exact := r.rules.folded, r.rules.exact
	// Locals, which the processor keeps at hand: most answers are read by nothing
	// else for as long.
	a, b, seen, before := r.a, r.b, r.seen, r.at
	nextA, nextB := exact.next, folded.next
	classA, classB := &exact.class, &folded.class
	for i, c := range p {
		a = nextA[a+uint32(classA[c])]
		if a >= exact.accept {
			r.at, r.seen = before+int64(i)+1, seen
			for _, id := range exact.found(a) {
				r.mark(r.rules.words[id], to)
			}
		}
		class := classB[c]
		if class == 0 {
			continue
		}
		seen++
		b = nextB[b+uint32(class)]
		if b >= folded.accept {
			r.at, r.seen = before+int64(i)+1, seen
			for _, id := range folded.found(b) {
				r.word(r.rules.words[id], to)
			}
		}
	}
	r.a, r.b, r.seen, r.at = a, b, seen, before+int64(len(p))
}

// mark takes a mark, or a letter nobody sees.
func (r *injectionReader) mark(w word, to sink) {
	if w.phrase != invisible {
		r.complete(w.phrase, to)
		return
	}
	if r.at-r.lastTag != 4 {
		r.run = 0
	}
	r.run++
	r.lastTag = r.at
	if r.run == invisibleRun {
		r.tell(Finding{Kind: "invisible text", Score: InjectionAct}, to)
	}
}

// word takes a word of a phrase: it counts when the group before it has just
// been there.
func (r *injectionReader) word(w word, to sink) {
	p, reached := r.rules.phrases[w.phrase], r.reached[w.phrase]
	if w.group > 0 {
		before := reached[w.group-1]
		if gap := r.seen - w.length - before; before == 0 || gap < 0 || gap > p.gap {
			return
		}
	}
	reached[w.group] = r.seen
	if w.group == len(reached)-1 {
		r.complete(w.phrase, to)
	}
}

// complete adds up what stands together.
func (r *injectionReader) complete(phrase int, to sink) {
	r.found[phrase] = r.at
	score := 0
	for i, at := range r.found {
		if at > 0 && r.at-at <= injectionReach {
			score += r.rules.phrases[i].score
		}
	}
	if score >= InjectionWarn {
		r.tell(Finding{Kind: r.rules.phrases[phrase].kind, Score: score}, to)
	}
}

// tell reports once for each level.
func (r *injectionReader) tell(f Finding, to sink) {
	if f.Score >= InjectionAct {
		f.Level = Act
	}
	if r.toldAny && f.Level <= r.told {
		return
	}
	r.told, r.toldAny = f.Level, true
	f.Detector, f.Start, f.End = InjectionDetection, r.at, r.at
	to.found(f)
}

// Textual reports whether a media type is one that a model reads as text, so
// that instructions in it could reach one.
func Textual(mediaType string) bool {
	name, _, _ := strings.Cut(strings.ToLower(mediaType), ";")
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "text/") || strings.HasSuffix(name, "+json") || strings.HasSuffix(name, "+xml") {
		return true
	}
	switch name {
	case "", "application/json", "application/xml", "application/javascript", "application/x-ndjson", "application/x-yaml", "application/yaml":
		return true
	}
	return false
}
