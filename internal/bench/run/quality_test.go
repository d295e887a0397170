package run

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/load/workload"
	"llmdyno/internal/sim"
)

var quality = flag.Bool("quality", false, "measure the searches in full: 20 seeds, every landscape")

// virtual is a candidate on the simulated engine's scheduler, without a clock:
// the decisions are those of package search, as a run takes them.
type virtual struct {
	engine *sim.Engine // nil = it does not start
	input  int
	output int
	n      int // requests of a full load point
	sla    result.SLA
	seed   uint64 // of the common arrivals
	rounds int    // of halving

	seconds  float64 // of measuring so far
	requests int
	points   int
}

// seedOf is that of the arrivals: common to all points but the confirmations.
func (v *virtual) seedOf(l search.Load) uint64 {
	if l.Kind == search.KindConfirm || l.Kind == search.KindAgain {
		return v.seed + 1000*uint64(l.Repeat+1)
	}
	return v.seed
}

func (v *virtual) measure(ladder search.Ladder, l search.Load) search.Measured {
	n := search.Requests(ladder, l, v.n, v.rounds)
	if v.engine == nil {
		return search.Measured{Load: l}
	}
	if l.AfterRPS > 0 {
		over := search.Requests(ladder, search.Load{Kind: search.KindOverload}, v.n, v.rounds)
		v.seconds += v.put(&search.Monitor{Planned: over}, l.AfterRPS, over, v.seed).Seconds
		v.requests += over
	}
	whole := l.Kind == search.KindConfirm || l.Kind == search.KindAgain
	m := &search.Monitor{Targets: search.Targets(v.sla), Planned: n, Rate: l.RateRPS, Whole: whole, Least: ladder.Least}
	verdict := v.put(m, l.RateRPS, n, v.seedOf(l))
	v.seconds += verdict.Seconds
	v.requests += verdict.Requests
	v.points++
	return search.Measured{Load: l, Passed: verdict.Passed(), Verdict: verdict}
}

// put puts a load on the engine until the monitor has seen enough; a nil-target
// monitor sees everything.
func (v *virtual) put(m *search.Monitor, rate float64, n int, seed uint64) search.Verdict {
	jobs := make([]sim.Job, n)
	a := workload.Arrivals{Kind: workload.ArrivalPoisson, RateRPS: rate, Seed: seed}
	a.RateRPS = rate * drawn(a, n)
	for i, at := range a.Schedule(n) {
		jobs[i] = sim.Job{At: at, Input: v.input, Output: v.output}
	}
	ended := func(i int, s sim.Served) bool {
		ttft := float64(s.First-jobs[i].At) / 1e6
		e2e := float64(s.Last-jobs[i].At) / 1e6
		return !m.Ended(s.Last.Seconds(), search.Ended{OK: !s.Refused, TTFTMs: ttft, TPOTMs: (e2e - ttft) / float64(v.output-1), E2EMs: e2e})
	}
	state := func(l sim.Load) bool { return !m.Tick(l.At.Seconds(), l.Sent, l.Done) }
	v.engine.Virtual(jobs, sim.Observer{Ended: ended, Every: 500 * time.Millisecond, State: state})
	return m.Verdict()
}

// search looks for the highest rate.
func (v *virtual) search(r search.Range, ladder search.Ladder) search.Found {
	spec := search.Spec{Range: r, Ladder: &ladder}
	var done []search.Measured
	for {
		step := spec.Next(done)
		if step.Done {
			return step.Found[0]
		}
		done = append(done, v.measure(ladder, step.Load))
	}
}

