package signal

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/metrictext"
)

// Fact is one value that rules may ask for. One that is not known is absent: a
// condition that needs it is then neither true nor false.
type Fact struct{ Name, Meaning string }

// Facts are all of them.
func Facts() []Fact { return slices.Clone(factTable) }

var factTable = []Fact{
	{"answers", "whether anything at all came back"},
	{"unreachable", "nothing answered, and a connection was refused or the name is not known"},
	{"health", "outcome of the health check: ok, failed, timeout, refused, absent, auth, unasked"},
	{"health_status", "its HTTP status"},
	{"health_waited_s", "how long it was waited for"},
	{"health_generate", "outcome of the active health check, as above"},
	{"health_generate_status", "its HTTP status"},
	{"health_generate_waited_s", "how long it was waited for"},
	{"model_info", "outcome of the model's description, as above"},
	{"server_info", "outcome of the server's description, as above"},
	{"auth_refused", "how many of the reads of state were refused with 401 or 403"},
	{"metrics_missing", "the server answers but its page of metrics does not"},
	{"bad_bodies", "how many JSON endpoints answered 200 with another shape"},
	{"stale_files", "how many files are from an earlier capture into the same folder"},
	{"mode", "prefill or decode in a disaggregated deployment, else null or empty"},
	{"ranks", "data-parallel ranks seen"},
	{"running", "requests running, all ranks"},
	{"waiting", "requests that wait for the scheduler, all ranks"},
	{"pd_queued", "requests that wait for the other side of a disaggregated deployment"},
	{"busy_rounds", "sampled rounds with anything running or queued"},
	{"max_running", "requests that may run at once, all ranks"},
	{"kv_usage_max", "share of the KV cache in use on the fullest rank"},
	{"kv_usage_min", "the same on the emptiest rank"},
	{"kv_evictable_tokens", "tokens in the KV cache that nobody uses at the moment"},
	{"retracted_now", "requests that lost their place in the KV cache and wait again"},
	{"preemptions", "requests that lost their place, since the start"},
	{"finished", "requests that ended, since the start"},
	{"snapshot_age_s", "age of the oldest rank's load that has requests running"},
	{"stale_ranks", "ranks whose load is older than 10 s while requests run"},
	{"fresh_ranks", "ranks whose load is younger"},
	{"bootstrap_queue", "requests that wait for the other side to be named"},
	{"prealloc_queue", "requests that wait for room on the decode side"},
	{"transfer_queue", "requests whose KV waits to be moved: in-flight on prefill, transfer on decode"},
	{"pending_prealloc_usage", "share of the KV cache that those would take"},
	{"transfer_failures", "transfers of KV that failed, since the start"},
	{"transfer_stage_s", "average time of the transfer stage"},
	{"accept_length", "tokens a verification step, the one that needs no draft included"},
	{"accept_rate", "share of the drafted tokens that was accepted"},
	{"draft_tokens", "tokens that a step drafts at most"},
	{"lora_used", "adapter slots in use"},
	{"lora_total", "adapter slots"},
	{"lora_wanted", "different adapters that running and waiting requests need"},
	{"lora_waiting", "adapters that requests wait for"},
	{"ttft_avg_s", "average time to first token, since the start"},
	{"ttft_typical_s", "its median in the interval, else the average since the start"},
	{"queue_typical_s", "time in the queue, as above"},
	{"prefill_stage_s", "average of the prefill stage, slowest rank"},
	{"process_stage_s", "average of the stage before the queue, slowest rank"},
	{"graph_passes", "decode passes inside of a captured graph"},
	{"plain_passes", "decode passes outside"},
	{"active_http", "requests that the HTTP layer holds"},
	{"grammar_queue", "requests that wait for a grammar"},
	{"grammar_rounds", "sampled rounds in a row, up to the last, with such"},
	{"waiting_rises", "sampled rounds in a row, up to the last, with more waiting than before"},
	{"stalled_s", "how long, up to the last sample, no token came while requests ran"},
	{"interval_s", "time between the two scrapes; absent below 15 s"},
	{"restarted", "a counter fell, or the process began anew, between the two scrapes"},
	{"interval_requests", "requests that ended in the interval"},
	{"interval_preemptions", "requests that lost their place in it"},
	{"interval_ttft_p50_s", "median time to first token in the interval"},
	{"earlier_ttft_p50_s", "the same up to the earlier scrape"},
	{"interval_queue_p50_s", "median time in the queue in the interval"},
	{"interval_queue_p90_s", "its 90th percentile"},
	{"interval_prompt_p50", "median prompt length in the interval, in tokens"},
	{"interval_prompt_p99", "its 99th percentile"},
	{"interval_itl_p99_s", "99th percentile of the gap between tokens in the interval"},
	{"earlier_itl_p99_s", "the same up to the earlier scrape"},
	{"interval_decode_avg_s", "average decode time in the interval"},
	{"earlier_decode_avg_s", "the same up to the earlier scrape"},
	{"interval_front_s", "average time to first token less queue and prefill in the interval"},
	{"interval_hit_rate", "share of the prompt tokens found in the prefix cache in the interval"},
	{"earlier_hit_rate", "the same before it"},
	{"interval_looked_up", "prompt tokens looked up in the interval"},
	{"interval_aborted_share", "aborted requests in the interval to ended ones"},
	{"interval_bootstrap_failures", "failed bootstraps in the interval"},
	{"interval_grammar_timeouts", "grammars that took too long in the interval"},
	{"interval_tokenizer_cores", "processor cores that the tokenizer used in the interval"},
	{"interval_detokenizer_cores", "the same of the detokenizer"},
	{"bootstrap_rounds", "sampled rounds in a row, up to the last, with 10 or more in the bootstrap queue"},
	{"prealloc_rounds", "the same of the queue for room"},
	{"log_matches", "lines of the logs that match the rule's own patterns"},
}

