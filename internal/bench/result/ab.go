package result

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/load/stat"
)

// Side is one of the two commands of a comparison.
type Side struct {
	Candidate string `json:"candidate"` // as asked for: id of the file, or "command"
	Framework string `json:"framework"`
	Command   string `json:"command"`
	Trials    int    `json:"trials"` // sound ones
	Status    string `json:"status"`
	// Reason is why trials are missing.
	Reason string `json:"failure_reason,omitempty"`
}

// ABFigure is one figure of both sides.
type ABFigure struct {
	Key           string  `json:"key"`
	LowerIsBetter bool    `json:"lower_is_better"`
	A             float64 `json:"a"` // geometric mean over the blocks
	B             float64 `json:"b"`
	// Delta is b over a less 1, CI its 95 % interval; both from the pairs.
	Delta  float64     `json:"delta"`
	CI     *[2]float64 `json:"ci,omitempty"`
	P      float64     `json:"p"` // two-sided, for no difference
	Winner stat.Winner `json:"winner"`
}

// AB is the verdict on two commands. A verdict rests on its headline figure alone:
// of several figures, each with an interval of 95 %, one would often lie outside by
// chance.
type AB struct {
	SchemaVersion int         `json:"schema_version"`
	Winner        stat.Winner `json:"winner"` // a, b or tie
	Verdict       string      `json:"verdict"`
	Metric        string      `json:"metric"` // key of the headline figure
	Threshold     float64     `json:"threshold"`
	Scenario      string      `json:"scenario"`
	Load          string      `json:"load"` // in words
	Planned       int         `json:"blocks_planned"`
	Blocks        int         `json:"blocks"` // in which both trials were sound
	// SD is the standard deviation of ln(b/a) of a block.
	SD *float64 `json:"sd,omitempty"`
	// BlocksFor5 is the number of blocks that finds a true difference of 5 % in 90
	// of 100 cases with that spread; absent where no number does.
	BlocksFor5 int        `json:"blocks_for_5_percent,omitempty"`
	Figures    []ABFigure `json:"figures"` // the headline first
	A          Side       `json:"a"`
	B          Side       `json:"b"`
	Simulated  bool       `json:"simulated"`
}

// ABOptions are the terms of a comparison of two commands.
type ABOptions struct {
	Metric    string  // key of the headline figure
	Threshold float64 // 0 = DefaultThreshold, negative = none
	Planned   int     // blocks
	Load      string  // in words
}

// abFigures are shown beside the headline.
var abFigures = []string{"output_token_throughput", "request_throughput", "goodput_rps", "mean_e2e_ms", "p50_ttft_ms", "p99_ttft_ms", "p50_tpot_ms", "p99_tpot_ms"}

// Figures are the keys by which two commands can be compared.
func Figures() []string { return slices.Clone(abFigures) }

// gaugeOf finds a figure by its key.
func gaugeOf(key string) (gauge, bool) {
	switch key {
	case byThroughput.key:
		return byThroughput, true
	case byTokens.key:
		return byTokens, true
	case "goodput_rps":
		return gauge{key, false, func(m Metrics) *float64 { return m.Goodput }}, true
	}
	tail, ms := strings.CutSuffix(key, "_ms")
	if name, _, _ := strings.Cut(tail, "_"); !ms || !slices.ContainsFunc(new(Latency).stats(), func(s statistic) bool { return s.name == name }) {
		return gauge{}, false // points keep no other percentiles
	}
	_, _, known := new(Metrics).lookup(tail)
	return gauge{key, true, func(m Metrics) *float64 { v, _, _ := m.lookup(tail); return v }}, known
}

