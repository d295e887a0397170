package client

import (
	"bytes"
	"strconv"
)

// maxHead bounds the head of a reply, all its lines together, and what a chunked
// body may have of its own lines between two chunks.
const maxHead = 1 << 20

// badReply is a reply that breaks HTTP/1.1 (RFC 9112).
type badReply string

func (e badReply) Error() string { return "malformed HTTP reply: " + string(e) }

// replyState is where in a reply the next byte stands.
type replyState uint8

const (
	atStatus replyState = iota
	atHeader
	atSized     // body of a known length
	atOpen      // body until the connection ends
	atChunkSize // line with the size of a chunk
	atChunk
	atChunkEnd // line end after a chunk
	atTrailer
	atEnd
)

// reply takes an HTTP/1.1 reply apart as its bytes come in, and keeps of them
// only the start of a line whose end has not come.
type reply struct {
	state   replyState
	keep    bool // the connection can be used again after the end
	chunked bool
	sized   bool
	status  int
	left    int64  // bytes of the body or chunk
	head    int    // bytes of lines so far
	phrase  string // status and its words
	content string // Content-Type
	part    []byte
}

// feed takes the bytes of one read and gives those of the body to body. The end
// of the reply is in state.
func (r *reply) feed(p []byte, body func([]byte) error) error {
	for len(p) > 0 && r.state != atEnd {
		switch r.state {
		case atOpen:
			return body(p)
		case atSized, atChunk:
			n := min(int64(len(p)), r.left)
			r.left -= n
			data := p[:n]
			p = p[n:]
			if r.left == 0 {
				r.bodyEnds()
			}
			if err := body(data); err != nil {
				return err
			}
		default:
			line, rest, whole, err := r.line(p)
			if err != nil || !whole {
				return err
			}
			p = rest
			if err := r.take(line); err != nil {
				return err
			}
		}
	}
	if len(p) > 0 {
		r.keep = false // bytes that nobody asked for
	}
	return nil
}

func (r *reply) bodyEnds() {
	if r.state == atChunk {
		r.state = atChunkEnd
	} else {
		r.state = atEnd
	}
}

// line cuts a line off the front of p, without its end; what has no end is kept
// for the next read.
func (r *reply) line(p []byte) (line, rest []byte, whole bool, err error) {
	end := bytes.IndexByte(p, '\n')
	n := end + 1
	if end < 0 {
		n = len(p)
	}
	if r.head += n; r.head > maxHead {
		return nil, nil, false, badReply("its lines are longer than 1 MiB")
	}
	if end < 0 {
		r.part = append(r.part, p...)
		return nil, nil, false, nil
	}
	line = p[:end]
	if len(r.part) > 0 {
		line = append(r.part, line...)
		r.part = r.part[:0]
	}
	return bytes.TrimSuffix(line, []byte{'\r'}), p[n:], true, nil
}

func (r *reply) take(line []byte) error {
	switch r.state {
	case atStatus:
		return r.statusLine(line)
	case atHeader:
		if len(line) == 0 {
			return r.bodyBegins()
		}
		return r.header(line)
	case atChunkSize:
		return r.chunkSize(line)
	case atChunkEnd:
		if len(line) > 0 {
			return badReply("a chunk is longer than its size")
		}
		r.state, r.head = atChunkSize, 0
	case atTrailer:
		if len(line) == 0 {
			r.state = atEnd
		}
	}
	return nil
}

func (r *reply) statusLine(line []byte) error {
	version, rest, _ := bytes.Cut(line, []byte{' '})
	code, _, _ := bytes.Cut(rest, []byte{' '})
	status, err := strconv.Atoi(string(code))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || len(version) != len("HTTP/1.1") || err != nil || len(code) != 3 || status < 100 {
		return badReply("expected a status line, found " + strconv.QuoteToASCII(string(line[:min(len(line), 40)])))
	}
	part := r.part
	*r = reply{state: atHeader, status: status, phrase: string(rest), keep: version[7] != '0', left: -1, head: r.head, part: part}
	return nil
}

func (r *reply) header(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 || name[0] == ' ' || name[0] == '\t' {
		return badReply("expected a header line, found " + strconv.QuoteToASCII(string(line[:min(len(line), 40)])))
	}
	value = bytes.TrimSpace(value)
	is := func(s string) bool { return bytes.EqualFold(name, []byte(s)) }
	switch {
	case is("Content-Type"):
		r.content = string(value)
	case is("Content-Length"):
		n, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil || r.sized && int64(n) != r.left {
			return badReply("Content-Length " + strconv.QuoteToASCII(string(value[:min(len(value), 40)])))
		}
		r.sized, r.left = true, int64(n)
	case is("Transfer-Encoding"):
		if !bytes.EqualFold(value, []byte("chunked")) {
			return badReply("Transfer-Encoding " + strconv.QuoteToASCII(string(value[:min(len(value), 40)])))
		}
		r.chunked = true
	case is("Connection"):
		for option := range bytes.SplitSeq(value, []byte{','}) {
			switch option = bytes.TrimSpace(option); {
			case bytes.EqualFold(option, []byte("close")):
				r.keep = false
			case bytes.EqualFold(option, []byte("keep-alive")):
				r.keep = true
			}
		}
	}
	return nil
}

// bodyBegins chooses how the end of the body is found, by section 6.3.
func (r *reply) bodyBegins() error {
	r.head = 0
	switch {
	case r.status == 101:
		return badReply("it changes the protocol")
	case r.status < 200:
		r.state = atStatus // another reply follows
	case r.status == 204 || r.status == 304:
		r.state = atEnd
	case r.chunked:
		r.state = atChunkSize
	case r.sized && r.left == 0:
		r.state = atEnd
	case r.sized:
		r.state = atSized
	default:
		r.state, r.keep = atOpen, false
	}
	return nil
}

func (r *reply) chunkSize(line []byte) error {
	size, _, _ := bytes.Cut(line, []byte{';'})
	size = bytes.TrimRight(size, " \t")
	n := int64(0)
	for _, b := range size {
		d := hexDigit(b)
		if d < 0 || n > 1<<50 {
			return badReply("expected the size of a chunk, found " + strconv.QuoteToASCII(string(line[:min(len(line), 40)])))
		}
		n = n<<4 | int64(d)
	}
	if len(size) == 0 {
		return badReply("a chunk without a size")
	}
	r.state, r.left, r.head = atChunk, n, 0
	if n == 0 {
		r.state = atTrailer
	}
	return nil
}

func hexDigit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

// inBody says that the head has come.
func (r *reply) inBody() bool { return r.state > atHeader }
