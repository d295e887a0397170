package dump

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/pickle"
)

// maxTokens bounds the token ids of one prompt.
const maxTokens = 10_000_000

// Requests are the dumped requests in the neutral form, in the order in which they
// began. Records of another shape are left out; a record without a usable time
// stands behind the one before it.
func Requests(d *Dump) ([]Request, error) {
	var out []Request
	err := EachRequest(d, func(q Request) error {
		out = append(out, q)
		return nil
	})
	return out, err
}

// EachRequest calls f with the dumped requests one by one, as [Requests] has them.
func EachRequest(d *Dump, f func(Request) error) error {
	if len(d.Files) == 1 && len(d.Files[0].list) > 0 { // as it was written
		for _, q := range d.Files[0].list {
			if err := f(q); err != nil {
				return err
			}
		}
		return nil
	}
	all, base := d.inOrder()
	readers := map[*part]*builder{}
	at := int64(0)
	for i, x := range all {
		q := x.listed()
		if x.part != nil {
			b := readers[x.part]
			if b == nil {
				b = &builder{p: x.part, r: x.part.reader(), drop: drops(x.part.layout.Drop), sampling: drops(x.part.layout.Sampling.Drop)}
				readers[x.part] = b
			}
			q = b.request(&x.part.records[x.index])
		}
		q.Index = i
		if ns := math.Round((x.start - base) * 1e9); !math.IsNaN(ns) && ns < 1e18 {
			at = max(at, int64(ns))
		} else {
			q.Notes = append(q.Notes, "it has no usable start time: it goes out with the one before it")
		}
		q.AtNs = at
		if err := f(q); err != nil {
			return err
		}
	}
	return nil
}

// located is a request of a part, or of a list that was read in place of a dump.
type located struct {
	part  *part
	list  []Request
	index int
	start float64 // NaN = unusable
	key   float64 // that it is sorted by
}

func (x located) listed() Request {
	if x.list == nil {
		return Request{}
	}
	return x.list[x.index]
}

// inOrder are the records of all files by their start, and the first start.
func (d *Dump) inOrder() (all []located, base float64) {
	base = math.NaN()
	add := func(x located, before *float64) {
		x.key = x.start
		if math.IsNaN(x.key) {
			x.key = *before
		}
		*before = x.key
		all = append(all, x)
		if !math.IsNaN(x.start) && !(x.start >= base) {
			base = x.start
		}
	}
	for _, f := range d.Files {
		before := math.Inf(-1)
		for i, q := range f.list {
			add(located{list: f.list, index: i, start: startOf(q)}, &before)
		}
		for _, p := range f.parts {
			before := math.Inf(-1)
			for i := range p.records {
				if p.records[i].shaped {
					add(located{part: p, index: i, start: p.records[i].start}, &before)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b located) int { return cmp.Compare(a.key, b.key) })
	return all, base
}

// startOf is the recorded start of a listed request; NaN without one.
func startOf(q Request) float64 {
	if q.Recorded.Start > 0 {
		return q.Recorded.Start
	}
	return math.NaN()
}

func drops(list []engine.DumpDrop) map[string]string {
	out := make(map[string]string, len(list))
	for _, x := range list {
		out[x.Field] = x.Reason
	}
	return out
}

// builder makes requests of the records of one part.
type builder struct {
	p              *part
	r              *reader
	drop, sampling map[string]string
	q              *Request
}

func (b *builder) request(rec *record) Request {
	b.r.read(rec)
	q := Request{Engine: b.p.engine, ID: b.p.id(b.r), SharedLen: -1, Stream: truthy(b.p.doc, b.r.req[reqStream])}
	b.q = &q
	q.Kind = b.kind(rec.request)
	q.Recorded = b.recorded(rec)
	if n := q.Recorded.PromptTokens; n != nil && *n > 0 && *n < maxTokens {
		q.InputLen = int(*n)
	}
	q.Body = b.body(rec.request)
	b.prompt()
	b.extra()
	return q
}

// kind of the request by its class; a dict or an unknown class with a prompt is one
// to generate.
func (b *builder) kind(v pickle.Value) engine.DumpKind {
	if c, ok := b.p.layout.Class(b.p.className(v)); ok && c.Kind != "" {
		return c.Kind
	}
	if v.Kind() == pickle.Dict || v.Kind() == pickle.Object {
		return engine.DumpGenerate
	}
	return ""
}

func (b *builder) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.q.Notes, text) && len(b.q.Notes) < 32 {
		b.q.Notes = append(b.q.Notes, text)
	}
}

func (b *builder) dropped(field, reason string) {
	b.q.Dropped = append(b.q.Dropped, Dropped{field, reason})
}

