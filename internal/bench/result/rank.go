package result

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// figure takes a measured number; NaN and infinities count as missing.
func figure(p *float64) (float64, bool) {
	if p == nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
		return 0, false
	}
	return *p, true
}

// Typical is the p50 of a latency, or the mean where there is no p50. mean says
// that the mean stands in; ok that there is either.
func (l Latency) Typical() (value float64, mean, ok bool) {
	if x, ok := figure(l.P50); ok {
		return x, false, true
	}
	x, ok := figure(l.Mean)
	return x, ok, ok
}

// The ranking rule is upstream's (compare_benchmark_results.py @afb306eb), step
// by step, with two mends: missing never beats measured, and a mean never beats
// a p50.
func strict(a, b *Entry) int {
	return cmp.Or(
		compareBool(a.Outcome != OutcomeSuperseded, b.Outcome != OutcomeSuperseded),
		compareBool(a.Row.Status == StatusOK, b.Row.Status == StatusOK),
		compareBool(isTrue(a.Row.SLA.Passed), isTrue(b.Row.SLA.Passed)),
		compareFigures(a.Row, b.Row),
		compareIdentity(a.Row, b.Row),
	)
}

func compareFigures(a, b Row) int {
	return cmp.Or(
		-compareMore(a.Metrics.RequestThroughput, b.Metrics.RequestThroughput),
		-compareMore(a.Metrics.OutputTokenThroughput, b.Metrics.OutputTokenThroughput),
		compareLatency(a.Metrics.TTFT, b.Metrics.TTFT),
		compareLatency(a.Metrics.TPOT, b.Metrics.TPOT),
		compareGPUs(a.Hardware.GPUCount, b.Hardware.GPUCount),
	)
}

// compareIdentity makes the order independent of the order of the input. The
// engine comes last, so that renaming engines changes nothing.
func compareIdentity(a, b Row) int {
	return cmp.Or(
		strings.Compare(a.CandidateID, b.CandidateID), strings.Compare(a.ServerCommand, b.ServerCommand),
		strings.Compare(a.Model, b.Model), keyOf(a).compare(keyOf(b)),
		strings.Compare(a.RunID, b.RunID), strings.Compare(a.MeasuredAt, b.MeasuredAt),
		strings.Compare(a.Framework, b.Framework), strings.Compare(a.FailureReason, b.FailureReason),
	)
}

func isTrue(p *bool) bool { return p != nil && *p }

// compareBool puts true first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// compareMore is positive when a is more; missing is less than everything.
func compareMore(a, b *float64) int {
	x, okA := figure(a)
	y, okB := figure(b)
	if okA != okB {
		return -compareBool(okA, okB)
	}
	return cmp.Compare(x, y)
}

// compareLatency is negative when a is better: p50 before mean before missing,
// then the smaller.
func compareLatency(a, b Latency) int {
	x, meanA, okA := a.Typical()
	y, meanB, okB := b.Typical()
	return cmp.Or(compareBool(okA, okB), compareBool(!meanA, !meanB), cmp.Compare(x, y))
}

// compareGPUs is negative when a needs fewer. Rows without a count, and rows
// measured without GPUs, come after the others.
func compareGPUs(a, b *int) int {
	known := func(p *int) bool { return p != nil && *p > 0 }
	if !known(a) || !known(b) {
		return compareBool(known(a), known(b))
	}
	return cmp.Compare(*a, *b)
}

// rule is the ranking rule in words.
func (b *comparer) rule() string {
	return fmt.Sprintf("status ok, then SLA met, then more requests/s, more output tokens/s, lower TTFT, lower TPOT (p50; a mean only where there is no p50, and after it), fewer GPUs. "+
		"A row is worse than the best only if the difference exceeds both its 95 %% interval and %s, else they tie. The interval is that of the repeats where both were repeated, of the baseline's repeats where one was not, else of the trials themselves, and then the difference must exceed %s, too: the noise between single runs that is assumed where none was measured. "+
		"Of tied rows, one that is clearly better in tokens/s, latency or GPUs and clearly worse in none is named first. A missing figure never beats a measured one.", Percent(b.threshold), Percent(b.band))
}

