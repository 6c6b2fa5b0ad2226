package grammar

import (
	"strings"
	"unicode/utf8"
)

// whole is the part number of a token that stands for its whole argument; the
// letters of a pack such as -it are numbered from 0.
const whole = -1

type tokenKind uint8

const (
	wordToken tokenKind = iota
	optionToken
	terminatorToken // the first `--`
)

// token is an argument as the program's parser sees it. A pack is one token
// for the whole and one for each of its letters, since -init could be a name.
type token struct {
	kind     tokenKind
	text     string // the argument, as given
	name     string // of an option, with its dashes
	value    string // attached with =
	attached bool
	arg      int // index of the argument
	part     int
	pack     bool // a whole that has letters
}

// tokenise splits a command line up to the first `--`; behind it all is words.
func tokenise(argv []string) ([]token, *Refusal) {
	var tokens []token
	for i, arg := range argv {
		made, refusal := tokensOf(arg)
		if refusal != nil {
			return nil, refusal
		}
		for _, t := range made {
			t.arg = i
			tokens = append(tokens, t)
		}
		if made[0].kind == terminatorToken {
			for j, word := range argv[i+1:] {
				tokens = append(tokens, token{text: word, arg: i + 1 + j, part: whole})
			}
			break
		}
	}
	return tokens, nil
}

func tokensOf(arg string) ([]token, *Refusal) {
	rest := strings.TrimLeft(arg, "-")
	dashes := len(arg) - len(rest)
	switch {
	case dashes == 0, arg == "-":
		return []token{{text: arg, part: whole}}, nil
	case arg == "--":
		return []token{{kind: terminatorToken, text: arg, part: whole}}, nil
	case dashes > 2, rest[0] == '=':
		// Not the argument but the line is refused, wherever it stands.
		return nil, usage(ruleDashes, "Invalid option: %s", arg)
	}
	name, value, attached := strings.Cut(rest, "=")
	if dashes == 2 && value == "" {
		attached = false // `--opt=` counts as no value; `-o=` as an empty one
	}
	t := token{kind: optionToken, text: arg, name: arg[:dashes] + name, value: value, attached: attached, part: whole}
	if dashes == 2 || strings.Contains(rest, "=") || utf8.RuneCountInString(rest) == 1 {
		return []token{t}, nil
	}
	t.pack = true
	tokens := []token{t}
	for _, letter := range rest {
		tokens = append(tokens, token{kind: optionToken, text: arg, name: "-" + string(letter), part: len(tokens) - 1})
	}
	return tokens, nil
}

// line is a command line of which commands take tokens away. A copy shares the
// tokens and has marks of its own.
type line struct {
	tokens []token
	gone   []bool
}

func (l line) clone() line {
	return line{tokens: l.tokens, gone: append([]bool(nil), l.gone...)}
}

// next is the first token left from i on, -1 when there is none.
func (l line) next(i int) int {
	for ; i < len(l.tokens); i++ {
		if !l.gone[i] {
			return i
		}
	}
	return -1
}

// left lists the tokens that are there still.
func (l line) left() []token {
	var left []token
	for i := l.next(0); i >= 0; i = l.next(i + 1) {
		left = append(left, l.tokens[i])
	}
	return left
}

// nextArgument is the first whole argument left behind token i, -1 when there
// is none: the letters of a pack are followed by their values in order.
func (l line) nextArgument(i int) int {
	for i = l.next(i + 1); i >= 0; i = l.next(i + 1) {
		if l.tokens[i].part == whole {
			return i
		}
	}
	return -1
}

// pop marks one token and leaves the others of its argument.
func (l line) pop(i int) { l.gone[i] = true }

// remove marks a token as used. A used pack takes its letters along, a used
// letter the pack: it can be read in one way only.
func (l line) remove(i int) {
	l.gone[i] = true
	for j, t := range l.tokens {
		if t.arg == l.tokens[i].arg && (t.part == whole) != (l.tokens[i].part == whole) {
			l.gone[j] = true
		}
	}
}