// capacity is the true one by brute force: on a grid of 0.5 %, the highest rate
// at which the requests of many seeds together keep every limit.
func (v *virtual) capacity(r search.Range, seeds int) float64 {
	holds := func(rate float64) bool {
		var shares []search.Attained
		for s := range seeds {
			m := &search.Monitor{Targets: search.Targets(v.sla)}
			for i, a := range v.whole(m, rate, 1_000_003*uint64(s+1)).Shares {
				if len(shares) <= i {
					shares = append(shares, search.Attained{Wanted: a.Wanted})
				}
				shares[i].Good, shares[i].N = shares[i].Good+a.Good, shares[i].N+a.N
			}
		}
		return !slices.ContainsFunc(shares, func(a search.Attained) bool { return a.Share() < a.Wanted })
	}
	grid := int(math.Log(r.Upper/r.Lower) / math.Log(1.005))
	low, high := -1, grid+1 // the last that holds, the first that does not
	for high-low > 1 {
		if mid := (low + high) / 2; holds(r.Lower * math.Pow(1.005, float64(mid))) {
			low = mid
		} else {
			high = mid
		}
	}
	if low < 0 {
		return 0
	}
	return r.Lower * math.Pow(1.005, float64(low))
}

// whole measures every request of a full load point, whatever they show.
func (v *virtual) whole(m *search.Monitor, rate float64, seed uint64) search.Verdict {
	var out []search.Ended
	jobs := make([]sim.Job, v.n)
	for i, at := range (workload.Arrivals{Kind: workload.ArrivalPoisson, RateRPS: rate, Seed: seed}).Schedule(v.n) {
		jobs[i] = sim.Job{At: at, Input: v.input, Output: v.output}
	}
	served, took := v.engine.Virtual(jobs, sim.Observer{})
	for i, s := range served {
		ttft, e2e := float64(s.First-jobs[i].At)/1e6, float64(s.Last-jobs[i].At)/1e6
		out = append(out, search.Ended{OK: !s.Refused, TTFTMs: ttft, TPOTMs: (e2e - ttft) / float64(v.output-1), E2EMs: e2e})
	}
	m.Planned = math.MaxInt32 // so that it never looks
	for _, e := range out {
		m.Ended(took.Seconds(), e)
	}
	return m.Verdict()
}

// sweep is the measuring time of a linear sweep of ten load points in full.
func (v *virtual) sweep(r search.Range) (seconds float64) {
	for i := range 10 {
		rate := r.Lower + (r.Upper-r.Lower)*float64(i)/9
		m := &search.Monitor{Targets: search.Targets(v.sla)}
		seconds += v.whole(m, rate, v.seed).Seconds
	}
	return seconds
}

// landscape is one engine with a search space and a shape.
type landscape struct {
	engine string
	shape  string
	input  int
	output int
}

const landscapeFile = `schema_version: 2
model: {name: meta-llama/Llama-3.1-8B-Instruct}
hardware: {gpu_count: 1, gpu_model: h100}
scenarios: [{name: s, input_len: 1000, output_len: 100}]
search: {max_candidates_per_framework: 1000}
frameworks:
  %s:
    enabled: true
%s`

// spaces are the flags that an engine needs here, a cautious baseline (small
// batches, short chunks, the plain attention kernels), and the flags that are
// searched. What the engines choose by themselves is among the best of these
// spaces: with that for a baseline, staying there would be no feat.
var spaces = map[string]struct{ needs, cautious, searched string }{
	"sglang": {"tp_size: 1, mem_fraction_static: 0.8, context_length: 8192",
		"chunked_prefill_size: 512, max_running_requests: 16, prefill_attention_backend: triton, decode_attention_backend: triton", `
      chunked_prefill_size: [512, 2048, 8192]
      max_running_requests: [16, 48, 128]
      prefill_attention_backend: [triton, fa3, flashinfer]
      decode_attention_backend: [triton, fa3, flashinfer]
`},
	"vllm": {"tensor_parallel_size: 1, gpu_memory_utilization: 0.9, max_model_len: 8192",
		"max_num_batched_tokens: 512, max_num_seqs: 16, enforce_eager: true", `
      max_num_batched_tokens: [512, 2048, 4096, 8192]
      max_num_seqs: [16, 48, 128, 256]
      async_scheduling: [false, true]
      enforce_eager: [true, false]
`},
	"trtllm": {"backend: pytorch, tp_size: 1, max_seq_len: 8192", "max_num_tokens: 1024, max_batch_size: 8", `
      max_num_tokens: [1024, 2048, 4096, 8192, 16384]
      max_batch_size: [8, 32, 64, 128]
      kv_cache_free_gpu_memory_fraction: [0.2, 0.5, 0.85]
`},
	"tokenspeed": {"tensor_parallel_size: 1, gpu_memory_utilization: 0.9, max_model_len: 8192",
		"max_num_seqs: 16, chunked_prefill_size: 512, disable_overlap_schedule: true, attention_backend: triton", `
      max_num_seqs: [16, 48, 128, 256]
      chunked_prefill_size: [512, 2048, 8192]
      disable_overlap_schedule: [true, false]
      attention_backend: [triton, fa3, flashinfer]
`},
}

