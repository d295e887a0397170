// Package metric derives client metrics from the records of a trial:
//
//	[]sample.Record + duration + Limits  →  Summary
//
// It is a pure function of its input, so that a new definition can be applied
// to an old file. Latencies are over successful requests that are not warm-up;
// the share that failed stands beside them. The definitions:
//
//	TTFT = first_text − send           E2E = last_choices − send
//	TPOT = (E2E − TTFT)/(tokens − 1)   for more than one token
//	event gap = time between successive events with text
//	ITL = event gap shared out over the tokens of the later event, where the
//	      server counts tokens on each event
//	TTFT of reasoning, of visible text, of tool calls = the first event of that
//	      kind − send; TTFT itself ends with the first of any kind
//	tokens per event = tokens that an event after the first added, where the
//	      server counts tokens on each event
//	NTPOT = E2E / tokens
//	goodput = successful requests within every limit, a second; a one-token
//	      answer keeps a TPOT limit, as in vllm/benchmarks/serve.py @ 009e6d4a
//	attainment = good / planned: failed and dropped ones are bad
//
// Beside the figures stand their intervals, which count dependent requests for
// what they are worth, and whether there was a steady state to measure.
package metric

import (
	"cmp"
	"math"
	"slices"

	"llmdyno/internal/load/sample"
)

const (
	msPerNs = 1e-6
	second  = 1_000_000_000
)

// Compute derives the figures of a trial. durationNs is the time from its start
// (before the first arrival gap) to its last result; rates are absent when it
// is not positive. The records are not changed and may be in any order.
func Compute(records []sample.Record, durationNs int64, lim Limits) Summary {
	return collect(records, lim).summary(durationNs)
}

// tally is the one pass over the records.
type tally struct {
	counts                 Counts
	errors, finish, source map[string]int
	in, out, cached        int64
	noIn, noOut            int // successes without a count
	cachedTold             int
	lim                    Limits
	good                   int
	stale                  int
	events, shared         int
	wantIn                 int64 // of successes with both counts
	sameIn                 int64
	wantOut, shortOut      int   // answers that had to have their full length
	wrongOut               int   // answers whose count cannot be right
	planOut, sameOut       int64 // tokens of answers that had to have their full length: asked for, counted
	lastOut, usageOut      int64 // tokens of answers that events and usage counted: by the last event, by usage
	againOut, eventsOut    int64 // tokens of answers that were counted afterwards: by the tokenizer, by their events
	again                  map[sample.TokenSource]int
	laterTokens            int64 // output tokens after the first event, of answers in which these are known
	laterEvents            int64 // events after the first of the same answers
	toldIn                 int64 // prompt tokens of requests whose cached tokens were told

	ttft, e2e, tpot, itl, gap, ntpot, fromSched, lag, conn []float64
	visible, reasoning, tool, perEvent                     []float64
	vTTFT, vTPOT, vITL, sTPOT, sE2E                        []float64
	sumE2ENs, sumSGNs                                      float64
	vGood                                                  int
	firstSend, lastSend                                    int64
	ok                                                     []*sample.Record
	isGood, isOK                                           []bool // of all planned requests, of all sent ones; in the order of arrivals
	goodEnds                                               []int64
	starts, ends                                           []int64 // of the requests in flight
}

func collect(records []sample.Record, lim Limits) *tally {
	t := &tally{lim: lim, errors: map[string]int{}, finish: map[string]int{}, source: map[string]int{}, again: map[sample.TokenSource]int{}, firstSend: math.MaxInt64}
	for _, r := range inOrder(records) {
		good, before := t.good, t.counts
		t.add(r)
		t.isGood = append(t.isGood, t.good > good)
		if t.counts.Sent > before.Sent {
			t.isOK = append(t.isOK, t.counts.Succeeded > before.Succeeded)
		}
	}
	return t
}

