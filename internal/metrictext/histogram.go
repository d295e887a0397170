package metrictext

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bucket counts the observations of at most LE.
type Bucket struct {
	LE    float64
	Count float64 // cumulative
}

// Histogram is the distribution that one series tells.
type Histogram struct {
	Labels  []Label // by name, "le" left out
	Count   float64 // observations
	Sum     float64 // of all observations
	Buckets []Bucket
	Native  bool // its bounds are powers, finer than those of a classic one
}

// Label is the value of a label; "" = the series lacks it.
func (h Histogram) Label(name string) string { return Sample{Labels: h.Labels}.Label(name) }

// Carries says that the series has all of these labels with these values.
func (h Histogram) Carries(want map[string]string) bool {
	return Sample{Labels: h.Labels}.Carries(want)
}

// Key is the labels as one text, which tells the series of a family apart.
func (h Histogram) Key() string { return key(h.Labels, "") }

// Histograms are the series of a histogram family, in the order of the page. One
// whose bounds do not rise, whose counts fall or whose sum is no finite number is
// left out: it is not known, which is not zero.
func (p *Page) Histograms(name string) []Histogram {
	if native := p.native[name]; len(native) > 0 {
		return native
	}
	type parts struct {
		Histogram
		sum, count float64
		counted    bool
	}
	found := map[string]*parts{}
	var order []*parts
	at := func(s Sample) *parts {
		k := key(s.Labels, "le")
		if found[k] == nil {
			found[k] = &parts{sum: math.NaN()}
			found[k].Labels = slices.DeleteFunc(slices.Clone(s.Labels), func(l Label) bool { return l.Name == "le" })
			order = append(order, found[k])
		}
		return found[k]
	}
	for _, i := range p.byName[name+"_bucket"] {
		s := p.Samples[i]
		le, err := strconv.ParseFloat(strings.TrimSpace(s.Label("le")), 64)
		if err != nil {
			le = math.NaN()
		}
		h := at(s)
		h.Buckets = append(h.Buckets, Bucket{le, s.Value})
	}
	if p.types[name] != "histogram" && p.types[name] != "gaugehistogram" && len(order) == 0 {
		return nil // a summary has a sum and a count, too
	}
	for _, i := range p.byName[name+"_sum"] {
		at(p.Samples[i]).sum = p.Samples[i].Value
	}
	for _, i := range p.byName[name+"_count"] {
		h := at(p.Samples[i])
		h.count, h.counted = p.Samples[i].Value, true
	}
	var out []Histogram
	for _, h := range order {
		h.Sum = h.sum
		if h.Count = h.count; !h.counted && len(h.Buckets) > 0 {
			h.Count = slices.MaxFunc(h.Buckets, func(a, b Bucket) int { return cmp.Compare(a.LE, b.LE) }).Count
		}
		if h.Histogram.close() {
			out = append(out, h.Histogram)
		}
	}
	return out
}

// close puts the buckets in order and adds the one for +Inf; false = it is no
// histogram.
func (h *Histogram) close() bool {
	slices.SortStableFunc(h.Buckets, func(a, b Bucket) int { return cmp.Compare(a.LE, b.LE) })
	if n := len(h.Buckets); n == 0 || !math.IsInf(h.Buckets[n-1].LE, 1) {
		h.Buckets = append(h.Buckets, Bucket{math.Inf(1), h.Count})
	}
	last := 0.0
	for i, b := range h.Buckets {
		if math.IsNaN(b.LE) || !(b.Count >= last) || i > 0 && b.LE == h.Buckets[i-1].LE {
			return false
		}
		last = b.Count
	}
	return !math.IsNaN(h.Sum) && !math.IsInf(h.Sum, 0) && last == h.Count && !math.IsInf(last, 0)
}

// Add is the histogram of the observations of both. Where their bounds differ,
// only those that both have are kept: between others nobody knows the count.
func (h Histogram) Add(o Histogram) Histogram { return h.with(o, 1) }