// json renders a value of a field, telling what it had to change.
func (b *builder) json(field string, v pickle.Value) json.RawMessage {
	j := pickle.JSON{
		Note: func(s string) { b.note("%s: %s", field, s) },
		Class: func(name string) ([]string, map[int64]string) {
			c, _ := b.p.layout.Class(name)
			return c.Positional, c.Values
		},
	}
	return j.Append(nil, b.p.doc, v)
}

// body is the native body: what was given, without what must not be sent again.
func (b *builder) body(request pickle.Value) json.RawMessage {
	var o object
	seen := map[string]int{}
	b.p.doc.Members(request, func(k, v pickle.Value) bool {
		name, ok := b.p.doc.RawText(k)
		if !ok || v.Kind() == pickle.None {
			return true
		}
		field := string(name)
		if why, gone := b.drop[field]; gone {
			b.dropped(field, why)
			return true
		}
		value := b.field(field, v)
		if def, ok := b.p.layout.Defaults[field]; !ok || !sameJSON(string(value), def) {
			o.set(seen, field, value)
		}
		return true
	})
	return o.bytes()
}

func (b *builder) field(field string, v pickle.Value) json.RawMessage {
	l := b.p.layout
	switch {
	case field == l.Request.Sampling:
		return b.samplings(field, v, 0)
	case slices.Contains(l.Media, field):
		return b.media(field, v, 0)
	}
	return b.json(field, v)
}

const maxMedia = 4 // lists within lists of attachments

// media renders attachments: an object with a URL is its URL.
func (b *builder) media(field string, v pickle.Value, depth int) json.RawMessage {
	p := b.p.doc.Plain(v)
	switch {
	case (p.Kind == pickle.List || p.Kind == pickle.Tuple) && p.Array == nil && depth < maxMedia:
		return b.list(p.Value, func(x pickle.Value) json.RawMessage { return b.media(field, x, depth+1) })
	case p.Kind == pickle.Dict || p.Kind == pickle.Object:
		url := b.p.doc.Plain(b.p.doc.Member(v, "url"))
		if url.Kind != pickle.Str {
			break
		}
		b.p.doc.Members(v, func(k, x pickle.Value) bool {
			if name, ok := b.p.doc.RawText(k); ok && string(name) != "url" && x.Kind() != pickle.None {
				b.note("%s: %s of an attachment is not sent, its URL alone", field, cutText(valid(name), 40))
			}
			return true
		})
		return pickle.AppendQuoted(nil, url.Text)
	}
	return b.json(field, v)
}

func (b *builder) list(v pickle.Value, item func(pickle.Value) json.RawMessage) json.RawMessage {
	out := []byte{'['}
	n := 0
	b.p.doc.Items(v, func(x pickle.Value) bool {
		if n > 0 {
			out = append(out, ',')
		}
		n++
		out = append(out, item(x)...)
		return len(out) < pickle.DefaultText
	})
	return append(out, ']')
}

// samplings renders the sampling parameters, or those of each prompt of a batch.
func (b *builder) samplings(field string, v pickle.Value, depth int) json.RawMessage {
	p := b.p.doc.Plain(v)
	switch p.Kind {
	case pickle.List, pickle.Tuple:
		if p.Array == nil && depth == 0 {
			return b.list(p.Value, func(x pickle.Value) json.RawMessage { return b.samplings(field, x, 1) })
		}
	case pickle.Dict:
		return b.json(field, v)
	case pickle.Object:
		if p.Opaque == "" {
			return b.samplingObject(field, v)
		}
	}
	return b.json(field, v)
}

// samplingObject undoes what the engine's own object did to the parameters.
func (b *builder) samplingObject(field string, v pickle.Value) json.RawMessage {
	var o object
	seen := map[string]int{}
	s := b.p.layout.Sampling
	b.p.doc.Members(v, func(k, x pickle.Value) bool {
		raw, ok := b.p.doc.RawText(k)
		if !ok || x.Kind() == pickle.None {
			return true
		}
		name := string(raw)
		if why, gone := b.sampling[name]; gone {
			b.dropped(field+"."+name, why)
			return true
		}
		if to, ok := s.Rename[name]; ok {
			name = to
		}
		value := b.json(field+"."+name, x)
		if to, ok := s.Same[name][string(value)]; ok {
			value = json.RawMessage(to)
		}
		if def, ok := s.Defaults[name]; !ok || !sameJSON(string(value), def) {
			if string(value) != "[]" {
				o.set(seen, name, value)
			}
		}
		return true
	})
	return o.bytes()
}

// sameJSON says that two JSON texts are the same value, 1 and 1.0 being one.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// object is a JSON object in the order of its members.
type object struct {
	keys   []string
	values []json.RawMessage
}