func (l landscape) candidates(t *testing.T) []config.Candidate {
	t.Helper()
	x := spaces[l.engine]
	return planned(t, l.engine, fmt.Sprintf("    base_server_flags: {%s, %s}\n    search_space:%s", x.needs, x.cautious, x.searched))
}

// planned are the candidates of an engine with such a section.
func planned(t *testing.T, name, section string) []config.Candidate {
	t.Helper()
	f, diags := config.Parse("landscape.yaml", []byte(fmt.Sprintf(landscapeFile, name, section)))
	diags = append(diags, config.Check(f, all.Engines(), config.Options{})...)
	for _, d := range diags {
		if d.Severity == config.SeverityError {
			t.Fatal(d)
		}
	}
	return config.Plan(f, all.Engines(), config.Options{}).Candidates
}

func start(t *testing.T, c config.Candidate, slow float64) *sim.Engine {
	t.Helper()
	e, _ := all.Engines().Lookup(string(c.Engine))
	s, err := sim.New(sim.Options{Surface: e.Surface, Argv: c.Argv, GPU: "h100", PID: 1, Slow: slow})
	if err != nil {
		return nil // it does not fit into the memory, say
	}
	return s
}

func limits(ttft, tpot float64) result.SLA { return limitsOf("p50", "ttft", ttft, "tpot", tpot) }

// limitsOf are limits on one percentile, of latencies and their most ms in turn.
func limitsOf(percentile string, pairs ...any) result.SLA {
	success := 0.99
	sla := result.SLA{MinSuccessRate: &success}
	for i := 0; i < len(pairs); i += 2 {
		sla.Limits = append(sla.Limits, result.NewLimit(percentile, pairs[i].(string), pairs[i+1].(float64)))
	}
	return sla
}

// answer is how the rate search of one server under one set of limits fared.
type answer struct {
	engine, limits       string
	truth                float64 // req/s
	within, seeds        int
	worst                float64 // largest relative error
	share                float64 // mean measuring time over that of the sweep
	points               float64 // mean load points
	feasible, infeasible []float64
}

func rateQuality(t *testing.T, name, words string, sla result.SLA, seeds, n, truth int) answer {
	t.Helper()
	c := planned(t, name, fmt.Sprintf("    base_server_flags: {%s}\n", spaces[name].needs))[0]
	v := &virtual{engine: start(t, c, 1), input: 1000, output: 100, n: n, sla: sla}
	r := search.Range{Lower: 1, Upper: 64}
	a := answer{engine: name, limits: words, truth: v.capacity(r, truth), seeds: seeds}
	for s := range seeds {
		v.seed, v.seconds, v.points = uint64(s+1), 0, 0
		sweep := v.sweep(r)
		f := v.search(r, search.DefaultLadder())
		off := math.Abs(f.Feasible/a.truth - 1)
		if off <= 0.05 {
			a.within++
		}
		a.worst = max(a.worst, off)
		a.share += v.seconds / sweep / float64(seeds)
		a.points += float64(v.points) / float64(seeds)
		a.feasible, a.infeasible = append(a.feasible, f.Feasible), append(a.infeasible, f.Infeasible)
	}
	return a
}