func (h Histogram) with(o Histogram, sign float64) Histogram {
	out := Histogram{Labels: h.Labels, Native: h.Native && o.Native, Count: h.Count + sign*o.Count, Sum: h.Sum + sign*o.Sum}
	if h.Native && o.Native {
		out.Buckets = joinNative(h.Buckets, o.Buckets, sign)
		return out
	}
	for _, b := range h.Buckets {
		if i, ok := slices.BinarySearchFunc(o.Buckets, b.LE, func(x Bucket, le float64) int { return cmp.Compare(x.LE, le) }); ok {
			out.Buckets = append(out.Buckets, Bucket{b.LE, b.Count + sign*o.Buckets[i].Count})
		}
	}
	return out
}

// joinNative: a bound that one of them lacks stands where it has no observation,
// so its count there is that of the bound below.
func joinNative(a, b []Bucket, sign float64) []Bucket {
	var out []Bucket
	ca, cb := 0.0, 0.0
	for len(a)+len(b) > 0 {
		le := math.Inf(1)
		if len(a) > 0 {
			le = min(le, a[0].LE)
		}
		if len(b) > 0 {
			le = min(le, b[0].LE)
		}
		if len(a) > 0 && a[0].LE == le {
			ca, a = a[0].Count, a[1:]
		}
		if len(b) > 0 && b[0].LE == le {
			cb, b = b[0].Count, b[1:]
		}
		out = append(out, Bucket{le, ca + sign*cb})
	}
	return out
}

// Sum adds histograms up; the labels are those of none.
func Sum(hs []Histogram) (Histogram, bool) {
	if len(hs) == 0 {
		return Histogram{}, false
	}
	total := hs[0]
	for _, h := range hs[1:] {
		total = total.Add(h)
	}
	total.Labels = nil
	return total, true
}

// Since is what was observed between two pages, series by series. began says that
// a series counts anew: all of it is then of the time since.
func Since(before, after []Histogram) (delta []Histogram, began bool) {
	old := map[string]Histogram{}
	for _, h := range before {
		old[h.Key()] = h
	}
	for _, h := range after {
		b, known := old[h.Key()]
		d := h
		if known {
			if d = h.with(b, -1); falls(d) {
				d, began = h, true
			}
		}
		delta = append(delta, d)
	}
	return delta, began
}

// falls: a count that is negative, or below that of a lower bound, says that the
// two pages are not of one process.
func falls(h Histogram) bool {
	last := 0.0
	for _, b := range h.Buckets {
		if b.Count < last {
			return true
		}
		last = b.Count
	}
	return h.Count < 0
}

// Mean is the average observation; NaN without any.
func (h Histogram) Mean() float64 {
	if h.Count <= 0 {
		return math.NaN()
	}
	return h.Sum / h.Count
}

// Quantile is the q-quantile (0 < q ≤ 1), linear within its bucket, the first of
// which begins at 0; in the last, which is open, it is the highest finite bound.
// NaN without observations. The rule is that of Prometheus' histogram_quantile.
func (h Histogram) Quantile(q float64) float64 {
	rank, low, before := q*h.Count, 0.0, 0.0
	if h.Count <= 0 {
		return math.NaN()
	}
	for i, b := range h.Buckets {
		if b.Count < rank || b.Count <= before {
			low, before = b.LE, max(before, b.Count)
			continue
		}
		if i == 0 && b.LE <= 0 {
			return b.LE
		}
		if math.IsInf(b.LE, 1) {
			return low
		}
		return low + (b.LE-low)*(rank-before)/(b.Count-before)
	}
	return low
}

// Increase is what a set of counters grew by between two pages, series by series.
// A value that fell says that its process began anew, so that all of it counts;
// began says that this happened.
func Increase(before, after []Sample) (sum float64, began bool) {
	old := map[string]float64{}
	for _, s := range before {
		old[s.Key()] = s.Value
	}
	for _, s := range after {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			continue
		}
		d := s.Value
		if v, known := old[s.Key()]; known && !math.IsNaN(v) && !math.IsInf(v, 0) {
			if d -= v; d < 0 {
				d, began = s.Value, true
			}
		}
		sum += d
	}
	return sum, began
}
