package tools

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

func TestCpHandsOverTheCopy(t *testing.T) {
	for name, tc := range map[string]struct {
		args string
		want copyCall
	}{
		"in":           {`{"id":"b","from":"src","to":"bottle:lib"}`, copyCall{Way: "in", Host: "src", Guest: backend.GuestWorkspace + "/lib"}},
		"in, options":  {`{"id":"b","from":"/abs/src","to":"bottle:/opt/x/","user":"root","exclude":["*.log",".git"]}`, copyCall{Way: "in", Host: "/abs/src", Guest: "/opt/x/", Options: provision.CopyOptions{User: "root", Exclude: []string{"*.log", ".git"}}}},
		"in, defaults": {`{"id":"b","from":"src","to":"bottle:","mode":"0644","inline":false}`, copyCall{Way: "in", Host: "src", Guest: backend.GuestWorkspace}},
		"out":          {`{"id":"b","from":"bottle:out/r.txt","to":"results"}`, copyCall{Way: "out", Host: "results", Guest: backend.GuestWorkspace + "/out/r.txt"}},
		"write":        {`{"id":"b","to":"bottle:a.sh","content":"echo\n","mode":"755"}`, copyCall{Way: "write", Guest: backend.GuestWorkspace + "/a.sh", Content: "echo\n", Options: provision.CopyOptions{Mode: 0o755}}},
		"write empty":  {`{"id":"b","to":"bottle:/tmp/e","content":""}`, copyCall{Way: "write", Guest: "/tmp/e"}},
		"write bytes":  {`{"id":"b","to":"bottle:/tmp/e","content_base64":"AP8="}`, copyCall{Way: "write", Guest: "/tmp/e", Content: "\x00\xff"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake("b")
			structured[cpOutput](t, newBench(t, f).call("cp", tc.args))
			if got := f.lastAsked(t); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestCpRefusesArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		args  string
		words []string
	}{
		"nothing":        {`{"id":"b"}`, []string{`"bottle:"`}},
		"two hosts":      {`{"id":"b","from":"a","to":"b"}`, []string{"exactly one"}},
		"two guests":     {`{"id":"b","from":"bottle:a","to":"bottle:b"}`, []string{"exactly one"}},
		"only from":      {`{"id":"b","from":"bottle:a"}`, []string{`"inline"`}},
		"guest up":       {`{"id":"b","from":"x","to":"bottle:../../etc"}`, []string{`"to"`, "'..'"}},
		"host up":        {`{"id":"b","from":"../x","to":"bottle:x"}`, []string{`"from"`, "'..'"}},
		"guest dash":     {`{"id":"b","from":"x","to":"bottle:-rf"}`, []string{`"to"`, "./-rf"}},
		"host dash":      {`{"id":"b","from":"-rf","to":"bottle:x"}`, []string{`"from"`}},
		"guest newline":  {`{"id":"b","from":"bottle:a\nb","to":"x"}`, []string{`"from"`, "line break"}},
		"host NUL":       {`{"id":"b","from":"bottle:a","to":"x\u0000"}`, []string{`"to"`, "NUL"}},
		"inline and to":  {`{"id":"b","from":"bottle:a","to":"x","inline":true}`, []string{`"inline"`}},
		"inline host":    {`{"id":"b","from":"a","inline":true}`, []string{`"inline"`, "bottle:"}},
		"two contents":   {`{"id":"b","to":"bottle:a","content":"x","content_base64":"eA=="}`, []string{"one of"}},
		"content, host":  {`{"id":"b","to":"a","content":"x"}`, []string{`"to"`}},
		"content, from":  {`{"id":"b","from":"c","to":"bottle:a","content":"x"}`, []string{`"from"`}},
		"content to dir": {`{"id":"b","to":"bottle:a/","content":"x"}`, []string{`"to"`, "name a file"}},
		"content to ws":  {`{"id":"b","to":"bottle:","content":"x"}`, []string{`"to"`, "name a file"}},
		"base64":         {`{"id":"b","to":"bottle:a","content_base64":"***"}`, []string{`"content_base64"`}},
		"mode":           {`{"id":"b","to":"bottle:a","content":"x","mode":"4755"}`, []string{`"mode"`}},
		"mode words":     {`{"id":"b","to":"bottle:a","content":"x","mode":"rwx"}`, []string{`"mode"`}},
		"mode elsewhere": {`{"id":"b","from":"a","to":"bottle:a","mode":"755"}`, []string{`"mode"`}},
		"exclude":        {`{"id":"b","from":"a","to":"bottle:a","exclude":["a\nb"]}`, []string{`"exclude"`}},
		"too large":      {`{"id":"b","to":"bottle:a","content":"` + strings.Repeat("é", maxInline/2+1) + `"}`, []string{`"content"`, "262144"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake("b")
			mustFail(t, newBench(t, f).call("cp", tc.args), tc.words...)
			if len(f.reqs) != 0 {
				t.Errorf("provision was asked for %+v", f.reqs)
			}
		})
	}
}

func TestCpResult(t *testing.T) {
	b := newBench(t, newFake("b"))
	r := b.call("cp", `{"id":"b","from":"src","to":"bottle:src"}`)
	out := structured[cpOutput](t, r)
	if out.Direction != "in" || out.Files != 3 || out.Dirs != 2 || out.Symlinks != 1 || out.Bytes != 3000 || out.SkippedMore != 4 || out.Skipped[0].Path != `dev/\x1b[31msda` {
		t.Fatalf("%+v", out)
	}
	contains(t, r.text, "3 files, 2.9 KiB, 2 directories, 1 symbolic link", "Left out 5 entries", `dev/\x1b[31msda: device`)
	contains(t, b.call("cp", `{"id":"b","from":"bottle:x","to":"y"}`).text, "to y on the host: 1 file, 10 B", "SHA-256: abab")
	contains(t, b.call("cp", `{"id":"b","to":"bottle:x","content":"abc"}`).text, "Wrote "+backend.GuestWorkspace+"/x", "3 B")
	mustFail(t, b.call("cp", `{"id":"nope","from":"bottle:x","to":"y"}`), "no such bottle", "list")
	mustFail(t, b.call("cp", `{"id":"b","from":"bottle:nope","inline":true}`), "no such file")
}

func TestCpReadsInline(t *testing.T) {
	long := strings.Repeat("0123456789", maxInline/10+5)
	cut := strings.Repeat("日", maxInline/3+5)
	for name, tc := range map[string]struct {
		file      string
		plain     bool
		size      int
		truncated bool
	}{
		"text":    {"héllo\r\nworld\n", true, 14, false},
		"empty":   {"", true, 0, false},
		"binary":  {"\x00\x01\xff", false, 3, false},
		"control": {"\x1b[31mred", false, 8, false},
		"long":    {long, true, len(long), true},
		"cut":     {cut, true, len(cut), true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake("b")
			f.live["b"].files["/f"] = []byte(tc.file)
			r := newBench(t, f).call("cp", `{"id":"b","from":"bottle:/f","inline":true}`)
			out := structured[cpOutput](t, r)
			content := []byte(out.Content)
			if !tc.plain {
				content, _ = base64.StdEncoding.DecodeString(out.ContentBase64)
			}
			if !bytes.HasPrefix([]byte(tc.file), content) || out.Size != int64(tc.size) || out.Truncated != tc.truncated {
				t.Fatalf("%d bytes, size %d, truncated %v", len(content), out.Size, out.Truncated)
			}
			if least := min(len(tc.file), maxInline-3); len(content) < least {
				t.Fatalf("%d bytes, want %d or more", len(content), least)
			}
			if len(r.text) > maxInlineText+1000 {
				t.Fatalf("%d bytes of text", len(r.text))
			}
		})
	}
}
