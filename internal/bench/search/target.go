package search

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/bench/result"
)

// Target is one limit of an SLA as the share of requests that must keep it:
// max_p95_ttft_ms 500 is met exactly when 95 % of the requests have a TTFT of at
// most 500 ms, so that a sequential test of a share can decide on any percentile.
type Target struct {
	Name     string  `json:"name"`               // the key of the limit
	Quantity string  `json:"quantity,omitempty"` // ttft, tpot or e2e; "" = success
	MaxMs    float64 `json:"max_ms,omitempty"`
	Share    float64 `json:"share"` // 0 to 1
}

// Targets are the limits that are shares of requests, success first. Limits on
// means and maxima are none; they are judged when a load point has ended.
func Targets(sla result.SLA) []Target {
	var out []Target
	if s := sla.MinSuccessRate; s != nil && *s > 0 {
		out = append(out, Target{Name: "min_success_rate", Share: *s})
	}
	for _, l := range sla.Limits {
		digits, quantity, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(l.Key, "max_p"), "_ms"), "_")
		p, err := strconv.ParseFloat(digits, 64)
		if ok && err == nil && p > 0 && p < 100 && l.MaxMs > 0 && slices.Contains([]string{"ttft", "tpot", "e2e"}, quantity) {
			out = append(out, Target{Name: l.Key, Quantity: quantity, MaxMs: l.MaxMs, Share: p / 100})
		}
	}
	return out
}

// Requests of a load point with which the answer of a rate search comes within
// 5 % of the capacity for 19 seeds of 20, by the percentile that is limited
// (simulated engines, docs/search.md). Near saturation requests are good or bad by
// whole bursts, so that a tail takes more of them than independent ones would.
const (
	needsMedian = 1000
	needsTail   = 3000 // beyond the median
	needsFar    = 5000 // beyond the 95th percentile
	tailShare   = 0.5
	farShare    = 0.95
)

// Needs is how many requests a load point should have, and for the sake of which
// target; "" = of none. Success does not count: it is not a matter of bursts.
func Needs(targets []Target) (requests int, name string) {
	requests = needsMedian
	for _, t := range targets {
		n := needsMedian
		switch {
		case t.Quantity == "":
			continue
		case t.Share > farShare:
			n = needsFar
		case t.Share > tailShare:
			n = needsTail
		}
		if n > requests || name == "" {
			requests, name = n, t.Name
		}
	}
	return requests, name
}

// Ended is one request that has ended. A latency that the request does not have
// is NaN.
type Ended struct {
	OK                    bool
	TTFTMs, TPOTMs, E2EMs float64
}

// keeps says whether a request keeps a target; counts is false where the target
// does not speak of it: only requests that succeeded have latencies, as in the
// percentiles of a row.
func (t Target) keeps(e Ended) (good, counts bool) {
	v := map[string]float64{"ttft": e.TTFTMs, "tpot": e.TPOTMs, "e2e": e.E2EMs}[t.Quantity]
	switch {
	case t.Quantity == "":
		return e.OK, true
	case !e.OK || math.IsNaN(v):
		return false, false
	}
	return v <= t.MaxMs, true
}
