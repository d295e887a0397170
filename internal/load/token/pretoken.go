package token

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A splitter cuts a piece and hands each part to the next stage of the encoder.
// atStart says that the piece begins where the text begins.
type splitter interface {
	split(e *encoder, stage int, piece string, atStart bool)
}

const maxNesting = 16

// splitters flattens a pre-tokenizer into its stages.
func (c *component) splitters(depth int) ([]splitter, error) {
	if depth > maxNesting {
		return nil, errors.New("pre-tokenizers nested too deep")
	}
	switch c.Type {
	case "Sequence":
		var all []splitter
		for i := range c.PreTokenizers {
			s, err := c.PreTokenizers[i].splitters(depth + 1)
			if err != nil {
				return nil, err
			}
			all = append(all, s...)
		}
		return all, nil
	case "ByteLevel":
		return c.byteLevel()
	case "Split":
		return c.splitOn()
	case "Metaspace":
		return c.metaspace()
	case "Digits":
		return list(&cutter{find: chars("rust-numeric").finder(!isTrue(c.IndividualDigits, false)), keep: isolated}), nil
	case "Punctuation":
		keep, err := behavior(c.Behavior)
		return list(&cutter{find: chars("old-punctuation").finder(false), keep: keep}), err
	case "BertPreTokenizer":
		return list(&cutter{find: chars("space").finder(true), keep: removed}, &cutter{find: chars("old-punctuation").finder(false), keep: isolated}), nil
	case "Whitespace":
		p, err := compile(`\w+|[^\w\s]+`, dialectRust)
		return list(&cutter{find: p.finder(), invert: true, keep: removed}), err
	case "WhitespaceSplit":
		return list(&cutter{find: chars("space").finder(true), keep: removed}), nil
	case "CharDelimiterSplit":
		if c.Delimiter == "" {
			return nil, errors.New("pre_tokenizer CharDelimiterSplit: expected a delimiter")
		}
		return list(&cutter{find: literalFinder(c.Delimiter), keep: removed}), nil
	case "FixedLength":
		if c.Length < 1 {
			return nil, fmt.Errorf("pre_tokenizer FixedLength: length %d; expected at least 1", c.Length)
		}
		return list(fixed(c.Length)), nil
	}
	return nil, fmt.Errorf("pre_tokenizer.type %q is not known; expected Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, BertPreTokenizer, Whitespace, WhitespaceSplit, CharDelimiterSplit or FixedLength", c.Type)
}

func list(s ...splitter) []splitter { return s }

// gpt2 is the split expression that ByteLevel means by use_regex (openai/gpt-2 src/encoder.py).
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (c *component) byteLevel() ([]splitter, error) {
	var all []splitter
	if isTrue(c.AddPrefixSpace, true) {
		all = append(all, leadingSpace{})
	}
	if isTrue(c.UseRegex, true) {
		p, err := compile(gpt2, dialectRuby)
		if err != nil {
			return nil, err
		}
		all = append(all, &isolator{p})
	}
	return append(all, byteChars{}), nil
}

// leadingSpace puts a space before a piece that does not begin with one.
type leadingSpace struct{}

func (leadingSpace) split(e *encoder, stage int, piece string, atStart bool) {
	if !strings.HasPrefix(piece, " ") {
		piece = " " + piece
	}
	e.stage(stage+1, piece, atStart)
}

// byteChars writes bytes in the byte-level alphabet. A byte-level model reads
// bytes as they are, so as the last stage it is left out.
type byteChars struct{}

func (byteChars) split(e *encoder, stage int, piece string, atStart bool) {
	e.stage(stage+1, toByteChars(piece), atStart)
}

// isolator cuts a piece into the matches of an expression and what lies between
// them: the one stage that nearly every tokenizer has, so it keeps no list.
type isolator struct{ p *pattern }

func (s *isolator) split(e *encoder, stage int, piece string, atStart bool) {
	from := 0
	for at := 0; at < len(piece); {
		end := s.p.match(piece, at)
		if end <= at { // nothing, or an empty match
			at += runeLen(piece, at)
			continue
		}
		if at > from {
			e.stage(stage+1, piece[from:at], atStart && from == 0)
		}
		e.stage(stage+1, piece[at:end], atStart && at == 0)
		at, from = end, end
	}
	if from < len(piece) {
		e.stage(stage+1, piece[from:], atStart && from == 0)
	}
}

func (c *component) splitOn() ([]splitter, error) {
	keep, err := behavior(c.Behavior)
	if err != nil {
		return nil, err
	}
	if c.Pattern.String != nil {
		if *c.Pattern.String == "" {
			return nil, errors.New("pre_tokenizer Split: expected a pattern that is not empty")
		}
		return list(&cutter{find: literalFinder(*c.Pattern.String), invert: isTrue(c.Invert, false), keep: keep}), nil
	}
	if c.Pattern.Regex == nil {
		return nil, errors.New("pre_tokenizer Split: expected pattern.Regex or pattern.String")
	}
	p, err := compile(*c.Pattern.Regex, dialectRuby)
	if err != nil {
		return nil, err
	}
	// Inverting changes which parts count as matches, and isolating keeps both.
	if keep == isolated {
		return list(&isolator{p}), nil
	}
	return list(&cutter{find: p.finder(), invert: isTrue(c.Invert, false), keep: keep}), nil
}