// TestRateSearchQuality: the rate that is found is the true one, with the settings
// and the requests that a file has which says nothing of either. With -quality the
// table of docs/search.md.
func TestRateSearchQuality(t *testing.T) {
	cases := []struct {
		engine, words string
		sla           result.SLA
	}{
		{"vllm", "p50 TTFT 2000 ms, p50 TPOT 20 ms", limits(2000, 20)},
		{"vllm", "p50 TTFT 300 ms, p50 TPOT 200 ms", limits(300, 200)},
		{"sglang", "p50 TTFT 2000 ms, p50 TPOT 30 ms", limits(2000, 30)},
		{"vllm", "p90 E2E 3000 ms", limitsOf("p90", "e2e", 3000.)},
		{"tokenspeed", "p95 TTFT 500 ms, p95 TPOT 50 ms", limitsOf("p95", "ttft", 500., "tpot", 50.)},
		{"vllm", "p95 TTFT 500 ms, p95 TPOT 30 ms", limitsOf("p95", "ttft", 500., "tpot", 30.)},
		{"sglang", "p99 TTFT 1000 ms, p99 TPOT 50 ms", limitsOf("p99", "ttft", 1000., "tpot", 50.)},
	}
	seeds, truth := 20, 40
	if !*quality {
		cases, seeds, truth = cases[2:3], 3, 4
	}
	for _, c := range cases {
		n, _ := search.Needs(search.Targets(c.sla))
		a := rateQuality(t, c.engine, c.words, c.sla, seeds, n, truth)
		t.Logf("| %s | %s | %d | %.2f | %d of %d | %.1f %% | %.0f %% | %.1f |", a.engine, a.limits, n, a.truth, a.within, a.seeds, 100*a.worst, 100*a.share, a.points)
		if a.within < a.seeds-a.seeds/20 {
			t.Errorf("%s: %d of %d within 5 %% of %.3f: %.4g to %.4g", a.engine, a.within, a.seeds, a.truth, a.feasible, a.infeasible)
		}
		if a.share > 0.5 {
			t.Errorf("%s: %.0f %% of the time of the sweep", a.engine, 100*a.share)
		}
	}
}

// startS is the time that a server is taken to need until it is ready, seconds.
const startS = 60

// slower makes the steps of the simulated engine as long as those of a model
// four times as large, so that load points last as long as they do there.
const slower = 4

// simulated carries a plan out on the simulated scheduler: every decision is that
// of next, as in a run.
type simulated struct {
	plan    *Plan
	engines map[string]*sim.Engine // by candidate; nil = it does not start
	seconds float64                // of server time: starts and measuring
	starts  int
	points  int
}

func newSimulated(t *testing.T, l landscape, s search.Strategy, n int) *simulated {
	t.Helper()
	ladder := search.DefaultLadder()
	p := somePlan(0)
	p.Candidates, p.Strategy = l.candidates(t), s
	p.Load.Ladder, p.Load.Range = &ladder, search.Range{Lower: 0.2, Upper: 20}
	p.Scenarios = []Scenario{{Name: l.shape, Slug: l.shape, Kind: "random", InputLen: l.input, OutputLen: l.output, NumPrompts: n, Seed: 1, SLA: limits(1200, 100)}}
	if !*quality { // a part of the space, with the baseline
		p.Candidates = slices.DeleteFunc(p.Candidates, func(c config.Candidate) bool { return c.Index%3 > 0 && c.Index > 0 })
	}
	p.Engines = []EnginePlan{{ID: p.Candidates[0].Engine, Command: []string{"x"}}}
	return &simulated{plan: p, engines: map[string]*sim.Engine{}}
}

