package artifact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	markOpen = "[redacted:"
	// minSecret is the shortest exact value that is hidden: hiding "1" or "on"
	// everywhere would leave nothing to read.
	minSecret = 4
	// minEnvSecret is the same for values taken from the environment.
	minEnvSecret = 6
	// maxNested bounds documents within strings within documents.
	maxNested = 6
	// maxPasses bounds the repetition until nothing changes any more.
	maxPasses = 4
)

var mark = regexp.MustCompile(`\[redacted:[a-z0-9-]+\]`)

func onlyMarks(s string) bool { return strings.TrimSpace(mark.ReplaceAllString(s, "")) == "" }

// Redactor replaces secrets by [redacted:<rule>]. The built-in rules are always
// on. It may be used and extended by several goroutines; redacting twice
// changes nothing, and JSON stays JSON.
type Redactor struct {
	mu       sync.RWMutex
	exact    []string // longest first
	patterns []*regexp.Regexp
}

// NewRedactor has the built-in rules.
func NewRedactor() *Redactor { return &Redactor{} }

// AddSecret hides an exact value wherever it appears: as it is, and as JSON,
// URLs, base64 and hex spell it. Values shorter than 4 bytes are ignored.
func (r *Redactor) AddSecret(value string) {
	if len(value) < minSecret {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, form := range spellings(value) {
		if !slices.Contains(r.exact, form) {
			r.exact = append(r.exact, form)
		}
	}
	slices.SortStableFunc(r.exact, func(a, b string) int { return len(b) - len(a) })
}

// spellings are the forms in which a value turns up in files.
func spellings(v string) []string {
	quoted, _ := json.Marshal(v)
	forms := []string{v, strings.Trim(string(quoted), `"`), url.QueryEscape(v), url.PathEscape(v), hex.EncodeToString([]byte(v))}
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) == nil {
		forms = append(forms, strings.Trim(strings.TrimSpace(plain.String()), `"`))
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, e.EncodeToString([]byte(v)))
		// Inside a longer text ("user:secret") the value starts at any of three
		// offsets; the digits that depend on its neighbours are left out.
		for shift := 1; shift < 3 && len(v) >= 8; shift++ {
			s := e.EncodeToString(append(make([]byte, shift), v...))
			forms = append(forms, s[shift+1:len(s)-2])
		}
	}
	for line := range strings.Lines(v) {
		if line = strings.TrimSpace(line); len(line) >= 16 {
			forms = append(forms, line)
		}
	}
	return forms
}

// AddPattern hides what a regular expression (RE2) of the user matches. An
// expression that matches the empty text is refused.
func (r *Redactor) AddPattern(expr string) error {
	re, err := regexp.Compile(expr)
	if err != nil {
		return fmt.Errorf("redaction pattern %q: %w", expr, err)
	}
	if re.MatchString("") {
		return fmt.Errorf("redaction pattern %q matches the empty text: make it match the secret only", expr)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.patterns = append(r.patterns, re)
	return nil
}

// AddEnviron hides the values of the variables (NAME=value) whose name looks
// secret; see [SecretName].
func (r *Redactor) AddEnviron(environ []string) {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if len(value) >= minEnvSecret && hides(classify(name), value) && classify(value) != passwordLike {
			r.AddSecret(value)
		}
	}
}

// String redacts a text.
func (r *Redactor) String(s string) string {
	p := r.pass()
	for range maxPasses {
		next := p.document(s, 0)
		if next == s {
			break
		}
		s = next
	}
	return s
}

// Bytes redacts a document. A JSON document stays valid: its strings are
// redacted one by one, under the names of their keys. The argument is not
// changed, and returned itself when it hides nothing.
func (r *Redactor) Bytes(b []byte) []byte {
	p := r.pass()
	if !p.suspicious(b) {
		return b
	}
	s := string(b)
	if out := r.String(s); out != s {
		return []byte(out)
	}
	return b
}

// Writer redacts a stream line by line before it reaches w; see [Writer].
func (r *Redactor) Writer(w io.Writer) *Writer { return &Writer{r: r, w: w} }

// pass is a consistent view of a Redactor.
type pass struct {
	exact    []string
	patterns []*regexp.Regexp
}

func (r *Redactor) pass() pass {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return pass{slices.Clip(slices.Clone(r.exact)), slices.Clip(slices.Clone(r.patterns))}
}

// suspicious is the cheap test that lets most lines through: does any literal
// of a rule occur?
func (p pass) suspicious(b []byte) bool {
	return len(p.patterns) > 0 || hints.in(b) || slices.ContainsFunc(p.exact, func(e string) bool { return bytes.Contains(b, []byte(e)) })
}

// document redacts JSON as JSON and all else as text.
func (p pass) document(s string, depth int) string {
	if trimmed := strings.TrimSpace(s); depth < maxNested && trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == '"') {
		if json.Valid([]byte(s)) {
			return p.json(s, depth)
		}
		if trimmed[0] == '{' && strings.Contains(trimmed, "\n{") {
			var out strings.Builder
			for line := range strings.Lines(s) {
				out.WriteString(p.document(line, depth+1))
			}
			return out.String()
		}
	}
	return p.text(s)
}

func (p pass) text(s string) string {
	if !p.suspicious([]byte(s)) {
		return s
	}
	s = p.values(s)
	for _, rule := range Rules {
		s = rule.apply(s)
	}
	if spans, _ := assignments(s); len(spans) > 0 {
		s = cover(s, spans)
	}
	for _, re := range p.patterns {
		var spans []span
		for _, m := range re.FindAllStringIndex(s, -1) {
			spans = append(spans, span{m[0], m[1], "custom"})
		}
		s = cover(s, spans)
	}
	return s
}

// values hides the exact values.
func (p pass) values(s string) string {
	for _, e := range p.exact {
		var spans []span
		for at := 0; ; {
			i := strings.Index(s[at:], e)
			if i < 0 {
				break
			}
			spans = append(spans, span{at + i, at + i + len(e), "secret"})
			at += i + len(e)
		}
		s = cover(s, spans)
	}
	return s
}

func (r Rule) apply(s string) string {
	if !containsAnyFold(s, r.Hints) {
		return s
	}
	var spans []span
	for _, m := range r.Pattern.FindAllStringSubmatchIndex(s, -1) {
		lo, hi := m[0], m[1]
		if len(m) > 2 {
			lo, hi = m[2], m[3]
		}
		if r.Looks == nil || r.Looks(s[lo:hi]) {
			spans = append(spans, span{lo, hi, r.ID})
		}
	}
	return cover(s, spans)
}

// cover puts the replacements in place. What lies inside an earlier
// replacement stays, so that redacting again changes nothing.
func cover(s string, spans []span) string {
	if len(spans) == 0 {
		return s
	}
	marks := mark.FindAllStringIndex(s, -1)
	var out strings.Builder
	at := 0
	for _, x := range spans {
		inside := false
		for _, m := range marks {
			if x.lo < m[1] && x.hi > m[0] {
				inside = inside || x.lo >= m[0] && x.hi <= m[1]
				x.lo, x.hi = min(x.lo, m[0]), max(x.hi, m[1])
			}
		}
		if inside || x.lo < at || x.lo >= x.hi {
			continue
		}
		out.WriteString(s[at:x.lo] + markOpen + x.id + "]")
		at = x.hi
	}
	return out.String() + s[at:]
}
