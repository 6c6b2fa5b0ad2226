package egress

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// keeper holds back the last bytes of a body, and doubles what it lets go. At its
// next call it uses that memory again, as stages may.
type keeper struct {
	keep int
	held []byte
	gone []byte
}

func (k *keeper) pass(piece []byte) ([]byte, *refusal) {
	k.held = append(k.held, piece...)
	n := max(0, len(k.held)-k.keep)
	out := k.let(k.held[:n])
	k.held = append([]byte(nil), k.held[n:]...)
	return out, nil
}

func (k *keeper) end() ([]byte, *refusal) { return k.let(k.held), nil }

func (k *keeper) let(b []byte) []byte {
	for i := range k.gone {
		k.gone[i] = 0xdd
	}
	k.gone = doubled(b)
	return k.gone
}

func doubled(b []byte) []byte {
	var out []byte
	for _, c := range b {
		out = append(out, c, c)
	}
	return out
}

// Stages see all of a body, in order, whatever the pieces.
func TestStaged(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		text := make([]byte, random.IntN(200))
		for i := range text {
			text[i] = byte(random.IntN(256))
		}
		from := &pieces{text: text, random: random}
		s := &staged{from: from, stages: stages{&keeper{keep: random.IntN(10)}, &keeper{keep: random.IntN(300)}}, refuse: func(*refusal) { t.Error("refused") }}
		var got []byte
		buf := make([]byte, 1+random.IntN(20))
		for {
			n, err := s.Read(buf)
			got = append(got, buf[:n]...)
			for i := range buf {
				buf[i] = 0xee // whoever reads may use its buffer again
			}
			if errors.Is(err, io.EOF) {
				break
			}
			check(t, err)
		}
		if want := doubled(doubled(text)); string(got) != string(want) {
			t.Fatalf("%q became %q", want, got)
		}
	}
	t.Run("a refusal", func(t *testing.T) {
		told := 0
		s := &staged{from: strings.NewReader("0123456789"), stages: stages{&bounded{limit: 4}}, refuse: func(*refusal) { told++ }}
		n, err := s.Read(make([]byte, 8))
		var no *refusal
		if n != 0 || !errors.As(err, &no) || told != 1 {
			t.Errorf("%d bytes, %v, told %d times", n, err, told)
		}
		if n, again := s.Read(make([]byte, 8)); n != 0 || again != err || told != 1 {
			t.Errorf("then %d bytes, %v, told %d times", n, again, told)
		}
	})
}

// pieces reads a text in pieces of any size.
type pieces struct {
	text   []byte
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:1+p.random.IntN(len(b))], p.text)
	p.text = p.text[n:]
	if len(p.text) == 0 && p.random.IntN(2) == 0 {
		return n, io.EOF
	}
	return n, nil
}