// run takes every step and returns the candidate that holds most.
func (m *simulated) run(t *testing.T) (best string, rate float64) {
	t.Helper()
	s, up := NewState(), ""
	put := func(e Entry) {
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for {
		st, more := next(m.plan, s)
		switch {
		case !more:
			for _, c := range m.plan.Candidates {
				if v := s.score(c.ID, m.plan.Scenarios[0]); v > rate {
					best, rate = c.ID, v
				}
			}
			return best, rate
		case st.capture != "":
			put(Entry{Kind: KindEngine, Engine: &EngineFacts{ID: st.capture}})
		case st.finish:
			put(Entry{Kind: KindScenarioDone, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Found: st.found})
		case up != st.candidate.ID:
			up = st.candidate.ID
			put(Entry{Kind: KindServerBegun, Candidate: up, Mark: up})
			m.starts++
			m.seconds += startS
			if m.engine(t, *st.candidate) == nil {
				put(Entry{Kind: KindStartFailed, Candidate: up, Failure: &Failure{Phase: "start", Status: result.StatusOOM, Reason: up + " does not fit"}})
				continue
			}
			put(Entry{Kind: KindServerReady, Candidate: up})
		default:
			v := virtual{engine: m.engine(t, *st.candidate), input: st.scenario.InputLen, output: st.scenario.OutputLen, n: st.scenario.NumPrompts,
				sla: st.scenario.SLA, seed: st.scenario.Seed, rounds: m.plan.rounds(st.candidate.Engine)}
			x := v.measure(*m.plan.Load.Ladder, st.load)
			m.seconds += v.seconds
			m.points++
			tr := &Trial{Verdict: &x.Verdict, Point: result.Point{Status: result.StatusOK, Passed: x.Passed, RequestRate: &st.load.RateRPS}}
			put(Entry{Kind: KindTrialDone, Candidate: up, Scenario: st.scenario.Name, Load: &st.load, Trial: tr})
		}
	}
}

func (m *simulated) engine(t *testing.T, c config.Candidate) *sim.Engine {
	if _, known := m.engines[c.ID]; !known {
		m.engines[c.ID] = start(t, c, slower)
	}
	return m.engines[c.ID]
}

// truth is the true capacity of a candidate.
func (m *simulated) truth(t *testing.T, id string) float64 {
	i := slices.IndexFunc(m.plan.Candidates, func(c config.Candidate) bool { return c.ID == id })
	sc := m.plan.Scenarios[0]
	v := virtual{engine: m.engine(t, m.plan.Candidates[i]), input: sc.InputLen, output: sc.OutputLen, n: sc.NumPrompts, sla: sc.SLA}
	return v.capacity(m.plan.Load.Range, 8)
}

// TestCandidateSearchQuality: race and covering find a candidate that is as good
// as the one that an exhaustive search finds, in a fraction of its server time.
// With -quality the table of docs/search.md.
func TestCandidateSearchQuality(t *testing.T) {
	engines, shapes, n := []string{"sglang", "vllm", "trtllm", "tokenspeed"}, []landscape{{shape: "chat", input: 1000, output: 100}, {shape: "summarization", input: 4000, output: 100}}, 300
	if !*quality {
		engines, shapes, n = engines[2:3], shapes[:1], 150
	}
	for _, e := range engines {
		for _, l := range shapes {
			l.engine = e
			all := newSimulated(t, l, search.StrategyProduct, n)
			best, _ := all.run(t)
			truth, base := all.truth(t, best), all.truth(t, all.plan.Candidates[0].ID)
			t.Logf("| %s %s | exhaustive | %d | %d | %.1f h | 100 %% | %s | %.2f | | %+.0f %% |", e, l.shape, all.starts, all.points, all.seconds/3600, best, truth, 100*(truth/base-1))
			for _, s := range search.Strategies[1:] {
				if s == search.StrategyHalving && (!*quality || l.shape != shapes[0].shape) {
					continue // one shape shows what it costs
				}
				m := newSimulated(t, l, s, n)
				pick, _ := m.run(t)
				got := m.truth(t, pick)
				t.Logf("| %s %s | %s | %d | %d | %.1f h | %.1f %% | %s | %.2f | %+.1f %% | %+.0f %% |", e, l.shape, s, m.starts, m.points, m.seconds/3600, 100*m.seconds/all.seconds, pick, got, 100*(got/truth-1), 100*(got/base-1))
				if s == search.StrategyHalving {
					continue
				}
				if got < 0.98*truth {
					t.Errorf("%s %s: %s ends at %.3f req/s, the exhaustive search at %.3f", e, l.shape, s, got, truth)
				}
				if m.seconds > 0.3*all.seconds {
					t.Errorf("%s %s: %s takes %.0f %% of the server time", e, l.shape, s, 100*m.seconds/all.seconds)
				}
			}
		}
	}
}
