package load

import (
	"math"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// The histograms of the Go runtime that tell how it held the client up.
const (
	schedLatencies = "/sched/latencies:seconds"
	gcPauses       = "/sched/pauses/total/gc:seconds"
)

// usage is what the process had used up at an instant, or between two.
type usage struct {
	at        time.Time
	wall, cpu time.Duration
	sched, gc metrics.Float64Histogram
}

func takeUsage() usage {
	u := usage{at: time.Now()}
	samples := []metrics.Sample{{Name: schedLatencies}, {Name: gcPauses}}
	metrics.Read(samples)
	for i, into := range []*metrics.Float64Histogram{&u.sched, &u.gc} {
		if samples[i].Value.Kind() == metrics.KindFloat64Histogram {
			*into = *samples[i].Value.Float64Histogram()
		}
	}
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

func (u usage) since(before usage) usage {
	u.wall, u.cpu = u.at.Sub(before.at), u.cpu-before.cpu
	u.sched, u.gc = less(u.sched, before.sched), less(u.gc, before.gc)
	return u
}

func less(h, before metrics.Float64Histogram) metrics.Float64Histogram {
	counts := make([]uint64, len(h.Counts))
	for i := range counts {
		counts[i] = h.Counts[i]
		if i < len(before.Counts) {
			counts[i] -= min(counts[i], before.Counts[i])
		}
	}
	return metrics.Float64Histogram{Counts: counts, Buckets: h.Buckets}
}

// histogramSpread sums up a histogram of seconds in ms, each sample taken as the
// upper bound of its bucket. No samples give nil.
func histogramSpread(h metrics.Float64Histogram) *Spread {
	total, sum := uint64(0), 0.0
	for i, n := range h.Counts {
		if total += n; n > 0 {
			sum += float64(n) * upper(h.Buckets, i)
		}
	}
	if total == 0 {
		return nil
	}
	at := func(q float64) float64 {
		rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
		for i, n := range h.Counts {
			if seen += n; n > 0 && seen >= rank {
				return upper(h.Buckets, i)
			}
		}
		return 0
	}
	return &Spread{N: int(total), Mean: sum / float64(total), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// upper is the upper bound of a bucket in ms; the last bucket has none, so its
// lower bound stands in.
func upper(bounds []float64, i int) float64 {
	if b := bounds[i+1]; !math.IsInf(b, 0) {
		return b * 1000
	}
	return bounds[i] * 1000
}
