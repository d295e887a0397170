package metrictext

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

const exotic = `# HELP x:ttft time
# TYPE x:ttft histogram
x:ttft_bucket{le="0.1"} 3 # {trace_id="a#b"} 0.08 1777718400.5
x:ttft_bucket {le="1"} 7 1777718400000
x:ttft_bucket{le="+Inf"} 9
x:ttft_sum 12.5
x:ttft_count 9
# TYPE x:inf gauge
x:inf +Inf
x:none NaN
x:point .5
x:big 1.8446744073709552e+19
x:escaped{path="C:\\new\\table",msg="line1\nline2",q="say \"hi\""} 1
x:commas{a="x,y",b="}{",} 2
x:accent{c="é"} 2
{"x.utf8.name","label.with.dots"="v"} 3
x:tab	4
x:no_value{a="b"}
x:text_value{a="b"} abc
x:open{a="b 3
x:twice{a="1",a="2"} 3
<html>
`

func TestParse(t *testing.T) {
	p := Parse([]byte(exotic))
	if len(p.Samples) != 14 || p.Exemplars != 1 || p.Timestamps != 1 || p.NaNs != 1 || p.MalformedLines != 5 {
		t.Errorf("%d samples, %d exemplars, %d timestamps, %d NaN, malformed %v", len(p.Samples), p.Exemplars, p.Timestamps, p.NaNs, p.Malformed)
	}
	if want := []string{"x:no_value", "x:text_value", "x:open", "x:twice", "<html>"}; !slices.Equal(p.Malformed, want) {
		t.Errorf("malformed %q, want %q", p.Malformed, want)
	}
	for name, want := range map[string]map[string]string{
		"x:escaped":   {"path": `C:\new\table`, "msg": "line1\nline2", "q": `say "hi"`},
		"x:commas":    {"a": "x,y", "b": "}{"},
		"x:accent":    {"c": "é"},
		"x.utf8.name": {"label.with.dots": "v"},
	} {
		if s := p.Series(name); len(s) != 1 || !s[0].Carries(want) || len(s[0].Labels) != len(want) {
			t.Errorf("%s: %v, want %v", name, s, want)
		}
	}
	if s := p.Series("x:inf"); len(s) != 1 || !math.IsInf(s[0].Value, 1) {
		t.Errorf("infinity: %v", s)
	}
	h := p.Histograms("x:ttft")
	if len(h) != 1 || h[0].Count != 9 || h[0].Mean() != 12.5/9 {
		t.Fatalf("histogram: %+v", h)
	}
	for q, want := range map[float64]float64{0.1: 0.1 * 0.9 / 3, 0.5: 0.1 + 0.9*1.5/4, 0.9: 1, 1: 1} {
		if got := h[0].Quantile(q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %g: %g, want %g", q, got, want)
		}
	}
}

// In OpenMetrics a timestamp is in seconds with a fraction, and a counter's family
// has not its suffix.
func TestOpenMetrics(t *testing.T) {
	p := Parse([]byte("# TYPE c counter\n# UNIT c seconds\nc_total 4 1777718400.25 # {id=\"1\"} 1\nc_created 1e9\n# EOF\n"))
	if s := p.Series("c_total"); len(s) != 1 || s[0].Value != 4 || p.Timestamps != 1 || p.Exemplars != 1 || p.MalformedLines != 0 {
		t.Errorf("%+v", p)
	}
	if p := Parse([]byte("c_total 4 1777718400.25\n")); p.MalformedLines != 1 {
		t.Error("the text format has whole milliseconds")
	}
}

func TestErr(t *testing.T) {
	for page, bad := range map[string]bool{"": false, "# TYPE a gauge\n": false, "<!doctype html>\n<p>no</p>\n": true, "a 1\n<p>\n": false} {
		if err := Parse([]byte(page)).Err(); (err != nil) != bad {
			t.Errorf("%q: %v", page, err)
		}
	}
}