type keeping uint8

const (
	removed keeping = iota
	isolated
	withPrevious
	withNext
	contiguous
)

func behavior(name string) (keeping, error) {
	known := map[string]keeping{"Removed": removed, "Isolated": isolated, "": isolated, "MergedWithPrevious": withPrevious,
		"MergedWithNext": withNext, "Contiguous": contiguous}
	k, ok := known[name]
	if !ok {
		return 0, fmt.Errorf("behavior %q is not known; expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", name)
	}
	return k, nil
}

// finder is the next match in text at or after at; start < 0 = none.
type finder func(text string, at int) (start, end int)

func (p *pattern) finder() finder { return p.find }

func literalFinder(lit string) finder {
	return func(text string, at int) (int, int) {
		i := strings.Index(text[at:], lit)
		if i < 0 {
			return -1, -1
		}
		return at + i, at + i + len(lit)
	}
}

// finder of single characters of the set, or of runs of them.
func (s *runeSet) finder(runs bool) finder {
	return func(text string, at int) (int, int) {
		for at < len(text) && s.step(text, at) == 0 {
			at += runeLen(text, at)
		}
		if at >= len(text) {
			return -1, -1
		}
		end := at + s.step(text, at)
		for runs {
			k := s.step(text, end)
			if k == 0 {
				break
			}
			end += k
		}
		return at, end
	}
}

// cutter is the general split: matches found, what becomes of them by keep.
type cutter struct {
	find   finder
	invert bool
	keep   keeping
}

type part struct {
	from, to int
	match    bool
}

func (s *cutter) split(e *encoder, stage int, piece string, atStart bool) {
	parts := s.join(s.parts(piece))
	for _, p := range parts {
		if p.from == p.to || p.match && s.keep == removed {
			continue
		}
		e.stage(stage+1, piece[p.from:p.to], atStart && p.from == 0)
	}
}

func (s *cutter) parts(piece string) []part {
	var out []part
	done := 0
	for at := 0; at < len(piece); {
		start, end := s.find(piece, at)
		if start < 0 {
			break
		}
		if end == start {
			if start >= len(piece) {
				break
			}
			at = start + runeLen(piece, start)
			continue
		}
		if start > done {
			out = append(out, part{done, start, s.invert})
		}
		out = append(out, part{start, end, !s.invert})
		at, done = end, end
	}
	if done < len(piece) {
		out = append(out, part{done, len(piece), s.invert})
	}
	return out
}

// join merges matches with their neighbours as the behavior asks.
func (s *cutter) join(in []part) []part {
	var out []part
	switch s.keep {
	case withPrevious:
		before := false
		for _, p := range in {
			if p.match && !before && len(out) > 0 {
				out[len(out)-1].to = p.to
			} else {
				out = append(out, p)
			}
			before = p.match
		}
	case withNext:
		before := false
		for i := len(in) - 1; i >= 0; i-- {
			p := in[i]
			if p.match && !before && len(out) > 0 {
				out[len(out)-1].from = p.from
			} else {
				out = append(out, p)
			}
			before = p.match
		}
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	case contiguous:
		for i, p := range in {
			if i > 0 && p.match == in[i-1].match {
				out[len(out)-1].to = p.to
			} else {
				out = append(out, p)
			}
		}
	default:
		return in
	}
	return out
}

// fixed cuts after every n characters.
type fixed int

func (n fixed) split(e *encoder, stage int, piece string, atStart bool) {
	from, count := 0, 0
	for at := 0; at < len(piece); {
		at += runeLen(piece, at)
		if count++; count == int(n) || at == len(piece) {
			e.stage(stage+1, piece[from:at], atStart && from == 0)
			from, count = at, 0
		}
	}
}

// metaspace writes spaces as a mark, puts one in front and cuts before each.
type metaspace struct {
	mark    string
	prepend string // always, first, never
	cut     bool
}

func (c *component) metaspace() ([]splitter, error) {
	m := &metaspace{mark: c.Replacement, prepend: c.PrependScheme, cut: isTrue(c.Split, true)}
	if m.mark == "" {
		m.mark = spaceMark
	}
	if m.prepend == "" {
		m.prepend = "always"
	}
	if c.AddPrefixSpace != nil && !*c.AddPrefixSpace { // files from before prepend_scheme
		m.prepend = "never"
	}
	switch m.prepend {
	case "always", "first", "never":
		return list(m), nil
	}
	return nil, fmt.Errorf("pre_tokenizer Metaspace: prepend_scheme %q; expected always, first or never", m.prepend)
}

func (m *metaspace) split(e *encoder, stage int, piece string, atStart bool) {
	piece = strings.ReplaceAll(piece, " ", m.mark)
	if m.prepend == "always" || m.prepend == "first" && atStart {
		if !strings.HasPrefix(piece, m.mark) {
			piece = m.mark + piece
		}
	}
	if !m.cut {
		e.stage(stage+1, piece, atStart)
		return
	}
	from := 0
	for from < len(piece) {
		_, n := utf8.DecodeRuneInString(piece[from:])
		end := strings.Index(piece[from+n:], m.mark)
		if end < 0 {
			break
		}
		end += from + n
		e.stage(stage+1, piece[from:end], atStart && from == 0)
		from = end
	}
	if from < len(piece) {
		e.stage(stage+1, piece[from:], atStart && from == 0)
	}
}
