package engine

import (
	"slices"
	"strings"
)

// Quantity is a neutral name of something that a server metric tells.
type Quantity string

// The gauges of a server's state. Ratios are 0..1.
const (
	QuantityRunning Quantity = "running_requests"
	QuantityWaiting Quantity = "waiting_requests"
	QuantityKVUsage Quantity = "kv_usage_ratio"
	// QuantityAcceptLength is tokens a verification step of speculative decoding,
	// the one that needs no draft included.
	QuantityAcceptLength Quantity = "accept_length"
)

// The counters of a server; each counts from its start.
const (
	QuantityPromptTokens     Quantity = "prompt_tokens_total"          // of prompts, cached ones included
	QuantityComputedTokens   Quantity = "computed_prompt_tokens_total" // of prompts, cached ones left out
	QuantityCachedTokens     Quantity = "cached_tokens_total"          // of prompts, found in the prefix cache
	QuantityPrefixQueries    Quantity = "prefix_query_tokens_total"    // looked up in the prefix cache, again after a preemption
	QuantityPrefixHits       Quantity = "prefix_hit_tokens_total"      // of these, found
	QuantityGenerationTokens Quantity = "generation_tokens_total"
	QuantityRequests         Quantity = "requests_total"
	// QuantityPreemptions counts requests that lost their place in the KV cache
	// and had to be computed again: preempted, retracted or paused.
	QuantityPreemptions    Quantity = "preemptions_total"
	QuantityDrafts         Quantity = "spec_drafts_total"          // verification steps
	QuantityDraftTokens    Quantity = "spec_draft_tokens_total"    // proposed
	QuantityAcceptedTokens Quantity = "spec_accepted_tokens_total" // of these, accepted
)

// The histograms of a server, in seconds. All but ITL have one observation a
// request.
const (
	QuantityTTFT    Quantity = "ttft_seconds"    // arrival at the server to first token
	QuantityE2E     Quantity = "e2e_seconds"     // arrival at the server to last token
	QuantityQueue   Quantity = "queue_seconds"   // waiting to be scheduled
	QuantityPrefill Quantity = "prefill_seconds" // scheduled to first token
	QuantityDecode  Quantity = "decode_seconds"  // first to last token
	QuantityTPOT    Quantity = "tpot_seconds"
	QuantityITL     Quantity = "itl_seconds" // a token
)

// Quantities are all quantities, gauges first, then counters and histograms.
func Quantities() []Quantity {
	return []Quantity{
		QuantityRunning, QuantityWaiting, QuantityKVUsage, QuantityAcceptLength,
		QuantityPromptTokens, QuantityComputedTokens, QuantityCachedTokens, QuantityPrefixQueries, QuantityPrefixHits,
		QuantityGenerationTokens, QuantityRequests, QuantityPreemptions, QuantityDrafts, QuantityDraftTokens, QuantityAcceptedTokens,
		QuantityTTFT, QuantityE2E, QuantityQueue, QuantityPrefill, QuantityDecode, QuantityTPOT, QuantityITL,
	}
}

// Counter says that the quantity counts from the server's start.
func (q Quantity) Counter() bool { return strings.HasSuffix(string(q), "_total") }

// Histogram says that the quantity is a distribution.
func (q Quantity) Histogram() bool { return strings.HasSuffix(string(q), "_seconds") }

// Metric maps one Prometheus series of an engine to a neutral quantity. Where a
// quantity has several rows, for names that changed, the first of them whose
// series a server exposes counts, and the others do not.
type Metric struct {
	Quantity Quantity
	Name     string            // family name as exposed, "_total" included; of a histogram without "_bucket"
	Labels   map[string]string // labels a series must carry; nil = any
	// Sum: add the series up; otherwise take the largest. Histograms are always
	// added up.
	Sum   bool
	Since string
	Until string
	// When says what a server needs to expose the series beside its page of
	// metrics; "" = nothing.
	When   string
	Source Source
}

// Histogram is a histogram as a server exposes it.
type Histogram struct {
	Count   float64  // observations
	Sum     float64  // of all observations
	Buckets []Bucket // by rising bound; the last bound is +Inf
}

// Bucket counts the observations of at most LE.
type Bucket struct {
	LE    float64
	Count float64 // cumulative
}

// Add is the histogram of the observations of both. Where their bounds differ,
// only those that both have are kept: between others nobody knows the count.
func (h Histogram) Add(o Histogram) Histogram { return h.with(o, 1) }

// Sub is the histogram of the observations that came after before was read. The
// bounds are treated as in [Histogram.Add].
func (h Histogram) Sub(before Histogram) Histogram { return h.with(before, -1) }

func (h Histogram) with(o Histogram, sign float64) Histogram {
	out := Histogram{Count: h.Count + sign*o.Count, Sum: h.Sum + sign*o.Sum}
	for _, b := range h.Buckets {
		i, found := slices.BinarySearchFunc(o.Buckets, b.LE, func(x Bucket, le float64) int {
			switch {
			case x.LE < le:
				return -1
			case x.LE > le:
				return 1
			}
			return 0
		})
		if found {
			out.Buckets = append(out.Buckets, Bucket{b.LE, b.Count + sign*o.Buckets[i].Count})
		}
	}
	return out
}
