package tools

import "fmt"

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
	front, used := cleanPrefix(first, head, true)
	if gap == 0 {
		last = first[used:]
	}
	back, kept := cleanSuffix(last, tail, true)
	omitted := h.total - int64(used) - int64(kept)
	return shown{text: front + marker(omitted, front, back) + back, total: h.total, omitted: omitted}
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