// rank fills the places of one class.
func (b *comparer) rank(class int) {
	k := &b.classes[class]
	var passing []int
	for _, i := range b.members[class] {
		if b.entries[i].Outcome == OutcomePassed {
			passing = append(passing, i)
		}
	}
	if len(passing) == 0 {
		return
	}
	k.Tied = b.top(passing)
	winner := k.Tied[0]
	b.entries[winner].Outcome = OutcomeWinner
	for at, i := range passing {
		e := &b.entries[i]
		e.Rank, e.Tied = at+1, len(k.Tied) > 1 && slices.Contains(k.Tied, i)
		if e.Tied || i == winner {
			e.Rank = 1
		}
		e.Delta = relative(e.Row, b.entries[winner].Row)
		if i != winner && e.Delta != nil {
			d := b.difference(byThroughput, &b.entries[winner], e)
			if !d.Real && !e.Tied {
				// What puts it behind is then its tokens.
				if t := b.difference(byTokens, &b.entries[winner], e); t.Real {
					d = t
				}
			}
			e.Versus = &d
		}
	}
	b.rankFrameworks(k, passing, winner)
}

// top are the rows that tie with the first of passing, which is in strict
// order. The one to name first is first; the others keep their order.
func (b *comparer) top(passing []int) []int {
	leader := passing[0]
	var tied []int
	for _, i := range passing {
		if i == leader || b.ties(&b.entries[leader], &b.entries[i]) {
			tied = append(tied, i)
		}
	}
	best := leader
	for _, i := range tied {
		if !b.clearlyBetter(&b.entries[i], &b.entries[leader]) {
			continue
		}
		if best == leader || compareTied(b.entries[i].Row, b.entries[best].Row) < 0 {
			best = i
		}
	}
	at := slices.Index(tied, best)
	return slices.Insert(slices.Delete(tied, at, at+1), 0, best)
}

// compareTied orders rows whose throughput is the same within the noise.
func compareTied(a, b Row) int {
	return cmp.Or(compareLatency(a.Metrics.TTFT, b.Metrics.TTFT), compareLatency(a.Metrics.TPOT, b.Metrics.TPOT),
		compareGPUs(a.Hardware.GPUCount, b.Hardware.GPUCount), compareFigures(a, b), compareIdentity(a, b))
}

// ties says whether noise could have made the difference between the leader and
// another row.
func (b *comparer) ties(leader, other *Entry) bool {
	_, okX := figure(leader.Row.Metrics.RequestThroughput)
	_, okY := figure(other.Row.Metrics.RequestThroughput)
	if !okX || !okY {
		return okX == okY && compareFigures(leader.Row, other.Row) == 0
	}
	if b.against(byThroughput, leader, other) < 0 {
		return false
	}
	return b.against(byTokens, leader, other) >= 0
}

// clearlyBetter says whether a beats the leader beyond the noise in something
// and is beaten in nothing.
func (b *comparer) clearlyBetter(a, leader *Entry) bool {
	verdicts := []int{
		b.against(byTokens, leader, a),
		b.latencyAgainst("ttft", ttft, leader, a),
		b.latencyAgainst("tpot", tpot, leader, a),
		-compareGPUs(a.Row.Hardware.GPUCount, leader.Row.Hardware.GPUCount),
	}
	return slices.Max(verdicts) > 0 && slices.Min(verdicts) >= 0
}

func ttft(m Metrics) Latency { return m.TTFT }
func tpot(m Metrics) Latency { return m.TPOT }

// latencyAgainst compares like with like: a p50 and a mean say nothing about
// each other.
func (b *comparer) latencyAgainst(name string, of func(Metrics) Latency, leader, other *Entry) int {
	_, meanX, okX := of(leader.Row.Metrics).Typical()
	_, meanY, okY := of(other.Row.Metrics).Typical()
	switch {
	case okX && okY && meanX != meanY:
		return 0
	case okX != okY:
		return -compareBool(okY, okX)
	}
	return b.against(byLatency(name, meanX, of), leader, other)
}

func relative(r, winner Row) *float64 {
	x, okX := figure(r.Metrics.RequestThroughput)
	w, okW := figure(winner.Metrics.RequestThroughput)
	if !okX || !okW || w <= 0 {
		return nil
	}
	return ptr(x/w - 1)
}

// rankFrameworks lists the passing rows of each engine, best first. The winner
// of the class is the best of its engine; the engines come in the order of their
// best.
func (b *comparer) rankFrameworks(k *Class, passing []int, winner int) {
	for _, i := range passing {
		name := b.entries[i].Row.Framework
		if at := slices.IndexFunc(k.Frameworks, func(f FrameworkRanking) bool { return f.Framework == name }); at >= 0 {
			k.Frameworks[at].Ranked = append(k.Frameworks[at].Ranked, i)
		} else {
			k.Frameworks = append(k.Frameworks, FrameworkRanking{name, []int{i}})
		}
	}
	for at := range k.Frameworks {
		ranked := k.Frameworks[at].Ranked
		best := b.top(ranked)[0]
		if slices.Contains(ranked, winner) {
			best = winner
		}
		from := slices.Index(ranked, best)
		k.Frameworks[at].Ranked = slices.Insert(slices.Delete(ranked, from, from+1), 0, best)
	}
	slices.SortStableFunc(k.Frameworks, func(x, y FrameworkRanking) int {
		i, j := x.Ranked[0], y.Ranked[0]
		return cmp.Or(compareBool(i == winner, j == winner), i-j)
	})
}