// A native histogram has the same figures as the classic one of its bounds.
func TestNativeHistogram(t *testing.T) {
	f := &dto.MetricFamily{Name: proto.String("x:n"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{
		Label: []*dto.LabelPair{{Name: proto.String("rank"), Value: proto.String("0")}},
		Histogram: &dto.Histogram{SampleCount: proto.Uint64(10), SampleSum: proto.Float64(30), Schema: proto.Int32(0), ZeroThreshold: proto.Float64(0.001), ZeroCount: proto.Uint64(2),
			PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(1), Length: proto.Uint32(2)}, {Offset: proto.Int32(1), Length: proto.Uint32(1)}},
			PositiveDelta: []int64{3, -1, 1}},
	}}}
	var page bytes.Buffer
	enc := expfmt.NewEncoder(&page, expfmt.NewFormat(expfmt.TypeProtoDelim))
	if err := enc.Encode(f); err != nil {
		t.Fatal(err)
	}
	h := Parse(page.Bytes()).Histograms("x:n")
	if len(h) != 1 || !h[0].Native || h[0].Label("rank") != "0" {
		t.Fatalf("%+v", h)
	}
	want := []Bucket{{0.001, 2}, {1, 2}, {2, 5}, {4, 7}, {8, 7}, {16, 10}, {math.Inf(1), 10}}
	if !slices.Equal(h[0].Buckets, want) {
		t.Errorf("buckets %v, want %v", h[0].Buckets, want)
	}
	if got := h[0].Quantile(0.5); got != 2 {
		t.Errorf("p50 %g, want 2", got)
	}
}

func TestSinceAndIncrease(t *testing.T) {
	page := func(lines ...string) *Page { return Parse([]byte(strings.Join(lines, "\n") + "\n")) }
	before := page(`h_bucket{r="0",le="1"} 5`, `h_bucket{r="0",le="+Inf"} 6`, `h_sum{r="0"} 9`, `h_count{r="0"} 6`, `c{r="0"} 7`, `c{r="1"} 100`)
	after := page(`h_bucket{r="0",le="1"} 6`, `h_bucket{r="0",le="+Inf"} 9`, `h_sum{r="0"} 19`, `h_count{r="0"} 9`, `c{r="0"} 9`, `c{r="1"} 4`)
	d, began := Since(before.Histograms("h"), after.Histograms("h"))
	if len(d) != 1 || began || d[0].Count != 3 || d[0].Sum != 10 || d[0].Buckets[0].Count != 1 {
		t.Errorf("%+v %v", d, began)
	}
	if _, began := Since(after.Histograms("h"), before.Histograms("h")); !began {
		t.Error("falling counts are no restart")
	}
	if sum, began := Increase(before.Series("c"), after.Series("c")); sum != 6 || !began {
		t.Errorf("increase %g, began %v; want 6, true", sum, began)
	}
}

// Parts that are added up have the figures of the whole, and taking the earlier
// page from the later one gives what came between.
func TestHistogramProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Histogram {
			h, total := Histogram{}, 0.0
			for i, n := range rapid.SliceOfN(rapid.IntRange(0, 50), 4, 4).Draw(t, name) {
				total += float64(n)
				h.Buckets = append(h.Buckets, Bucket{[]float64{0.5, 1, 2, math.Inf(1)}[i], total})
			}
			h.Count, h.Sum = total, total*0.7
			return h
		}
		a, b := draw("a"), draw("b")
		sum, _ := Sum([]Histogram{a, b})
		d, began := Since([]Histogram{a}, []Histogram{sum})
		if began || d[0].Count != b.Count || !slices.Equal(d[0].Buckets, b.Buckets) {
			t.Fatalf("%+v + %+v - %+v = %+v", a, b, a, d)
		}
		last := 0.0
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			if v := sum.Quantile(q); v < last {
				t.Fatalf("quantile %g falls: %g after %g", q, v, last)
			} else if !math.IsNaN(v) {
				last = v
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(exotic))
	f.Add([]byte("# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"1\"} 3\nh_count 3\nh_sum 1\n# EOF\n"))
	f.Add([]byte("\x0c\x0a\x03x:n\x18\x04\x22\x03\x3a\x01\x08"))
	f.Fuzz(func(t *testing.T, page []byte) {
		p := Parse(page)
		if lines := bytes.Count(page, []byte("\n")) + 1; p.MalformedLines > lines {
			t.Errorf("%d malformed lines of %d", p.MalformedLines, lines)
		}
		for _, s := range p.Samples {
			name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s.Name, "_bucket"), "_sum"), "_count")
			for _, h := range p.Histograms(name) {
				if n := len(h.Buckets); n == 0 || h.Buckets[n-1].Count != h.Count || !math.IsInf(h.Buckets[n-1].LE, 1) {
					t.Errorf("%s: %+v", name, h)
				}
				if v := h.Quantile(0.9); h.Count > 0 && math.IsNaN(v) {
					t.Errorf("%s: no p90 of %+v", name, h)
				}
			}
			if len(p.Samples) > 100 {
				break
			}
		}
	})
}
