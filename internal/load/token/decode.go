package token

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder turns the tokens of an answer into parts of its text.
type decoder func(tokens []string) []string

func (c *component) decoder(depth int) (decoder, error) {
	if depth > maxNesting {
		return nil, errors.New("decoders nested too deep")
	}
	switch c.Type {
	case "Sequence":
		return c.decoderSequence(depth)
	case "ByteLevel":
		return bytesToText, nil
	case "ByteFallback":
		return fallenBack, nil
	case "Fuse":
		return func(tokens []string) []string { return []string{strings.Join(tokens, "")} }, nil
	case "Strip":
		return eachToken(func(_, _ int, s string) string { return trimUpTo(s, c.Content, c.Start, c.Stop) }), nil
	case "Replace":
		n, err := c.replace()
		if err != nil {
			return nil, err
		}
		return eachToken(func(_, _ int, s string) string { return n(s) }), nil
	case "Metaspace":
		return c.metaspaceDecoder()
	case "WordPiece":
		cleanup := isTrue(c.Cleanup, true)
		return eachToken(func(i, _ int, s string) string { return joinWord(i, s, c.Prefix, cleanup) }), nil
	case "BPEDecoder":
		return eachToken(func(i, n int, s string) string {
			if i == n-1 {
				return strings.ReplaceAll(s, c.Suffix, "")
			}
			return strings.ReplaceAll(s, c.Suffix, " ")
		}), nil
	}
	return nil, fmt.Errorf("decoder.type %q is not known; expected Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, WordPiece or BPEDecoder", c.Type)
}

func (c *component) decoderSequence(depth int) (decoder, error) {
	var all []decoder
	for i := range c.Decoders {
		d, err := c.Decoders[i].decoder(depth + 1)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return func(tokens []string) []string {
		for _, d := range all {
			tokens = d(tokens)
		}
		return tokens
	}, nil
}

func eachToken(f func(i, n int, token string) string) decoder {
	return func(tokens []string) []string {
		out := make([]string, len(tokens))
		for i, s := range tokens {
			out[i] = f(i, len(tokens), s)
		}
		return out
	}
}

func bytesToText(tokens []string) []string {
	var b strings.Builder
	for _, t := range tokens {
		raw, ok := fromByteChars(t)
		if !ok {
			raw = t
		}
		b.WriteString(raw)
	}
	return []string{lossy(b.String())}
}

// lossy writes U+FFFD for each longest run of bytes that begins a character and
// does not end it, as Rust's from_utf8_lossy and the Unicode standard (3.9, "best
// practice") do.
func lossy(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = badRun(s)
			b.WriteRune(utf8.RuneError)
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func badRun(s string) int {
	want, lo, hi := 0, byte(0x80), byte(0xBF)
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		want = 2
	case c >= 0xE0 && c <= 0xEF:
		want = 3
		if c == 0xE0 {
			lo = 0xA0
		} else if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		want = 4
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F
		}
	}
	n := 1
	for n < want && n < len(s) && s[n] >= lo && s[n] <= hi {
		n++
		lo, hi = 0x80, 0xBF
	}
	return n
}

// fallenBack joins runs of <0xNN> tokens into text; bytes that are no text become
// one U+FFFD each.
func fallenBack(tokens []string) []string {
	var out []string
	var raw []byte
	flush := func() {
		switch {
		case len(raw) == 0:
		case utf8.Valid(raw):
			out = append(out, string(raw))
		default:
			for range raw {
				out = append(out, string(utf8.RuneError))
			}
		}
		raw = raw[:0]
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			raw = append(raw, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// byteToken reads <0x0A>.
func byteToken(t string) (byte, bool) {
	if len(t) != 6 || !strings.HasPrefix(t, "<0x") || t[5] != '>' {
		return 0, false
	}
	v, err := strconv.ParseUint(t[3:5], 16, 8)
	return byte(v), err == nil
}

func trimUpTo(s, cut string, start, stop int) string {
	if cut == "" {
		return s
	}
	for range start {
		s = strings.TrimPrefix(s, cut)
	}
	for range stop {
		s = strings.TrimSuffix(s, cut)
	}
	return s
}

func (c *component) metaspaceDecoder() (decoder, error) {
	s, err := c.metaspace()
	if err != nil {
		return nil, err
	}
	m := s[0].(*metaspace)
	return eachToken(func(i, _ int, s string) string {
		if i == 0 && m.prepend != "never" {
			return strings.ReplaceAll(s, m.mark, "")
		}
		return strings.ReplaceAll(s, m.mark, " ")
	}), nil
}

// cleanupPairs undo the blanks between word pieces (Hugging Face tokenizers,
// decoders/wordpiece.rs).
var cleanupPairs = [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
	{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}}

func joinWord(i int, s, prefix string, cleanup bool) string {
	if i > 0 {
		if rest, ok := strings.CutPrefix(s, prefix); ok && prefix != "" {
			s = rest
		} else {
			s = " " + s
		}
	}
	if cleanup {
		for _, p := range cleanupPairs {
			s = strings.ReplaceAll(s, p[0], p[1])
		}
	}
	return s
}
