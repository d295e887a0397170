package token

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites a text before it is split.
type normalizer func(string) string

func (c *component) normalizer(depth int) (normalizer, error) {
	if depth > maxNesting {
		return nil, errors.New("normalizers nested too deep")
	}
	switch c.Type {
	case "Sequence":
		return c.normalizerSequence(depth)
	case "NFC", "NFD", "NFKC", "NFKD":
		return form(c.Type), nil
	case "Lowercase":
		return lower, nil
	case "Prepend":
		return func(s string) string {
			if s == "" {
				return s
			}
			return c.Prepend + s
		}, nil
	case "Strip":
		return func(s string) string { return c.strip(s) }, nil
	case "StripAccents":
		return func(s string) string { return without(s, "accents") }, nil
	case "Replace":
		return c.replace()
	case "BertNormalizer":
		return c.bertNormalizer(), nil
	case "Nmt":
		return nmt, nil
	case "ByteLevel":
		return toByteChars, nil
	case "Precompiled":
		m, err := readCharsMap(c.PrecompiledCharsMap)
		if err != nil {
			return nil, err
		}
		return m.byGrapheme, nil
	}
	return nil, fmt.Errorf("normalizer.type %q is not known; expected Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Strip, StripAccents, Replace, BertNormalizer, Nmt, ByteLevel or Precompiled", c.Type)
}

