package dump

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"llmdyno/internal/incident/pickle"
)

// The schema of a request list; internal/load/workload reads the same.
const (
	ListSchema  = "llmdyno.requests"
	ListVersion = 1

	// MaxLine bounds a line of a request list, in bytes.
	MaxLine = 64 << 20
)

// ListHeader is the first line of a request list.
type ListHeader struct {
	Schema        string   `json:"schema"`
	SchemaVersion int      `json:"schema_version"`
	From          []string `json:"from,omitempty"` // the dumps that it was made of
}

// ListWriter writes a request list line by line.
type ListWriter struct {
	b   *bufio.Writer
	enc *json.Encoder
}

// NewListWriter begins a request list.
func NewListWriter(w io.Writer, from []string) (*ListWriter, error) {
	b := bufio.NewWriterSize(w, 1<<16)
	l := &ListWriter{b, json.NewEncoder(b)}
	l.enc.SetEscapeHTML(false)
	return l, l.enc.Encode(ListHeader{ListSchema, ListVersion, from})
}

// Write adds a request.
func (l *ListWriter) Write(q Request) error {
	if err := l.enc.Encode(q); err != nil {
		return fmt.Errorf("request %d: %w", q.Index, err)
	}
	return nil
}

// Flush writes what is held back.
func (l *ListWriter) Flush() error { return l.b.Flush() }

// WriteRequests writes a whole request list.
func WriteRequests(w io.Writer, from []string, reqs []Request) error {
	l, err := NewListWriter(w, from)
	for i := 0; err == nil && i < len(reqs); i++ {
		err = l.Write(reqs[i])
	}
	if err != nil {
		return err
	}
	return l.Flush()
}

// ReadRequests reads a request list as [WriteRequests] writes it, and those of
// other programs: unknown members are left out, lines of spaces are skipped.
func ReadRequests(r io.Reader, name string) ([]Request, ListHeader, error) {
	var h ListHeader
	var out []Request
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), MaxLine)
	headed := false
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var err error
		if !headed {
			headed = true
			err = readHeader(text, &h)
		} else {
			out, err = readLine(text, out)
		}
		if err != nil {
			return out, h, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return out, h, fmt.Errorf("%s behind request %d: %w; expected lines of at most %d bytes", name, len(out), err, MaxLine)
	}
	if !headed {
		return nil, h, fmt.Errorf("%s is empty; expected a header and requests", name)
	}
	return out, h, nil
}

func readHeader(text []byte, h *ListHeader) error {
	if err := json.Unmarshal(text, h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Schema != ListSchema {
		return fmt.Errorf("schema %.40q: expected a request list, which begins with {\"schema\":%q}", h.Schema, ListSchema)
	}
	if h.SchemaVersion < 1 || h.SchemaVersion > ListVersion {
		return fmt.Errorf("request list of version %d: this program reads 1 to %d", h.SchemaVersion, ListVersion)
	}
	return nil
}

func readLine(text []byte, out []Request) ([]Request, error) {
	var q Request
	if err := json.Unmarshal(text, &q); err != nil {
		return out, err
	}
	given := 0
	for _, has := range []bool{q.Prompt != "", len(q.PromptTokens) > 0} {
		if has {
			given++
		}
	}
	switch {
	case given > 1:
		return out, errors.New(`"prompt" and "prompt_tokens": expected one of them`)
	case q.AtNs < 0:
		return out, fmt.Errorf("at_ns %d: expected 0 or more", q.AtNs)
	case q.InputLen < 0 || q.OutputLen < 0 || q.InputLen > maxTokens || q.OutputLen > maxTokens:
		return out, fmt.Errorf("lengths %d in and %d out: expected 0 to %d each", q.InputLen, q.OutputLen, maxTokens)
	case len(q.Body) > 0 && q.Body[0] != '{' || len(q.Extra) > 0 && q.Extra[0] != '{':
		return out, errors.New(`"body" and "extra_request_body": expected objects`)
	}
	return append(out, q), nil
}

// MarshalJSON writes lone surrogates as \udXXX.
func (t Text) MarshalJSON() ([]byte, error) { return pickle.AppendQuoted(nil, []byte(t)), nil }

// UnmarshalJSON reads a JSON string and keeps lone surrogates.
func (t *Text) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return errors.New("expected a text")
	}
	if !bytes.Contains(b, []byte(`\u`)) {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = Text(s)
		return nil
	}
	*t = Text(unescape(b[1 : len(b)-1]))
	return nil
}

// unescape reads the inside of a valid JSON string.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			r, n := utf8.DecodeRune(b[i:])
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		if b[i+1] != 'u' {
			const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
			out = append(out, to[bytes.IndexByte([]byte(from), b[i+1])])
			i += 2
			continue
		}
		r, n := escaped(b[i:])
		out = pickle.AppendWTF8(out, r)
		i += n
	}
	return out
}

// escaped reads \uXXXX, or two of them that are one character.
func escaped(b []byte) (rune, int) {
	hi, ok := hex4(b)
	if lo, also := hex4(b[min(6, len(b)):]); ok && also && hi >= 0xd800 && hi < 0xdc00 && lo >= 0xdc00 && lo < 0xe000 {
		return (hi-0xd800)<<10 + (lo - 0xdc00) + 0x10000, 12
	}
	return hi, min(6, len(b))
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return utf8.RuneError, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return utf8.RuneError, false
	}
	return rune(n), true
}
