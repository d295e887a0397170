package report

import (
	"fmt"
	"math"
	"strconv"

	"llmdyno/internal/bench/result"
)

// worth is a figure with what it is worth: its interval, or how many requests it
// would need to have one.
func (v view) worth(e result.Entry, key string, p *float64) string {
	text := num(p)
	if p == nil {
		return text
	}
	return text + v.interval(e, key, *p)
}

// latency is a typical latency with what it is worth.
func (v view) latency(e result.Entry, name string, l result.Latency) string {
	x, mean, ok := l.Typical()
	if !ok {
		return missing
	}
	stat := "p50_"
	if mean {
		stat = "mean_"
	}
	return typical(l) + v.interval(e, stat+name+"_ms", x)
}

// interval is what stands after a figure: lo..hi, on a terminal the wider side of
// it as a share, or the number of requests that are needed. "" = the row does not
// tell.
func (v view) interval(e result.Entry, key string, x float64) string {
	i, told := e.Row.Metrics.Intervals[key]
	switch {
	case !told, e.Row.Smoke:
		return ""
	case v.narrow && i.CI == nil && i.Needs > 0:
		return "?"
	case v.narrow:
		return ""
	case i.CI == nil && i.Needs > 0:
		return fmt.Sprintf(" (needs %d)", i.Needs)
	case i.CI == nil:
		return ""
	case v.short && x > 0:
		return " ±" + twoDigits(100*max(i.CI[1]-x, x-i.CI[0])/x) + " %"
	}
	return fmt.Sprintf(" (%s..%s)", result.Number(i.CI[0]), result.Number(i.CI[1]))
}

// twoDigits rounds to two significant digits.
func twoDigits(x float64) string {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 2, 64), 64)
	if err != nil || math.IsInf(x, 0) {
		return "?"
	}
	return strconv.FormatFloat(r, 'f', -1, 64)
}

// deltaCI is the interval of a difference to the best, in percent.
func (v view) deltaCI(d *result.Difference) string {
	if v.short || d == nil || d.CI == nil {
		return ""
	}
	return fmt.Sprintf(" (%+.1f..%+.1f)", 100*d.CI[0], 100*d.CI[1])
}

// intervalLegend explains intervals and marks of small samples that are shown.
func (v view) intervalLegend() []string {
	shown, small := false, false
	for _, e := range v.c.Entries {
		if e.Row.Smoke {
			continue
		}
		for _, i := range e.Row.Metrics.Intervals {
			shown, small = shown || i.CI != nil, small || i.CI == nil && i.Needs > 0
		}
	}
	var out []string
	if v.narrow {
		if small {
			return []string{"?: too few requests for an interval, do not rely on the figure. Intervals stand in the page and in a wider terminal"}
		}
		return nil
	}
	if shown && v.short {
		out = append(out, "±: 95 % interval within the trial, its wider side")
	}
	if shown && !v.short {
		out = append(out, "lo..hi: 95 % interval within the trial; of a difference, over the trials that its evidence has")
	}
	if small {
		out = append(out, "(needs N): too few requests for an interval, do not rely on the figure; so many would do")
	}
	return out
}