// factNames are the names for the conditions.
func factNames() []string {
	names := make([]string, len(factTable))
	for i, f := range factTable {
		names[i] = f.Name
	}
	return names
}

type facts map[string]any

func (f facts) num(name string, v *float64) {
	if v != nil && !math.IsNaN(*v) && !math.IsInf(*v, 0) {
		f[name] = *v
	}
}

func (f facts) get(name string) (float64, bool) {
	v, ok := f[name].(float64)
	return v, ok
}

// minInterval: between closer scrapes rates are noise. Source: facts on incident
// triage, section d (2026-11).
const (
	minInterval = 15 * time.Second
	staleAfterS = 10
)

// instant are the facts of one moment.
func (x *target) instant(m moment) facts {
	f := facts{}
	x.loadFacts(f, m)
	x.pdFacts(f, m)
	x.snapshotFacts(f, m)
	if m.page != nil {
		x.pageFacts(f, *m.page, m.state)
	}
	return f
}

func sumRanks(ranks []engine.RankState, of func(engine.RankState) *float64) *float64 {
	total, known := 0.0, false
	for _, r := range ranks {
		if v := of(r); v != nil {
			total, known = total+*v, true
		}
	}
	if !known {
		return nil
	}
	return &total
}

func first(values ...*float64) *float64 {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

func sumOf(p *page, q engine.Quantity) *float64 {
	if p == nil {
		return nil
	}
	if g := gaugeOf(p.quantity(q)); g != nil {
		return &g.Sum
	}
	return nil
}

func (x *target) loadFacts(f facts, m moment) {
	ranks := m.state.Ranks
	f.num("running", first(sumRanks(ranks, func(r engine.RankState) *float64 { return r.Running }), m.state.Totals.Running, sumOf(m.page, engine.QuantityRunning)))
	f.num("waiting", first(sumRanks(ranks, engine.RankState.OwnWaiting), m.state.Totals.Waiting, sumOf(m.page, engine.QuantityWaiting)))
	f.num("max_running", first(sumRanks(ranks, func(r engine.RankState) *float64 { return r.MaxRunning }), m.state.Capacity.MaxRunningPerDP))
	usage := x.usageByRank(m)
	if len(usage) > 0 {
		f["ranks"] = float64(len(usage))
		f["kv_usage_max"], f["kv_usage_min"] = slices.Max(usage), slices.Min(usage)
	} else if len(ranks) > 0 {
		f["ranks"] = float64(len(ranks))
	}
	retracted := sumRanks(ranks, func(r engine.RankState) *float64 {
		if v, ok := r.Queues[engine.QueueRetracted]; ok {
			return &v
		}
		return nil
	})
	if m.page != nil {
		retracted = first(retracted, m.page.value(engine.SeriesRetractedNow))
	}
	f.num("retracted_now", retracted)
}

// usageByRank is the share of the KV cache in use, rank by rank, of the fullest
// pool of each.
func (x *target) usageByRank(m moment) []float64 {
	var usage []float64
	for _, r := range m.state.Ranks {
		if r.KVUsage != nil {
			usage = append(usage, *r.KVUsage)
		}
	}
	if len(usage) > 0 || m.page == nil {
		return usage
	}
	byRank := map[string]float64{}
	for _, s := range m.page.quantity(engine.QuantityKVUsage) {
		rank := ""
		if x.e.State != nil && x.e.State.RankLabel != "" {
			rank = s.Label(x.e.State.RankLabel)
		}
		byRank[rank] = max(byRank[rank], s.Value)
	}
	for _, v := range byRank {
		usage = append(usage, v)
	}
	slices.Sort(usage)
	return usage
}

func (x *target) pdFacts(f facts, m moment) {
	mode := m.state.Topology.Mode
	for _, r := range m.state.Ranks {
		mode = cmp.Or(r.Mode, mode)
	}
	queue := func(name string) *float64 {
		v := sumRanks(m.state.Ranks, func(r engine.RankState) *float64 {
			if v, ok := r.PDQueues[name]; ok {
				return &v
			}
			return nil
		})
		if v == nil && m.page != nil {
			v = m.page.value(name)
		}
		return v
	}
	bootstrap, inflight := queue(engine.QueuePrefillBootstrap), queue(engine.QueuePrefillInflight)
	prealloc, transfer, sentBack := queue(engine.QueueDecodePrealloc), queue(engine.QueueDecodeTransfer), queue(engine.QueueDecodeRetracted)
	queued := 0.0
	for _, q := range []*float64{bootstrap, inflight, prealloc, transfer, sentBack} {
		if q != nil {
			queued += *q
		}
	}
	f.num("bootstrap_queue", bootstrap)
	f.num("prealloc_queue", prealloc)
	switch mode {
	case "prefill":
		f.num("transfer_queue", inflight)
	case "decode":
		f.num("transfer_queue", transfer)
	}
	if m.page != nil {
		failures := m.page.value(engine.SeriesTransferFailures)
		// An engine whose page has no mode tells by its transfer counters.
		if deferred := m.page.value(engine.SeriesDeferred); mode == "" && failures != nil && deferred != nil {
			mode = "connector"
			f["transfer_queue"] = *deferred
		}
		f.num("transfer_failures", failures)
		f.num("pending_prealloc_usage", m.page.value(engine.SeriesPendingPrealloc))
		f.num("transfer_stage_s", m.page.slowest(engine.StageTransfer))
	}
	f["mode"], f["pd_queued"] = mode, queued
}

// snapshotFacts compares the ages of the ranks' loads with the answer that holds
// them: both are times of the server's clock.
func (x *target) snapshotFacts(f facts, m moment) {
	if m.state.At == nil {
		return
	}
	oldest, stale, fresh, known := 0.0, 0.0, 0.0, false
	for _, r := range m.state.Ranks {
		if r.At == nil {
			continue
		}
		age := *m.state.At - *r.At
		if r.Running == nil || *r.Running == 0 || age <= staleAfterS {
			fresh++
		} else {
			stale++
		}
		if r.Running != nil && *r.Running > 0 {
			oldest, known = max(oldest, age), true
		}
	}
	if known {
		f["snapshot_age_s"] = oldest
	}
	f["stale_ranks"], f["fresh_ranks"] = stale, fresh
}

func (x *target) pageFacts(f facts, p page, s engine.State) {
	f.num("preemptions", sumOf(&p, engine.QuantityPreemptions))
	f.num("finished", sumOf(&p, engine.QuantityRequests))
	f.num("kv_evictable_tokens", p.value(engine.SeriesEvictable))
	f.num("graph_passes", p.value(engine.SeriesGraphPasses))
	f.num("plain_passes", p.value(engine.SeriesPlainPasses))
	f.num("active_http", p.value(engine.SeriesConnections))
	f.num("grammar_queue", p.value(engine.SeriesGrammarQueue))
	if d := p.dist(engine.QuantityTTFT); d != nil {
		f.num("ttft_avg_s", d.Avg)
		f.num("ttft_typical_s", d.Avg)
	}
	if d := p.dist(engine.QuantityQueue); d != nil {
		f.num("queue_typical_s", d.Avg)
	}
	f.num("prefill_stage_s", p.slowest(engine.StagePrefill))
	f.num("process_stage_s", p.slowest(engine.StageProcess))
	x.specFacts(f, &p, s, nil)
}

// specFacts: a length of 0 says that nothing was verified yet, not that nothing
// was accepted.
func (x *target) specFacts(f facts, p *page, s engine.State, before *page) {
	f.num("draft_tokens", s.DraftTokens)
	var length, rate *float64
	for _, r := range s.Ranks { // the worst rank
		if r.AcceptLength != nil && *r.AcceptLength > 0 && (length == nil || *r.AcceptLength < *length) {
			length, rate = r.AcceptLength, r.AcceptRate
		}
	}
	if p != nil {
		count := func(q engine.Quantity) float64 {
			now := p.quantity(q)
			if before == nil {
				before = &page{metrictext.Parse(nil), x.e}
			}
			v, _ := metrictext.Increase(before.quantity(q), now)
			return v
		}
		drafts, drafted, accepted := count(engine.QuantityDrafts), count(engine.QuantityDraftTokens), count(engine.QuantityAcceptedTokens)
		if length == nil && drafts > 0 && drafted > 0 {
			length, rate = ptr(1+accepted/drafts), ptr(accepted/drafted)
			f["draft_tokens"] = drafted / drafts
		}
		if g := gaugeOf(p.quantity(engine.QuantityAcceptLength)); length == nil && g != nil && g.Max > 0 {
			length, rate = &g.Max, p.value(engine.SeriesAcceptRate)
		}
	}
	if length != nil {
		f.num("accept_length", length)
		f.num("accept_rate", rate)
	}
	lora := func(of func(engine.RankState) *float64, name string) *float64 {
		v := sumRanks(s.Ranks, of)
		if v == nil && p != nil {
			v = p.value(name)
		}
		return v
	}
	f.num("lora_used", lora(func(r engine.RankState) *float64 { return r.LoRAUsed }, engine.SeriesLoRAUsed))
	f.num("lora_total", lora(func(r engine.RankState) *float64 { return r.LoRATotal }, engine.SeriesLoRATotal))
	if p != nil {
		f.num("lora_wanted", p.value(engine.SeriesLoRAWanted))
		f.num("lora_waiting", p.value(engine.SeriesLoRAWaiting))
	}
}

// checkFacts are what the requests themselves say.
func (x *target) checkFacts(f facts) {
	h, g := x.health.Health, x.health.HealthGenerate
	f["answers"], f["health"], f["health_status"], f["health_waited_s"] = x.health.Answers, h.Outcome, float64(h.Status), h.WaitedS
	f["health_generate"], f["health_generate_status"], f["health_generate_waited_s"] = g.Outcome, float64(g.Status), g.WaitedS
	f["model_info"], f["server_info"] = x.check(engine.EndpointModelInfo).Outcome, x.check(engine.EndpointServerInfo).Outcome
	f["unreachable"] = x.unreachable() != ""
	f["auth_refused"], f["bad_bodies"] = float64(len(x.auth)), float64(len(x.bad))
	f["metrics_missing"], f["stale_files"] = x.noPage != "", float64(len(x.b.Manifest.Stale))
}

// unreachable tells why nothing answered; "" = something did, or it is not known.
func (x *target) unreachable() string {
	if x.health.Answers {
		return ""
	}
	for _, p := range x.t.Probes {
		if p.ErrorClass == bundle.ClassRefused || p.ErrorClass == bundle.ClassDNS {
			return fmt.Sprintf("no request reached the server: %s", orElse(p.Error, p.ErrorClass))
		}
	}
	return ""
}

// allFacts are those of the target as a whole; before is the same server earlier.
func (x *target) allFacts(before *moment) facts {
	now := x.now
	if x.stale {
		now.page = nil
	}
	f := x.instant(now)
	x.checkFacts(f)
	x.seriesFacts(f)
	switch {
	case before != nil && before.page != nil && now.page != nil:
		x.intervalFacts(f, *before, now, nil)
	case len(x.series) > 1:
		from, to := x.ends()
		if from >= 0 && to > from {
			x.intervalFacts(f, x.series[from], x.series[to], x.series[from:to+1])
		}
	}
	return f
}

// ends are the first and the last round with a page.
func (x *target) ends() (from, to int) {
	from, to = -1, -1
	for i, m := range x.series {
		if m.page != nil {
			if to = i; from < 0 {
				from = i
			}
		}
	}
	return from, to
}

// seriesFacts count rounds, up to the last one.
func (x *target) seriesFacts(f facts) {
	rounds := make([]facts, len(x.series))
	for i, m := range x.series {
		rounds[i] = x.instant(m)
	}
	run := func(holds func(f facts) bool) float64 {
		n := 0.0
		for _, r := range slices.Backward(rounds) {
			if !holds(r) {
				break
			}
			n++
		}
		return n
	}
	atLeast := func(name string, least float64) float64 {
		return run(func(r facts) bool { v, ok := r.get(name); return ok && v >= least })
	}
	busy, rises := 0.0, 0.0
	for i, r := range rounds {
		for _, name := range []string{"running", "waiting", "pd_queued"} {
			if v, _ := r.get(name); v > 0 {
				busy++
				break
			}
		}
		if i == 0 {
			continue
		}
		now, ok := r.get("waiting")
		if then, knew := rounds[i-1].get("waiting"); ok && knew && now > then {
			rises++
		} else {
			rises = 0
		}
	}
	f["busy_rounds"], f["waiting_rises"] = busy, rises
	f["grammar_rounds"], f["bootstrap_rounds"], f["prealloc_rounds"] = atLeast("grammar_queue", 1), atLeast("bootstrap_queue", 10), atLeast("prealloc_queue", 10)
	if v, ok := x.stalled(rounds); ok {
		f["stalled_s"] = v
	}
}

// stalled is how long, up to the last round, no token came while requests ran.
func (x *target) stalled(rounds []facts) (float64, bool) {
	last := len(x.series) - 1
	if last < 1 || x.series[last].page == nil {
		return 0, false
	}
	live, ok := x.series[last].page.counters(engine.SeriesLiveTokens)
	if !ok {
		return 0, false
	}
	since := last
	for i := last - 1; i >= 0 && x.series[i].page != nil; i-- {
		then, knew := x.series[i].page.counters(engine.SeriesLiveTokens)
		grown, began := metrictext.Increase(then, live)
		if running, _ := rounds[i].get("running"); !knew || began || grown > 0 || running == 0 {
			break
		}
		since = i
	}
	if running, _ := rounds[last].get("running"); running == 0 {
		return 0, true
	}
	return x.series[last].at.Sub(x.series[since].at).Seconds(), true
}

func (x *target) intervalFacts(f facts, a, b moment, rounds []moment) {
	span := b.at.Sub(a.at)
	d := b.page.since(*a.page, span.Seconds())
	f["restarted"] = d.Restarted || x.began(a, b)
	if span < minInterval || d.Restarted {
		return
	}
	f["interval_s"] = span.Seconds()
	f.num("interval_requests", d.Requests)
	f.num("interval_preemptions", d.Preempted)
	typical := func(d *Dist, name string) {
		if d != nil && d.Count > 0 {
			f.num(name, d.P50)
		}
	}
	typical(d.TTFT, "ttft_typical_s")
	typical(d.QueueTime, "queue_typical_s")
	typical(d.TTFT, "interval_ttft_p50_s")
	typical(d.QueueTime, "interval_queue_p50_s")
	if d.QueueTime != nil {
		f.num("interval_queue_p90_s", d.QueueTime.P90)
	}
	if d.ITL != nil {
		f.num("interval_itl_p99_s", d.ITL.P99)
	}
	typical(a.page.dist(engine.QuantityTTFT), "earlier_ttft_p50_s")
	if old := a.page.dist(engine.QuantityITL); old != nil {
		f.num("earlier_itl_p99_s", old.P99)
	}
	x.phaseFacts(f, a, b)
	x.counterFacts(f, a, b, rounds, span.Seconds())
	x.specFacts(f, b.page, b.state, a.page)
}

// began says that the server's process is another one than before.
func (x *target) began(a, b moment) bool {
	then, now := a.page.value(engine.SeriesStarted), b.page.value(engine.SeriesStarted)
	if then != nil && now != nil && *now > *then+1 {
		return true
	}
	return a.state.UptimeS != nil && b.state.UptimeS != nil && *b.state.UptimeS < *a.state.UptimeS
}

// phaseFacts come from histograms of parts of a request.
func (x *target) phaseFacts(f facts, a, b moment) {
	between := func(q engine.Quantity) (metrictext.Histogram, bool) {
		now, _ := b.page.distribution(q)
		old, _ := a.page.distribution(q)
		d, _ := metrictext.Since(old, now)
		h, ok := metrictext.Sum(d)
		return h, ok && h.Count > 0
	}
	ttft, knowTTFT := between(engine.QuantityTTFT)
	queue, knowQueue := between(engine.QuantityQueue)
	prefill, knowPrefill := between(engine.QuantityPrefill)
	if knowTTFT && knowQueue && knowPrefill {
		f["interval_front_s"] = ttft.Mean() - queue.Mean() - prefill.Mean()
	}
	if h, ok := between(engine.QuantityDecode); ok {
		f.num("interval_decode_avg_s", finite(h.Mean()))
	}
	if d := a.page.dist(engine.QuantityDecode); d != nil {
		f.num("earlier_decode_avg_s", d.Avg)
	}
	if row, ok := b.page.rows(engine.SeriesPromptTokens); ok {
		var now, old []metrictext.Histogram
		for _, family := range row.From {
			now, old = append(now, b.page.histograms(family, row.Labels)...), append(old, a.page.histograms(family, row.Labels)...)
		}
		d, _ := metrictext.Since(old, now)
		if h, ok := metrictext.Sum(d); ok && h.Count > 0 {
			f.num("interval_prompt_p50", finite(h.Quantile(0.5)))
			f.num("interval_prompt_p99", finite(h.Quantile(0.99)))
		}
	}
}

func (x *target) counterFacts(f facts, a, b moment, rounds []moment, seconds float64) {
	grown := func(a, b moment, name string) (float64, bool) {
		now, ok := b.page.counters(name)
		old, _ := a.page.counters(name)
		v, _ := metrictext.Increase(old, now)
		return v, ok
	}
	if v, ok := grown(a, b, engine.SeriesAborted); ok {
		if ended, _ := f.get("interval_requests"); ended > 0 {
			f["interval_aborted_share"] = v / ended
		}
	}
	if v, ok := grown(a, b, engine.SeriesBootstrapFailures); ok {
		f["interval_bootstrap_failures"] = v
	}
	if v, ok := grown(a, b, engine.SeriesGrammarTimeouts); ok {
		f["interval_grammar_timeouts"] = v
	}
	if v, ok := grown(a, b, engine.SeriesTokenizerCPU); ok {
		f["interval_tokenizer_cores"] = v / seconds
	}
	if v, ok := grown(a, b, engine.SeriesDetokenizerCPU); ok {
		f["interval_detokenizer_cores"] = v / seconds
	}
	share := func(a, b moment) (rate, looked float64, ok bool) {
		hits, k1 := grown(a, b, engine.SeriesHitTokens)
		looked, k2 := grown(a, b, engine.SeriesLookedTokens)
		return hits / looked, looked, k1 && k2 && looked > 0
	}
	// A rate is held against that of the interval before, so it takes three rounds;
	// the rate since the start is that of other times and other users.
	from := a
	if n := len(rounds); n >= 3 && rounds[n/2].page != nil {
		const enough = 10_000 // tokens
		if rate, looked, known := share(a, rounds[n/2]); known && looked >= enough {
			f["earlier_hit_rate"], from = rate, rounds[n/2]
		}
	}
	if rate, looked, ok := share(from, b); ok {
		f["interval_hit_rate"], f["interval_looked_up"] = rate, looked
	}
}