// inOrder are the records without warm-up in the order of their arrivals: what
// follows from the order of values must not follow from that of the file.
func inOrder(records []sample.Record) []*sample.Record {
	order := make([]*sample.Record, 0, len(records))
	for i := range records {
		if !records[i].Warmup {
			order = append(order, &records[i])
		}
	}
	arrival := func(a, b *sample.Record) int {
		return cmp.Or(cmp.Compare(a.Sched, b.Sched), cmp.Compare(a.Index, b.Index))
	}
	if !slices.IsSortedFunc(order, arrival) {
		slices.SortFunc(order, arrival)
	}
	return order
}

func (t *tally) add(r *sample.Record) {
	t.counts.Planned++
	if !r.OK() {
		t.errors[string(r.Class)]++
	}
	if r.Class == sample.ClassDropped || r.Send == sample.Never {
		t.counts.Dropped++
		return
	}
	t.counts.Sent++
	t.firstSend, t.lastSend = min(t.firstSend, r.Send), max(t.lastSend, r.Send)
	t.lag = append(t.lag, ms(r.Send-r.Sched))
	if r.StaleRetry {
		t.stale++
	}
	if end := lastInstant(r); end > r.Send {
		t.starts, t.ends = append(t.starts, r.Send), append(t.ends, end)
	}
	if !r.OK() {
		t.counts.Failed++
		return
	}
	t.counts.Succeeded++
	t.ok = append(t.ok, r)
	t.tokens(r)
	t.latencies(r)
	t.gaps(r)
}

// lastInstant is the end of a request for the concurrency sweep: the last event
// with choices, or, where none came, the end of the stream.
func lastInstant(r *sample.Record) int64 {
	if r.LastChoices != sample.Never {
		return r.LastChoices
	}
	return r.Done
}

func (t *tally) tokens(r *sample.Record) {
	if r.Finish != "" {
		t.finish[r.Finish]++
	}
	t.source[cmp.Or(string(r.TokensBy), "none")]++
	if r.InputTokens > 0 {
		t.in += int64(r.InputTokens)
		if r.WantInput > 0 {
			t.wantIn += int64(r.WantInput)
			t.sameIn += int64(r.InputTokens)
		}
	} else {
		t.noIn++
	}
	if r.OutputTokens > 0 {
		t.out += int64(r.OutputTokens)
	} else {
		t.noOut++
	}
	if r.CachedTokens >= 0 {
		t.cached += int64(r.CachedTokens)
		t.cachedTold++
		t.toldIn += int64(r.InputTokens)
	}
	if r.TokensBy == sample.TokensUsage && impossible(r) {
		t.wrongOut++
	}
	t.witnesses(r)
	if r.IgnoreEOS && r.WantOutput > 0 {
		t.wantOut++
		if short(r) {
			t.shortOut++
		}
	}
}

// witnesses adds an answer to the sums of those who counted it.
func (t *tally) witnesses(r *sample.Record) {
	told := r.TokensBy == sample.TokensUsage
	if told && r.IgnoreEOS && r.WantOutput > 0 && r.OutputTokens > 0 {
		t.planOut += int64(r.WantOutput)
		t.sameOut += int64(r.OutputTokens)
	}
	n := textEvents(r)
	if told && n > 0 && perEventCounts(r) {
		t.lastOut += int64(lastCount(r))
		t.usageOut += int64(r.OutputTokens)
	}
	if by := r.TokensBy; by == sample.TokensServer || by == sample.TokensTokenizer {
		t.again[by]++
		t.againOut += int64(r.OutputTokens)
		t.eventsOut += int64(n)
	}
}

// textEvents is the number of events with text.
func textEvents(r *sample.Record) (n int) {
	for i := range r.Events {
		if r.Events[i].Text > 0 {
			n++
		}
	}
	return n
}

// lastCount is the number of tokens that the last event with text tells.
func lastCount(r *sample.Record) (n int32) {
	for i := range r.Events {
		if r.Events[i].Text > 0 {
			n = r.Events[i].Tokens
		}
	}
	return n
}

