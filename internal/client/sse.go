package client

import (
	"bytes"
	"fmt"
)

// maxEvent bounds one event of a stream, joined lines included. Servers that
// return log probabilities or images send events of megabytes.
const maxEvent = 64 << 20

var errEventTooLong = fmt.Errorf("stream event is longer than %d bytes", maxEvent)

// sseReader cuts a byte stream into the data of its events, as "Server-sent
// events" of the WHATWG HTML standard (read 2026-08) says: lines end with CR LF,
// LF or CR, a blank line ends an event, data lines are joined by LF, comments
// and other fields are passed over. It is fed what each read brings, so that the
// caller can stamp the read before anything is parsed.
type sseReader struct {
	line    []byte // start of a line whose end has not come
	data    []byte // data of the event so far, each line followed by LF
	skipLF  bool   // the last byte was CR: a following LF belongs to it
	started bool   // the first bytes have passed, with or without a byte order mark
}

// feed takes the bytes of one read and calls event with the data of each event
// that they complete; data is valid until event returns.
func (s *sseReader) feed(p []byte, event func(data []byte) error) error {
	for len(p) > 0 {
		if s.skipLF {
			s.skipLF = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		end := lineEnd(p)
		if end < 0 {
			if len(s.line)+len(s.data)+len(p) > maxEvent {
				return errEventTooLong
			}
			s.line = append(s.line, p...)
			return nil
		}
		line := p[:end]
		if len(s.line) > 0 {
			s.line = append(s.line, line...)
			line = s.line
		}
		s.skipLF = p[end] == '\r'
		p = p[end+1:]
		err := s.take(line, event)
		s.line = s.line[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

// lineEnd is the position of the first CR or LF, or -1.
func lineEnd(p []byte) int {
	lf := bytes.IndexByte(p, '\n')
	if lf >= 0 {
		p = p[:lf]
	}
	if cr := bytes.IndexByte(p, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

func (s *sseReader) take(line []byte, event func([]byte) error) error {
	if !s.started {
		s.started = true
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	if len(line) == 0 {
		if len(s.data) == 0 {
			return nil
		}
		data := s.data[:len(s.data)-1]
		s.data = s.data[:0]
		return event(data)
	}
	value, ok := bytes.CutPrefix(line, []byte("data"))
	if !ok || len(value) > 0 && value[0] != ':' {
		return nil
	}
	if len(value) > 0 {
		value = value[1:]
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	if len(s.data)+len(value) > maxEvent {
		return errEventTooLong
	}
	s.data = append(append(s.data, value...), '\n')
	return nil
}

// end gives the event that the end of the stream left without its blank line:
// some servers end so, and what is complete decodes.
func (s *sseReader) end(event func([]byte) error) error {
	if len(s.line) > 0 {
		if err := s.take(s.line, event); err != nil {
			return err
		}
		s.line = s.line[:0]
	}
	return s.take(nil, event)
}
