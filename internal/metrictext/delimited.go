package metrictext

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// delimited says that a page is a row of protocol buffers, each with its length
// before it: the first begins with the name of a family (field 1).
func delimited(page []byte) bool {
	size, n := binary.Uvarint(page)
	if n <= 0 || size < 3 || uint64(len(page)-n) < size || page[n] != 0x0a {
		return false
	}
	length, m := binary.Uvarint(page[n+1:])
	if m <= 0 || length == 0 || length > size || uint64(len(page)-n-1-m) < length {
		return false
	}
	for _, c := range page[n+1+m:][:length] {
		if c < ' ' {
			return false
		}
	}
	return true
}

func (p *Page) readDelimited(page []byte) {
	dec := expfmt.NewDecoder(bytes.NewReader(page), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for p.Left == 0 {
		var f dto.MetricFamily
		if err := dec.Decode(&f); err != nil {
			if err.Error() != "EOF" {
				p.malformed([]byte("(protocol buffer)"))
			}
			return
		}
		p.addFamily(&f)
	}
}

func (p *Page) addFamily(f *dto.MetricFamily) {
	name := f.GetName()
	p.types[name] = strings.ReplaceAll(strings.ToLower(f.GetType().String()), "_", "")
	for _, m := range f.GetMetric() {
		labels, stamped := labelsOf(m.GetLabel()), m.TimestampMs != nil
		switch {
		case m.GetHistogram() != nil:
			p.addHistogram(name, labels, m.GetHistogram(), stamped)
		case m.GetGauge() != nil:
			p.add(Sample{name, labels, m.GetGauge().GetValue()}, false, stamped)
		case m.GetCounter() != nil:
			p.add(Sample{name, labels, m.GetCounter().GetValue()}, m.GetCounter().GetExemplar() != nil, stamped)
		case m.GetUntyped() != nil:
			p.add(Sample{name, labels, m.GetUntyped().GetValue()}, false, stamped)
		}
	}
}

func (p *Page) addHistogram(name string, labels []Label, m *dto.Histogram, stamped bool) {
	h := Histogram{Labels: labels, Count: max(float64(m.GetSampleCount()), m.GetSampleCountFloat()), Sum: m.GetSampleSum()}
	if native := len(m.GetPositiveSpan())+len(m.GetNegativeSpan()) > 0 || m.GetZeroThreshold() > 0; native {
		h.Native, h.Buckets = true, nativeBuckets(m)
	} else {
		for _, b := range m.GetBucket() {
			h.Buckets = append(h.Buckets, Bucket{b.GetUpperBound(), max(float64(b.GetCumulativeCount()), b.GetCumulativeCountFloat())})
		}
	}
	p.add(Sample{name + "_count", labels, h.Count}, false, stamped)
	p.add(Sample{name + "_sum", labels, h.Sum}, false, stamped)
	if h.close() {
		p.native[name] = append(p.native[name], h)
	}
}

// maxSpan bounds the buckets that the spans of a native histogram may claim.
const maxSpan = 10_000

// nativeBuckets lists the buckets of a native histogram with their bounds: bucket
// i of schema s ends at 2^(i·2^-s). The empty ones between two spans stand as one.
// Source: prometheus/client_model io/prometheus/client/metrics.proto @ v0.6.3.
func nativeBuckets(m *dto.Histogram) []Bucket {
	var out []Bucket
	total := 0.0
	push := func(le, n float64) {
		total += n
		out = append(out, Bucket{le, total})
	}
	bound := func(i int32) float64 { return math.Exp2(float64(i) * math.Exp2(-float64(m.GetSchema()))) }
	negative := spanned(m.GetNegativeSpan(), m.GetNegativeDelta(), m.GetNegativeCount())
	for i := len(negative) - 1; i >= 0; i-- {
		b := negative[i]
		if len(out) == 0 {
			push(-bound(b.index), 0)
		}
		push(-bound(b.index-1), b.count)
	}
	zero := max(float64(m.GetZeroCount()), m.GetZeroCountFloat())
	if zero > 0 || len(negative) > 0 {
		push(m.GetZeroThreshold(), zero)
	}
	for _, b := range spanned(m.GetPositiveSpan(), m.GetPositiveDelta(), m.GetPositiveCount()) {
		if low := bound(b.index - 1); len(out) == 0 || out[len(out)-1].LE < low {
			push(low, 0)
		}
		push(bound(b.index), b.count)
	}
	return out
}

type indexed struct {
	index int32
	count float64
}

// spanned numbers the buckets of spans: each count is the one before it plus its
// delta, unless counts are given.
func spanned(spans []*dto.BucketSpan, deltas []int64, counts []float64) []indexed {
	var out []indexed
	index, n, last := int32(0), 0, int64(0)
	for _, s := range spans {
		index += s.GetOffset()
		for range s.GetLength() {
			count := 0.0
			switch {
			case n < len(deltas):
				last += deltas[n]
				count = float64(last)
			case n < len(counts):
				count = counts[n]
			default:
				return out
			}
			if len(out) == maxSpan {
				return out
			}
			out = append(out, indexed{index, count})
			n++
			index++
		}
	}
	return out
}