// impossible says that a server counted more tokens than it was allowed to make,
// or too few for the events that it sent: fewer than half, because an event may
// bring a part of a character.
func impossible(r *sample.Record) bool {
	return r.WantOutput > 0 && r.OutputTokens > r.WantOutput || 2*r.OutputTokens < len(r.Events)
}

// short says that an answer ended before its full length, by its finish reason
// or by the server's count.
func short(r *sample.Record) bool {
	counted := r.OutputTokens > 0 && r.TokensBy == sample.TokensUsage // a tokenizer may cut a text otherwise than the model made it
	return r.Finish != "" && r.Finish != "length" || counted && r.OutputTokens < r.WantOutput
}

func (t *tally) latencies(r *sample.Record) {
	if r.Conn != sample.Never && !r.ConnReused && r.Conn >= r.Begin {
		t.conn = append(t.conn, ms(r.Conn-r.Begin))
	}
	end := lastInstant(r)
	if end == sample.Never {
		return
	}
	e2e := end - r.Send
	t.e2e = append(t.e2e, ms(e2e))
	t.sumE2ENs += float64(e2e)
	t.fromSched = append(t.fromSched, ms(end-r.Sched))
	if r.OutputTokens > 0 {
		t.ntpot = append(t.ntpot, ms(e2e)/float64(r.OutputTokens))
	}
	t.firsts(r)
	ttft, tpot := math.NaN(), 0.0
	if r.FirstText != sample.Never {
		ttft = ms(r.FirstText - r.Send)
		t.ttft = append(t.ttft, ttft)
		if r.OutputTokens > 1 {
			tpot = (ms(e2e) - ttft) / float64(r.OutputTokens-1)
			t.tpot = append(t.tpot, tpot)
		}
	}
	if t.within(ttft, tpot, ms(e2e)) {
		t.good++
		t.goodEnds = append(t.goodEnds, end)
	}
	t.compat(r, e2e)
}

// firsts are the times to the first event of each kind of content.
func (t *tally) firsts(r *sample.Record) {
	for _, x := range []struct {
		at   int64
		into *[]float64
	}{{r.FirstVisible, &t.visible}, {r.FirstReasoning, &t.reasoning}, {r.FirstTool, &t.tool}} {
		if x.at > r.Send {
			*x.into = append(*x.into, ms(x.at-r.Send))
		}
	}
}

func (t *tally) compat(r *sample.Record, e2e int64) {
	n := float64(r.OutputTokens - 1)
	if r.FirstChoices != sample.Never {
		ttft, tpot := ms(r.FirstChoices-r.Send), 0.0
		t.vTTFT = append(t.vTTFT, ttft)
		if n > 0 {
			tpot = (ms(e2e) - ttft) / n
			t.vTPOT = append(t.vTPOT, tpot)
		}
		if t.within(ttft, tpot, ms(e2e)) {
			t.vGood++
		}
	}
	if r.Done != sample.Never {
		t.sE2E = append(t.sE2E, ms(r.Done-r.Send))
		t.sumSGNs += float64(r.Done - r.Send)
		if n > 0 && r.FirstText != sample.Never {
			t.sTPOT = append(t.sTPOT, ms(r.Done-r.FirstText)/n)
		}
	}
}

// within says whether a request keeps every limit. A TTFT that was not measured
// (NaN) does not keep a TTFT limit.
func (t *tally) within(ttft, tpot, e2e float64) bool {
	return (t.lim.TTFTMs <= 0 || ttft <= t.lim.TTFTMs) &&
		(t.lim.TPOTMs <= 0 || tpot <= t.lim.TPOTMs && !math.IsNaN(ttft)) &&
		(t.lim.E2EMs <= 0 || e2e <= t.lim.E2EMs)
}

