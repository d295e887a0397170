package dump

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"llmdyno/internal/incident/pickle"
)

const (
	maxInFlight = 1000 // indices that are listed
	maxSuspects = 20
	hashDigits  = 12
)

// show fills the views of the first records, and names those worth a look.
func (f *File) show(o Options) {
	if len(f.parts) == 0 {
		return
	}
	p := f.parts[0]
	n := len(p.records)
	if o.Records >= 0 {
		n = min(n, o.Records)
	}
	r := p.reader()
	for i := range n {
		f.Records = append(f.Records, p.view(r, i, o.Preview))
	}
	f.Omitted = len(p.records) - n
	for i, rec := range p.records {
		if rec.shaped && !rec.finished && len(f.InFlight) < maxInFlight {
			f.InFlight = append(f.InFlight, i)
		}
	}
	f.Suspects = p.suspects()
}

// view is a record as a summary shows it.
func (p *part) view(r *reader, i, preview int) Record {
	rec := &p.records[i]
	v := Record{Index: i, Problem: rec.why}
	if !rec.shaped {
		return v
	}
	r.read(rec)
	v.ID = p.id(r)
	v.Class = p.className(rec.request)
	v.Stream = truthy(p.doc, r.req[reqStream])
	v.Finished, v.FinishReason = rec.finished, rec.finish
	v.PromptTokens, v.CompletionTokens, v.CachedTokens = r.optional(metaPrompt), r.optional(metaCompletion), r.optional(metaCached)
	v.QueueSeconds = r.optional(metaQueue)
	v.Start = Instant(rec.start)
	if rec.end >= rec.start {
		elapsed := rec.end - rec.start
		v.ElapsedSeconds = &elapsed
	}
	v.describe(p.previewText(r), preview)
	return v
}

// describe tells a prompt by its length and hash, and its beginning where that was
// asked for.
func (v *Record) describe(text []byte, preview int) {
	if len(text) == 0 {
		return
	}
	v.PromptChars = utf8.RuneCount(text)
	sum := sha256.Sum256(text)
	v.PromptSHA256 = hex.EncodeToString(sum[:])[:hashDigits]
	if preview > 0 {
		v.Preview = cutText(valid(text), preview)
	}
}

func (r *reader) optional(i int) *float64 {
	if x, ok := r.number(r.met[i]); ok {
		return &x
	}
	return nil
}

// id is the id of a request, from the request or its answer.
func (p *part) id(r *reader) string {
	for _, v := range []pickle.Value{r.req[reqID], r.met[metaID]} {
		q := p.doc.Plain(v)
		if k := q.Kind; (k == pickle.List || k == pickle.Tuple) && q.Array == nil { // of a batch
			p.doc.Items(q.Value, func(x pickle.Value) bool { q = p.doc.Plain(x); return false })
		}
		if q.Kind == pickle.Str && len(q.Text) > 0 {
			return cutText(valid(q.Text), 200)
		}
	}
	return ""
}

// previewText is the first text that is not empty among the fields of a preview.
func (p *part) previewText(r *reader) []byte {
	values := map[string]pickle.Value{p.layout.Request.Text: r.req[reqText]}
	for i, name := range previewNames(p.layout) {
		values[name] = r.req[reqPreview+i]
	}
	for _, name := range p.layout.Request.Preview {
		q := p.doc.Plain(values[name])
		if k := q.Kind; k == pickle.List || k == pickle.Tuple {
			p.doc.Items(q.Value, func(x pickle.Value) bool { q = p.doc.Plain(x); return false })
		}
		if q.Kind == pickle.Str && len(q.Text) > 0 {
			return q.Text
		}
	}
	return nil
}

// cutText is a text on one line of at most n characters.
func cutText(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' {
			return ' '
		}
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n <= 3 {
		return string([]rune(s)[:n])
	}
	return string([]rune(s)[:n-3]) + "..."
}

// Instant is a time in seconds since the epoch as RFC 3339 in UTC; "" for one that
// is none.
func Instant(seconds float64) string {
	if math.IsNaN(seconds) || seconds < -62135596800 || seconds > 253402300799 {
		return ""
	}
	whole, frac := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(frac*1e6))*1000).UTC().Format("2006-01-02T15:04:05.000Z")
}

// suspects are the records that stand out, with the reasons.
func (p *part) suspects() []Suspect {
	reasons := map[int][]string{}
	add := func(i int, why string) {
		if i >= 0 {
			reasons[i] = append(reasons[i], why)
		}
	}
	add(p.largest(func(r *record) float64 { return r.end - r.start }), "longest")
	add(p.largest(func(r *record) float64 { return r.start }), "last started")
	add(p.largest(func(r *record) float64 { return r.prompt }), "longest prompt")
	add(p.largest(func(r *record) float64 { return r.output2 }), "longest answer")
	add(p.largest(func(r *record) float64 { return positive(r.queue) }), "waited longest")
	add(p.largest(func(r *record) float64 { return positive(r.retracted) }), "retracted most often")
	for i := range p.records {
		if r := &p.records[i]; r.shaped && len(reasons) < maxSuspects {
			if !r.finished {
				add(i, "unfinished")
			} else if r.finish == "abort" {
				add(i, "aborted")
			}
		}
	}
	var out []Suspect
	for i, why := range reasons {
		out = append(out, Suspect{i, why})
	}
	slices.SortFunc(out, func(a, b Suspect) int { return a.Index - b.Index })
	return out
}

// positive is a number above 0; any other is none.
func positive(x float64) float64 {
	if x > 0 {
		return x
	}
	return math.NaN()
}

// largest is the index of the record with the largest figure; -1 = none has it, or
// all have the same.
func (p *part) largest(of func(*record) float64) int {
	at, most, least := -1, math.Inf(-1), math.Inf(1)
	for i := range p.records {
		x := of(&p.records[i])
		if math.IsNaN(x) {
			continue
		}
		least = min(least, x)
		if x > most {
			at, most = i, x
		}
	}
	if least == most && len(p.records) > 1 {
		return -1
	}
	return at
}
