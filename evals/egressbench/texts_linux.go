package main

import (
	"embed"
	"encoding/json"
	"math/rand/v2"
	"strings"
)

// sources are the text of this program: code like any other.
//
//go:embed *_linux.go
var sources embed.FS

const words = "the quick handler reads its request before it answers and we should look at how that works when many of them come at once " +
	"because a server that waits for a client which never sends anything is one that somebody will find out about in the end so please write " +
	"a test that shows what happens then and tell me which of the files you changed for it thanks in advance and do not forget the documentation"

// chatJSON is the body of a request to a model: prose and code, of a size.
func chatJSON(size int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	vocabulary := strings.Fields(words)
	code := sourceText()
	out := make([]byte, 0, size)
	out = append(out, `{"model":"m","messages":[`...)
	for len(out) < size {
		var prose strings.Builder
		for prose.Len() < 4000 {
			prose.WriteString(vocabulary[rnd.IntN(len(vocabulary))])
			prose.WriteString([]string{" ", " ", " ", " ", " ", ", ", ". ", "\n\n"}[rnd.IntN(8)])
		}
		at := rnd.IntN(len(code) - 2000)
		for _, m := range []struct{ Role, Content string }{{"user", prose.String()}, {"assistant", code[at : at+2000]}} {
			data, err := json.Marshal(m)
			if err != nil {
				panic(err) // strings can be encoded
			}
			out = append(append(out, data...), ',')
		}
	}
	return append(out[:size-2], `]}`...)
}

func sourceText() string {
	entries, err := sources.ReadDir(".")
	if err != nil {
		panic(err) // it is part of the program
	}
	var b strings.Builder
	for _, e := range entries {
		data, err := sources.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		b.Write(data)
	}
	return b.String()
}