// gaps pools the times between events with text. A gap is shared out over the
// tokens that the event added, when it says so; an event that added none leaves
// its time to the next one.
func (t *tally) gaps(r *sample.Record) {
	last, counted := sample.Never, perEventCounts(r)
	lastToken, tokens := sample.Never, int32(0)
	for _, e := range r.Events {
		t.events++
		if e.Shared {
			t.shared++
		}
		if e.Text <= 0 {
			continue
		}
		if last != sample.Never {
			t.gap = append(t.gap, ms(e.At-last))
		}
		last = e.At
		if n := e.Tokens - tokens; counted && n > 0 {
			if lastToken != sample.Never {
				each := ms(e.At-lastToken) / float64(n)
				for range n {
					t.itl = append(t.itl, each)
				}
			}
			lastToken, tokens = e.At, e.Tokens
		}
	}
	t.eventTokens(r, counted)
	t.choicesGaps(r)
}

// eventTokens pools the tokens that events after the first added, the first one
// being the end of prefill. Without counts on the events only their mean is
// known, from the tokens of the answer, of which the first event has one.
func (t *tally) eventTokens(r *sample.Record, counted bool) {
	n := textEvents(r)
	switch {
	case n < 2 || r.TokensBy == sample.TokensEvents || r.OutputTokens < 1:
		return
	case !counted:
		t.laterTokens += int64(r.OutputTokens - 1)
		t.laterEvents += int64(n - 1)
		return
	}
	before, first := int32(0), true
	for _, e := range r.Events {
		if e.Text <= 0 {
			continue
		}
		if !first {
			t.perEvent = append(t.perEvent, float64(e.Tokens-before))
			t.laterTokens += int64(e.Tokens - before)
			t.laterEvents++
		}
		before, first = e.Tokens, false
	}
}

// choicesGaps pools the times between events with choices: those with text, and
// an empty one before and after them.
func (t *tally) choicesGaps(r *sample.Record) {
	last, texts := r.FirstChoices, 0
	for _, e := range r.Events {
		if e.Text <= 0 {
			continue
		}
		if texts++; last != sample.Never && (texts > 1 || e.At > last) {
			t.vITL = append(t.vITL, ms(e.At-last))
		}
		last = e.At
	}
	if last != sample.Never && r.LastChoices > last {
		t.vITL = append(t.vITL, ms(r.LastChoices-last))
	}
}

// maxEventTokens is the most tokens that one event can be believed to add.
const maxEventTokens = 1 << 16

// perEventCounts says whether every event with text tells the tokens so far,
// never fewer than the one before and not absurdly more.
func perEventCounts(r *sample.Record) bool {
	before := int32(0)
	for _, e := range r.Events {
		if e.Text <= 0 {
			continue
		}
		if e.Tokens <= 0 || e.Tokens < before || e.Tokens-before > maxEventTokens {
			return false
		}
		before = e.Tokens
	}
	return true
}

func ms(ns int64) float64 { return float64(ns) * msPerNs }

// peaks are the largest numbers of output tokens and of events with text in a
// 1 s bucket that starts at a multiple of 1 s after the first send. Tokens of a
// stream without counts on its events are spread evenly over its events.
func (t *tally) peaks() (tokens, events float64) {
	type bucket struct{ tokens, events float64 }
	buckets := map[int64]bucket{}
	for _, r := range t.ok {
		weight, counted := eventWeight(r)
		before := int32(0)
		for _, e := range r.Events {
			if e.Text <= 0 {
				continue
			}
			n := weight
			if counted {
				n, before = float64(e.Tokens-before), e.Tokens
			}
			k := (e.At - t.firstSend) / second
			b := buckets[k]
			b.tokens += n
			b.events++
			buckets[k] = b
		}
	}
	for _, b := range buckets {
		tokens, events = max(tokens, b.tokens), max(events, b.events)
	}
	return tokens, events
}

// eventWeight is the number of tokens that each event with text stands for,
// or counted when the events say it themselves.
func eventWeight(r *sample.Record) (weight float64, counted bool) {
	n := 0
	for _, e := range r.Events {
		if e.Text > 0 {
			n++
		}
	}
	if n == 0 || perEventCounts(r) {
		return 0, n > 0
	}
	return float64(r.OutputTokens) / float64(n), false
}