// CompareAB judges two rows that were measured in the same blocks.
func CompareAB(a, b Row, o ABOptions) AB {
	out := AB{SchemaVersion: 1, Winner: stat.Tie, Metric: o.Metric, Threshold: stat.Options{Threshold: o.Threshold}.Bar(),
		Scenario: a.Workload.Scenario, Load: o.Load, Planned: o.Planned, Figures: []ABFigure{}, A: sideOf(a), B: sideOf(b), Simulated: a.Simulated}
	so := stat.Options{Threshold: o.Threshold}
	for _, key := range append([]string{o.Metric}, slices.DeleteFunc(Figures(), func(k string) bool { return k == o.Metric })...) {
		g, _ := gaugeOf(key)
		if g.of == nil {
			continue
		}
		x, y := pairs(g.repeats(a), g.repeats(b))
		so.LowerIsBetter = g.lower
		c, ok := stat.ComparePaired(x, y, so)
		if key == o.Metric {
			out.headline(x, c, ok, so)
		}
		if !ok {
			continue
		}
		out.Figures = append(out.Figures, ABFigure{Key: key, LowerIsBetter: g.lower, A: geometric(x), B: geometric(y), Delta: c.Delta, CI: &[2]float64{c.Interval.Low, c.Interval.High}, P: c.P, Winner: c.Winner})
	}
	out.Verdict = out.words(a, b)
	return out
}

func (ab *AB) headline(x []float64, c stat.Comparison, ok bool, o stat.Options) {
	ab.Blocks = len(x)
	if !ok {
		return
	}
	ab.Winner, ab.SD = c.Winner, &c.SD
	ab.BlocksFor5 = stat.BlocksNeeded(c.SD, 0.05, 0.9, o)
}

func sideOf(r Row) Side {
	s := Side{Candidate: r.CandidateID, Framework: r.Framework, Command: r.ServerCommand, Status: r.Status, Reason: r.FailureReason}
	for _, p := range r.Points {
		switch {
		case p.Status == StatusOK && p.Invalid == "":
			s.Trials++
		case s.Reason == "":
			s.Reason = cmp.Or(p.FailureReason, p.Invalid)
		}
	}
	return s
}

func geometric(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(x)))
}

// words says who won and why, or why nobody did. What changes the answers cannot
// win.
func (ab *AB) words(a, b Row) string {
	title, _ := FigureTitle(ab.Metric)
	name := strings.TrimSuffix(title, " ms")
	if len(ab.Figures) == 0 || ab.Figures[0].Key != ab.Metric {
		reason := fmt.Sprintf("%d of %d blocks have %s of both sides, at least 2 are needed", ab.Blocks, ab.Planned, name)
		for _, s := range []Side{ab.A, ab.B} {
			if s.Reason != "" {
				reason += "; " + s.Candidate + ": " + s.Reason
			}
		}
		return "no verdict: " + reason
	}
	f := ab.Figures[0]
	rest := fmt.Sprintf("%s of b against a %+.1f %% (95 %% interval %+.1f to %+.1f %%), %d blocks", name, 100*f.Delta, 100*f.CI[0], 100*f.CI[1], ab.Blocks)
	if ab.Winner == stat.B && b.Equivalence.failed() {
		ab.Winner = stat.Tie
		return "tie: b is better, but cannot win: " + b.Equivalence.Reason + "; " + rest
	}
	if ab.Winner == stat.A && a.Equivalence.failed() {
		ab.Winner = stat.Tie
		return "tie: a is better, but cannot win: " + a.Equivalence.Reason + "; " + rest
	}
	if ab.Winner == stat.Tie {
		return fmt.Sprintf("tie: the difference does not exceed both its interval and %s: %s", Percent(ab.Threshold), rest)
	}
	return fmt.Sprintf("%s is better: %s", ab.Winner, rest)
}

// Measured says that there is a comparison at all.
func (ab AB) Measured() bool { return len(ab.Figures) > 0 && ab.Figures[0].Key == ab.Metric }

// FigureTitle is the name of a figure for people.
func FigureTitle(key string) (string, bool) {
	if _, ok := gaugeOf(key); !ok {
		return "", false
	}
	switch key {
	case "request_throughput":
		return "requests/s", true
	case "output_token_throughput":
		return "output tokens/s", true
	case "goodput_rps":
		return "goodput/s", true
	}
	_, title, _ := new(Metrics).lookup(strings.TrimSuffix(key, "_ms"))
	return title + " ms", true
}