func (c *component) normalizerSequence(depth int) (normalizer, error) {
	var all []normalizer
	for i := range c.Normalizers {
		n, err := c.Normalizers[i].normalizer(depth + 1)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return func(s string) string {
		for _, n := range all {
			s = n(s)
		}
		return s
	}, nil
}

func (c *component) strip(s string) string {
	if isTrue(c.StripLeft, false) {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
	}
	if isTrue(c.StripRight, false) {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	}
	return s
}

func (c *component) replace() (normalizer, error) {
	with := c.Content
	if c.Pattern.Regex == nil {
		if c.Pattern.String == nil || *c.Pattern.String == "" {
			return nil, errors.New("normalizer Replace: expected pattern.String or pattern.Regex")
		}
		old := *c.Pattern.String
		return func(s string) string { return strings.ReplaceAll(s, old, with) }, nil
	}
	p, err := compile(*c.Pattern.Regex, dialectRuby)
	if err != nil {
		return nil, err
	}
	return func(s string) string { return p.replace(s, with) }, nil
}

func (p *pattern) replace(s, with string) string {
	var b strings.Builder
	done := 0
	for at := 0; at < len(s); {
		start, end := p.find(s, at)
		if start < 0 {
			break
		}
		if end == start { // an empty match replaces nothing here
			if start >= len(s) {
				break
			}
			at = start + runeLen(s, start)
			continue
		}
		b.WriteString(s[done:start])
		b.WriteString(with)
		at, done = end, end
	}
	b.WriteString(s[done:])
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// form is a Unicode normal form. Package norm keeps to the stream-safe format
// (it puts a joiner into runs of more than 30 marks), which tokenizers do not, so
// such texts go the long way.
func form(name string) normalizer {
	f := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}[name]
	return func(s string) string {
		if isASCII(s) {
			return s
		}
		return eachKnown(s, func(s string) string {
			if manyMarks(s) {
				return longForm(f, s)
			}
			return f.String(s)
		})
	}
}

// eachKnown normalises what lies between characters whose forms the reference
// does not know; those stay as they are.
func eachKnown(s string, normalise func(string) string) string {
	unknown := chars("unknown-forms")
	from := strings.IndexFunc(s, unknown.has)
	if from < 0 {
		return normalise(s)
	}
	var b strings.Builder
	for ; from >= 0; from = strings.IndexFunc(s, unknown.has) {
		n := runeLen(s, from)
		b.WriteString(normalise(s[:from]))
		b.WriteString(s[from : from+n])
		s = s[from+n:]
	}
	b.WriteString(normalise(s))
	return b.String()
}

func manyMarks(s string) bool {
	run, marks := 0, chars("M")
	for _, r := range s {
		if r >= 0x300 && marks.has(r) {
			run++
		} else {
			run = 0
		}
		if run > 20 { // a base character may bring marks of its own
			return true
		}
	}
	return false
}

// classed is a character with its canonical combining class.
type classed struct {
	r     rune
	class uint8
}

// longForm normalises as UAX 15 says: decompose, order marks, compose.
func longForm(f norm.Form, s string) string {
	apart := norm.NFD
	if f == norm.NFKC || f == norm.NFKD {
		apart = norm.NFKD
	}
	var out []classed
	for _, r := range s {
		for _, d := range apart.String(string(r)) {
			out = append(out, classed{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
	}
	for from := 0; from < len(out); from++ {
		to := from
		for to < len(out) && out[to].class != 0 {
			to++
		}
		slices.SortStableFunc(out[from:to], func(a, b classed) int { return int(a.class) - int(b.class) })
		from = to
	}
	if f == norm.NFC || f == norm.NFKC {
		out = composed(out)
	}
	var b strings.Builder
	for _, c := range out {
		b.WriteRune(c.r)
	}
	return b.String()
}

func composed(in []classed) []classed {
	var out []classed
	starter, last := -1, uint8(0)
	for _, c := range in {
		if starter >= 0 && (last < c.class || last == 0 && starter == len(out)-1) {
			if pair := []rune(norm.NFC.String(string([]rune{out[starter].r, c.r}))); len(pair) == 1 {
				out[starter].r = pair[0]
				continue
			}
		}
		if last = c.class; c.class == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	return out
}

// lower maps each character by itself; İ is the one that becomes two.
func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	if strings.ContainsRune(s, 'İ') {
		s = strings.ReplaceAll(s, "İ", "i̇")
	}
	newer := tables().lower
	return strings.Map(func(r rune) rune {
		if to, ok := newer[r]; ok {
			return to
		}
		return unicode.ToLower(r)
	}, s)
}

func without(s, set string) string {
	if isASCII(s) {
		return s
	}
	drop := chars(set)
	return strings.Map(func(r rune) rune {
		if drop.has(r) {
			return -1
		}
		return r
	}, s)
}

func (c *component) bertNormalizer() normalizer {
	lowercase := isTrue(c.Lowercase, true)
	accents := lowercase
	if c.StripAccents != nil {
		accents = *c.StripAccents
	}
	cleaned, chinese := isTrue(c.CleanText, true), isTrue(c.HandleChineseChars, true)
	nfd := form("NFD")
	return func(s string) string {
		if cleaned {
			s = clean(s)
		}
		if chinese {
			s = spaceOutChinese(s)
		}
		if accents {
			s = without(nfd(s), "bert-accents")
		}
		if lowercase {
			s = lower(s)
		}
		return s
	}
}

func clean(s string) string {
	drop, blank := chars("bert-clean"), chars("space")
	return strings.Map(func(r rune) rune {
		switch {
		case drop.has(r):
			return -1
		case blank.has(r):
			return ' '
		}
		return r
	}, s)
}

// chinese are the blocks that BERT sets apart (Hugging Face tokenizers,
// normalizers/bert.rs, which leaves out 2B820 to 2B91F).
var chinese = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x3400, Hi: 0x4DBF, Stride: 1}, {Lo: 0x4E00, Hi: 0x9FFF, Stride: 1}, {Lo: 0xF900, Hi: 0xFAFF, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x20000, Hi: 0x2A6DF, Stride: 1}, {Lo: 0x2A700, Hi: 0x2B81F, Stride: 1}, {Lo: 0x2B920, Hi: 0x2CEAF, Stride: 1}, {Lo: 0x2F800, Hi: 0x2FA1F, Stride: 1}},
}

func spaceOutChinese(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.Is(chinese, r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// nmt drops control characters and makes odd blanks plain (SentencePiece's nmt_nfkc rules).
func nmt(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xB, r >= 0xE && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return -1
		case r == 9, r == 0xA, r == 0xC, r == 0xD, r == 0x1680, r >= 0x200B && r <= 0x200F, r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	}, s)
}

// charsMap is SentencePiece's compiled normalisation: a double-array trie (as
// darts-clone lays it out) from a character sequence to the place of its
// replacement in a block of zero-terminated strings.
type charsMap struct {
	units []uint32
	texts string
}

func readCharsMap(encoded string) (*charsMap, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("precompiled_charsmap: expected base64")
	}
	return parseCharsMap(raw)
}

