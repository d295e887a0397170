package trace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Read reads a trace from r; source names it in errors.
func Read(ctx context.Context, r io.Reader, source string, o Options) (*Trace, error) {
	br := bufio.NewReader(r)
	if head, _ := br.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, err
		}
		return readTokens(z, source, o)
	}
	return readTokens(br, source, o)
}

func readTokens(r io.Reader, source string, o Options) (*Trace, error) {
	o = o.withDefaults()
	b := newBuilder(source, o)
	d := json.NewDecoder(r)
	d.UseNumber()
	tok, err := d.Token()
	if err != nil {
		return nil, &NotTraceError{source, "no JSON"}
	}
	if tok == json.Delim('[') {
		b.tokenEvents(d)
		return b.finish(), nil
	}
	if tok != json.Delim('{') {
		return nil, &NotTraceError{source, "no JSON object"}
	}
	found := false
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			b.t.Break = &Break{Offset: d.InputOffset(), Reason: err.Error()}
			break
		}
		key, _ := tok.(string)
		b.metaKey(key)
		if key == "traceEvents" {
			found = true
			d.Token()
			b.tokenEvents(d)
			if b.t.Break != nil {
				break
			}
			continue
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			b.t.Break = &Break{Offset: d.InputOffset(), Reason: err.Error()}
			break
		}
		b.takeMeta(key, raw)
	}
	if !found {
		return nil, &NotTraceError{source, "it has no traceEvents"}
	}
	b.t.Bytes = d.InputOffset()
	return b.finish(), nil
}

func (b *builder) tokenEvents(d *json.Decoder) {
	for d.More() {
		var raw json.RawMessage
		at := d.InputOffset()
		if err := d.Decode(&raw); err != nil {
			b.t.Break = &Break{Offset: d.InputOffset(), Reason: err.Error()}
			return
		}
		b.t.Events++
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil || m == nil {
			b.skip("no object", at)
			continue
		}
		str := func(k string) []byte {
			v := m[k]
			if len(v) > 0 && v[0] == '"' {
				var s string
				json.Unmarshal(v, &s)
				return []byte(s)
			}
			return v
		}
		b.add(&rawEvent{phase: str("ph"), cat: str("cat"), name: str("name"), pid: str("pid"), tid: str("tid"), ts: str("ts"), dur: str("dur"), args: m["args"], offset: at})
	}
	d.Token()
}
