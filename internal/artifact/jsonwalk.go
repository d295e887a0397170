package artifact

import (
	"bytes"
	"encoding/json"
	"strings"
)

// json redacts a valid JSON document string by string, leaving every other
// byte as it is.
func (p pass) json(s string, depth int) string {
	w := &walker{p: p, in: s, depth: depth}
	w.space()
	w.value(notSecret)
	if w.last == 0 {
		return s
	}
	return w.out.String() + s[w.last:]
}

type walker struct {
	p        pass
	in       string
	pos      int
	out      strings.Builder
	last     int // input up to here is in out
	depth    int
	nameSeen string // value of the last "name" member, for name/value pairs
}

func (w *walker) space() {
	for w.pos < len(w.in) && strings.IndexByte(" \t\r\n,:", w.in[w.pos]) >= 0 {
		w.pos++
	}
}

func (w *walker) replace(lo, hi int, text string) {
	w.out.WriteString(w.in[w.last:lo])
	w.out.WriteString(text)
	w.last = hi
}

// value passes over one value that stands under a name of the given strength;
// a string's content is returned.
func (w *walker) value(kind strength) string {
	switch w.in[w.pos] {
	case '{':
		w.object()
	case '[':
		w.array(kind)
	case '"':
		return w.str(kind)
	default:
		lo := w.pos
		for w.pos < len(w.in) && strings.IndexByte(",]} \t\r\n", w.in[w.pos]) < 0 {
			w.pos++
		}
		if v := w.in[lo:w.pos]; kind >= passwordLike && hides(kind, v) {
			w.replace(lo, w.pos, `"`+markOpen+assignID+`]"`)
		}
	}
	return ""
}

func (w *walker) object() {
	outer := w.nameSeen
	w.nameSeen = ""
	w.pos++
	for w.space(); w.in[w.pos] != '}'; w.space() {
		key := w.str(notSecret)
		w.space()
		kind := classify(key)
		if strings.EqualFold(key, "value") {
			kind = classify(w.nameSeen)
		}
		if v := w.value(kind); strings.EqualFold(key, "name") || strings.EqualFold(key, "key") {
			w.nameSeen = v
		}
	}
	w.pos++
	w.nameSeen = outer
}

func (w *walker) array(kind strength) {
	w.pos++
	before := ""
	for w.space(); w.in[w.pos] != ']'; w.space() {
		k := kind
		if strings.HasPrefix(before, "-") && !strings.Contains(before, "=") && !strings.HasPrefix(w.in[w.pos:], `"-`) {
			k = max(k, flagStrength(before))
		}
		before = w.value(k)
	}
	w.pos++
}

// flagStrength is that of an option's name: whoever writes --token X means X.
func flagStrength(option string) strength {
	if k := classify(option); k != weak {
		return k
	}
	return keyLike
}

// str passes over a string, hides what is to be hidden and returns the content
// as it was.
func (w *walker) str(kind strength) string {
	lo := w.pos
	for w.pos++; w.in[w.pos] != '"'; w.pos++ {
		if w.in[w.pos] == '\\' {
			w.pos++
		}
	}
	w.pos++
	raw := w.in[lo:w.pos]
	text := raw[1 : len(raw)-1]
	if strings.IndexByte(raw, '\\') >= 0 && json.Unmarshal([]byte(raw), &text) != nil {
		return text
	}
	hidden := markOpen + assignID + "]"
	if !hides(kind, text) {
		hidden = w.p.document(text, w.depth+1)
	}
	if hidden != text {
		w.replace(lo, w.pos, quote(hidden))
	}
	return text
}

func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