// verdict says who is best in a class, or why nobody is.
func (b *comparer) verdict(k Class) string {
	winner, ok := k.Winner()
	if !ok {
		return b.noWinner(k)
	}
	w := b.entries[winner]
	text := fmt.Sprintf("%s is best: %s.", fullName(w), headline(w.Row))
	if len(k.Tied) > 1 {
		text = b.tieText(k)
	}
	if k.Key.Smoke {
		text = "Flow check, not a performance result; by the ranking rule: " + text
	}
	return text
}

func (b *comparer) tieText(k Class) string {
	const most = 4
	names := make([]string, 0, most)
	for _, i := range k.Tied[:min(len(k.Tied), most)] {
		names = append(names, fmt.Sprintf("%s (%s)", fullName(b.entries[i]), headline(b.entries[i].Row)))
	}
	if rest := len(k.Tied) - most; rest > 0 {
		names = append(names, fmt.Sprintf("%d more", rest))
	}
	first := b.entries[k.Tied[0]]
	return fmt.Sprintf("Tie of %s: noise could make the difference. %s is named first%s.", strings.Join(names, ", "), fullName(first), b.whyFirst(k))
}

// whyFirst says what put the first of a tie there.
func (b *comparer) whyFirst(k Class) string {
	first := &b.entries[k.Tied[0]]
	leader := slices.Min(k.Tied) // the entries are in strict order
	if leader == k.Tied[0] {
		return ", as it is ahead in the figures as measured"
	}
	l := &b.entries[leader]
	var why []string
	if b.against(byTokens, l, first) > 0 {
		why = append(why, "more output tokens/s")
	}
	if b.latencyAgainst("ttft", ttft, l, first) > 0 {
		why = append(why, "clearly lower TTFT")
	}
	if b.latencyAgainst("tpot", tpot, l, first) > 0 {
		why = append(why, "clearly lower TPOT")
	}
	if compareGPUs(first.Row.Hardware.GPUCount, l.Row.Hardware.GPUCount) < 0 {
		why = append(why, "fewer GPUs")
	}
	return " for " + strings.Join(why, ", ")
}

// noWinner counts what went wrong and names the nearest miss.
func (b *comparer) noWinner(k Class) string {
	if len(k.Failed) == 0 {
		return "No winner: every row was measured again, and the later one counts elsewhere."
	}
	counts := map[string]int{}
	var nearest *Entry
	for _, i := range k.Failed {
		e := &b.entries[i]
		if e.Outcome == OutcomeSLAFailed {
			counts["missed the SLA"]++
			if nearest == nil || strict(e, nearest) < 0 {
				nearest = e
			}
		} else {
			counts[e.Row.Status]++
		}
	}
	var parts []string
	for _, what := range []string{"missed the SLA", StatusFailed, StatusOOM, StatusTimeout, StatusSkipped} {
		if n := counts[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	text := fmt.Sprintf("No winner: none of %d passed (%s)", len(k.Failed), strings.Join(parts, ", "))
	if nearest != nil {
		return fmt.Sprintf("%s. Best of those that ran: %s, %s: %s.", text, fullName(*nearest), headline(nearest.Row), nearest.Reason)
	}
	e := b.entries[k.Failed[0]]
	return fmt.Sprintf("%s. First reason: %s: %s.", text, fullName(e), e.Reason)
}

// fullName names a candidate with its engine, unless the id already does.
func fullName(e Entry) string {
	if strings.HasPrefix(e.Name, e.Row.Framework) {
		return e.Name
	}
	return e.Name + " (" + e.Row.Framework + ")"
}

// headline is the throughput and the typical TTFT in words.
func headline(r Row) string {
	var parts []string
	if x, ok := figure(r.Metrics.RequestThroughput); ok {
		parts = append(parts, Number(x)+" req/s")
	}
	if x, mean, ok := r.Metrics.TTFT.Typical(); ok {
		parts = append(parts, pick(mean, "mean", "p50")+" TTFT "+Number(x)+" ms")
	}
	if len(parts) == 0 {
		return "no figures"
	}
	return strings.Join(parts, ", ")
}