func parseCharsMap(raw []byte) (*charsMap, error) {
	if len(raw) == 0 {
		return &charsMap{}, nil
	}
	if len(raw) < 4 {
		return nil, errors.New("precompiled_charsmap: expected at least 4 bytes")
	}
	size := int(binary.LittleEndian.Uint32(raw))
	if size < 0 || size > len(raw)-4 || size%4 != 0 {
		return nil, fmt.Errorf("precompiled_charsmap: a trie of %d bytes in %d bytes", size, len(raw))
	}
	m := &charsMap{texts: string(raw[4+size:])}
	for i := 4; i < 4+size; i += 4 {
		m.units = append(m.units, binary.LittleEndian.Uint32(raw[i:]))
	}
	return m, nil
}

// prefix finds a replaced sequence at the start of s: the shortest or the
// longest. n = its bytes, 0 = none.
func (m *charsMap) prefix(s string, longest bool) (with string, n int) {
	if len(m.units) == 0 {
		return "", 0
	}
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	pos := offset(m.units[0])
	for i := range len(s) {
		if s[i] == 0 {
			break
		}
		pos ^= uint32(s[i])
		if int(pos) >= len(m.units) || m.units[pos]&(1<<31|0xFF) != uint32(s[i]) {
			break
		}
		u := m.units[pos]
		pos ^= offset(u)
		if u>>8&1 == 1 && int(pos) < len(m.units) {
			with, n = m.text(int(m.units[pos]&(1<<31-1))), i+1
			if !longest {
				break
			}
		}
	}
	return with, n
}

func (m *charsMap) text(at int) string {
	if at >= len(m.texts) {
		return ""
	}
	text, _, _ := strings.Cut(m.texts[at:], "\x00")
	return text
}

// byGrapheme normalises as Hugging Face's spm_precompiled crate does: a short
// grapheme as a whole if it begins with a known sequence, else each character.
func (m *charsMap) byGrapheme(s string) string {
	var b strings.Builder
	state := -1
	for len(s) > 0 {
		var g string
		g, s, _, state = uniseg.FirstGraphemeClusterInString(s, state)
		if len(g) < 6 {
			if with, n := m.prefix(g, false); n > 0 {
				b.WriteString(with)
				continue
			}
		}
		for len(g) > 0 {
			k := runeLen(g, 0)
			if with, n := m.prefix(g[:k], false); n > 0 {
				b.WriteString(with)
			} else {
				b.WriteString(g[:k])
			}
			g = g[k:]
		}
	}
	return b.String()
}

// The byte-level alphabet of GPT-2: every byte as a printable character
// (openai/gpt-2 src/encoder.py bytes_to_unicode).
var (
	byteChar [256]rune
	charByte [0x144]int16 // by character; -1 = not in the alphabet
)

func init() {
	for i := range charByte {
		charByte[i] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE) {
			r = next
			next++
		}
		byteChar[b], charByte[r] = r, int16(b)
	}
}

func toByteChars(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(byteChar[s[i]])
	}
	return b.String()
}

// fromByteChars turns alphabet characters back into bytes; ok says that the text
// held nothing else.
func fromByteChars(s string) (raw string, ok bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if int(r) >= len(charByte) || charByte[r] < 0 {
			return "", false
		}
		out = append(out, byte(charByte[r]))
	}
	return string(out), true
}
