package egresstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// streams sends requests over HTTP/2 with fields as they stand, one behind the
// other: a client library would not send what is wrong in them.
func (out *Answer) streams(link net.Conn, all []Stream) error {
	if _, err := io.WriteString(link, http2.ClientPreface); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	f := http2.NewFramer(link, link)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i, s := range all {
		block.Reset()
		for _, field := range s.Fields {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		id := uint32(2*i + 1)
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: len(s.Body) == 0})
		for body := s.Body; err == nil && len(body) > 0; {
			n := min(len(body), 16<<10)
			err = f.WriteData(id, n == len(body), body[:n])
			body = body[n:]
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if err := out.stream(f, id); err != nil {
			return err
		}
	}
	return nil
}

// stream reads frames until the stream is over.
func (out *Answer) stream(f *http2.Framer, id uint32) error {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = f.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			out.fields(frame)
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			out.keep(frame.Data())
			ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			return fmt.Errorf("the stream was reset: %s", frame.ErrCode)
		case *http2.GoAwayFrame:
			return errors.New("the connection was given up: " + frame.ErrCode.String())
		}
		if err != nil || ended && frame.Header().StreamID == id {
			return err
		}
	}
}

func (out *Answer) fields(frame *http2.MetaHeadersFrame) {
	reason := ""
	for _, h := range frame.Fields {
		out.keep([]byte(h.Name + ": " + h.Value + "\r\n"))
		if h.Name == "x-bottle-refused" {
			reason = h.Value
		}
	}
	if status, err := strconv.Atoi(frame.PseudoValue("status")); err == nil {
		out.Statuses, out.Reasons = append(out.Statuses, status), append(out.Reasons, reason)
	}
}
