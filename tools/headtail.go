package tools

import (
	"bytes"
	"fmt"
)

// headTail keeps the first and the last bytes of a stream.
type headTail struct {
	limit int // of head and tail together
	head  []byte
	ring  []byte // the newest bytes after head
	next  int    // where the ring is written next, once it is full
	total int64
}

// newHeadTail keeps limit bytes; the buffers grow with what is written.
func newHeadTail(limit int) headTail { return headTail{limit: limit} }

func (h *headTail) write(p []byte) {
	h.total += int64(len(p))
	if room := h.limit/2 - len(h.head); room > 0 {
		n := min(room, len(p))
		h.head = append(h.head, p[:n]...)
		p = p[n:]
	}
	size := h.limit - h.limit/2
	if room := size - len(h.ring); room > 0 {
		n := min(room, len(p))
		h.ring = append(h.ring, p[:n]...)
		p = p[n:]
	}
	if len(p) > size {
		p = p[len(p)-size:]
	}
	for len(p) > 0 {
		n := copy(h.ring[h.next:], p)
		p = p[n:]
		h.next = (h.next + n) % size
	}
}

// tail is the ring in the order it was written.
func (h *headTail) tail() []byte {
	return append(append(make([]byte, 0, len(h.ring)), h.ring[h.next:]...), h.ring[:h.next]...)
}

// shown is a stream as a model sees it.
type shown struct {
	text    string
	total   int64 // bytes written by the guest
	omitted int64 // of these, left out of text
}

// show renders the stream in at most head and tail bytes of clean text, and a
// marker between them for what is left out.
func (h *headTail) show(head, tail int) shown {
	first, last := h.head, h.tail()
	gap := h.total - int64(len(first)) - int64(len(last))
	if gap == 0 {
		first = append(append(make([]byte, 0, len(first)+len(last)), first...), last...)
		last = nil
		if text, used := cleanPrefix(first, head+tail, false); used == len(first) {
			return shown{text: text, total: h.total}
		}
	}
	_, used := cleanPrefix(first, head, true)
	used = wholeLines(first[:used], head/4)
	if gap == 0 {
		last = first[used:]
	}
	_, kept := cleanSuffix(last, tail, true)
	back := last[len(last)-kept:]
	back = back[brokenLine(back, tail/4):]
	omitted := h.total - int64(used) - int64(len(back))
	text := clean(first[:used])
	end := clean(back)
	return shown{text: text + marker(omitted, text, end) + end, total: h.total, omitted: omitted}
}

// wholeLines is how many bytes of b are whole lines, when that leaves out at
// most spare bytes; else all of b. A broken line reads like another one: of
// "19915" it may show "5".
func wholeLines(b []byte, spare int) int {
	if end := bytes.LastIndexByte(b, '\n') + 1; end > 0 && len(b)-end <= spare {
		return end
	}
	return len(b)
}

// brokenLine is the length of the line that b begins in the middle of, when
// that is at most spare bytes; else nothing is taken away.
func brokenLine(b []byte, spare int) int {
	if end := bytes.IndexByte(b, '\n') + 1; end > 0 && end <= spare && end < len(b) {
		return end
	}
	return 0
}

// marker stands for what was left out, on a line of its own.
func marker(omitted int64, front, back string) string {
	text := fmt.Sprintf("[… %d bytes omitted …]", omitted)
	if front != "" && front[len(front)-1] != '\n' {
		text = "\n" + text
	}
	if back != "" && back[0] != '\n' {
		text += "\n"
	}
	return text
}