func (o *object) set(seen map[string]int, key string, value json.RawMessage) {
	if i, ok := seen[key]; ok {
		o.values[i] = value
		return
	}
	seen[key] = len(o.keys)
	o.keys, o.values = append(o.keys, key), append(o.values, value)
}

func (o *object) bytes() json.RawMessage {
	out := []byte{'{'}
	for i, k := range o.keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(pickle.AppendQuoted(out, []byte(k)), ':'), o.values[i]...)
	}
	return append(out, '}')
}

// prompt takes the one prompt of a request, or says why it has none.
func (b *builder) prompt() {
	q, d := b.q, b.p.doc
	text, tokens := d.Plain(b.r.req[reqText]), b.r.req[reqTokens]
	ids, isIDs := []int(nil), false
	if tokens != 0 && tokens.Kind() != pickle.None {
		ids, isIDs = d.Ints(tokens, maxTokens)
	}
	switch {
	case q.Kind == engine.DumpEmbedding:
		q.ReplayOnly = "it asks for an embedding"
	case q.Kind == "":
		q.ReplayOnly = "the record holds no request"
	case b.attachments() != "":
		q.ReplayOnly = "it has attachments in " + b.attachments()
	case text.Kind == pickle.Str && len(text.Text) > 0:
		q.Prompt = Text(text.Text)
	case isIDs && len(ids) > 0 && slices.Min(ids) >= 0:
		q.PromptTokens = ids
	case text.Kind == pickle.List || text.Kind == pickle.Tuple || tokens != 0 && tokens.Kind() == pickle.List:
		q.ReplayOnly = "it is a batch of several prompts"
	default:
		q.ReplayOnly = "it has neither a text nor token ids"
	}
}

// attachments names the field of the body that holds attachments.
func (b *builder) attachments() string {
	var members map[string]json.RawMessage
	for _, name := range b.p.layout.Media {
		if !bytes.Contains(b.q.Body, []byte(`"`+name+`"`)) {
			continue
		}
		if members == nil && json.Unmarshal(b.q.Body, &members) != nil {
			return ""
		}
		if v, ok := members[name]; ok && string(v) != "[]" {
			return name
		}
	}
	return ""
}

// extra gives the sampling parameters the names that most engines share.
func (b *builder) extra() {
	v := b.r.req[reqSampling]
	p := b.p.doc.Plain(v)
	if p.Kind != pickle.Dict && p.Kind != pickle.Object || b.q.Kind != engine.DumpGenerate {
		return
	}
	raw := b.samplingsQuiet(v)
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return
	}
	s := b.p.layout.Sampling
	b.q.OutputLen = positiveInt(members[s.MaxTokens])
	b.q.Greedy = sameJSON(string(members[s.Temperature]), "0") || sameJSON(string(members[s.GreedyTokens]), "1")
	var o object
	seen := map[string]int{}
	for _, name := range keysOf(members) {
		to, ok := b.p.layout.Neutral[name]
		if ok && name != s.MaxTokens && string(members[name]) != "null" {
			o.set(seen, to, members[name])
		}
	}
	if len(o.keys) > 0 {
		b.q.Extra = o.bytes()
	}
}

// samplingsQuiet renders the parameters again without saying a second time what was
// dropped.
func (b *builder) samplingsQuiet(v pickle.Value) json.RawMessage {
	dropped, notes := b.q.Dropped, b.q.Notes
	raw := b.samplings("", v, 1)
	b.q.Dropped, b.q.Notes = dropped, notes
	return raw
}

func keysOf(m map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func positiveInt(raw json.RawMessage) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil || n < 0 || n > maxTokens {
		return 0
	}
	return n
}

// recorded is what the server answered then.
func (b *builder) recorded(rec *record) Recorded {
	out := Recorded{Finished: rec.finished, FinishReason: rec.finish}
	if !math.IsNaN(rec.start) {
		out.Start = rec.start
	}
	if rec.end >= rec.start {
		elapsed := rec.end - rec.start
		out.ElapsedSeconds = &elapsed
	}
	out.PromptTokens, out.CompletionTokens, out.CachedTokens = b.count(metaPrompt), b.count(metaCompletion), b.count(metaCached)
	text := b.p.doc.Plain(b.r.out[outText])
	if text.Kind == pickle.Str {
		sum := sha256.Sum256(text.Text)
		out.TextChars, out.TextSHA256 = utf8.RuneCount(text.Text), hex.EncodeToString(sum[:])
	}
	return out
}

func (b *builder) count(i int) *int64 {
	x, ok := b.r.number(b.r.met[i])
	if !ok || math.Abs(x) > 1<<53 {
		return nil
	}
	n := int64(x)
	return &n
}
