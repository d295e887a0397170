package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"llmdyno/internal/engine"
	"llmdyno/internal/load"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// stagePlan is one session of the profiler.
type stagePlan struct {
	name          string // of its folder
	input, output int    // tokens of its (first) probes
	probes        int
	loads         []probeLoad
	ask           int // steps in the start request; 0 = none
	byStage       bool
	files         []string // stages of a rank's files, by their names; nil = one file a rank
}

// probeLoad is a run of equal requests, one after the other.
type probeLoad struct {
	stage         string
	input, output int
	warmups       int // requests
	warmOutput    int // tokens of a warm-up request
	probes        int
	steps         int // of its stage that are wanted
}

// The names of the folders.
const (
	stagePrefill = "prefill"
	stageDecode  = "decode"
	stageAll     = "all"
	folderParted = "by-stage"
)

// plan makes the sessions.
func (r *runner) plan() []stagePlan {
	q := r.q
	if q.ByStage {
		return []stagePlan{r.partedPlan()}
	}
	var out []stagePlan
	switch q.Workload {
	case Prefill:
		out = []stagePlan{r.session(stagePrefill, r.prefillLoad())}
	case Decode:
		out = []stagePlan{r.session(stageDecode, r.decodeLoad())}
	case Legacy:
		l := r.decodeLoad()
		l.stage, l.input = stageAll, q.PrefillInput
		out = []stagePlan{r.session(stageAll, l)}
	default:
		out = []stagePlan{r.session(stagePrefill, r.prefillLoad()), r.session(stageDecode, r.decodeLoad())}
	}
	return out
}

// prefillLoad is a request a step.
func (r *runner) prefillLoad() probeLoad {
	q := r.q
	l := probeLoad{stage: stagePrefill, input: q.PrefillInput, output: q.PrefillOutput, warmups: q.Warmup, warmOutput: q.PrefillOutput, probes: q.Steps + r.short(q.ByStage), steps: q.Steps}
	if q.AtLaunch {
		l.probes += 2 // the window ends with the step after it
	}
	return l
}

// decodeLoad is one long answer after one of the warm-up's length. An engine that
// cannot count gets an answer that is as long as what is to be seen.
func (r *runner) decodeLoad() probeLoad {
	q := r.q
	output := q.DecodeOutput
	if output == 0 && (r.p.CountsSteps || q.AtLaunch) {
		output = DefaultDecodeOutput
	} else if output == 0 {
		output = q.Steps + 1
	}
	l := probeLoad{stage: stageDecode, input: q.DecodeInput, output: output, warmOutput: max(q.Warmup, 1), probes: 1, steps: q.Steps}
	if q.Warmup > 0 {
		l.warmups = 1
	}
	return l
}

// short is by how many steps the profiler falls short of what it is asked for.
func (r *runner) short(byStage bool) int {
	if r.p.StepsShort == nil || r.q.AtLaunch {
		return 0
	}
	return r.p.StepsShort(r.q.Server.Version, byStage)
}

func (r *runner) session(name string, l probeLoad) stagePlan {
	p := stagePlan{name: name, input: l.input, output: l.output, probes: l.probes, loads: []probeLoad{l}}
	if r.p.CountsSteps && !r.q.AtLaunch {
		p.ask = l.steps + r.short(false)
		if l.stage != stagePrefill {
			p.ask++ // the answer's own prompt
		}
	}
	return p
}

// partedPlan is one session for all stages, whose files the engine names by stage.
func (r *runner) partedPlan() stagePlan {
	p := stagePlan{name: folderParted, ask: r.q.Steps, byStage: true}
	if r.q.Workload != Decode {
		p.loads, p.files = append(p.loads, r.prefillLoad()), append(p.files, stagePrefill)
	}
	if r.q.Workload != Prefill {
		p.loads, p.files = append(p.loads, r.decodeLoad()), append(p.files, stageDecode)
	}
	if r.q.Workload == Decode {
		p.files = append(p.files, stagePrefill) // the answer's own prompt has its trace too
	}
	for _, l := range p.loads {
		p.probes += l.probes
	}
	p.input, p.output = p.loads[0].input, p.loads[0].output
	return p
}

// prompted are the requests of a session.
type prompted struct {
	warm, probes []workload.Request
}

// counting is what is known of the server's counting of prompts.
type counting struct {
	by   string // "tokenize", "usage" or "words"
	base int    // prompt tokens of the mark alone, by usage
}

// countMark stands before a text that is counted by sending it, so that what the
// count leaves in the prefix cache begins unlike every probe.
const countMark = "count this:"

// prompts makes the requests: each unlike all others from its first word on, and
// of the exact length by the server's own tokenizer, else by what it says of a
// request that holds the text, else in words.
func (r *runner) prompts(ctx context.Context, plan stagePlan, s *Stage) (prompted, error) {
	r.q.Say("%s: making prompts of exact length", plan.name)
	counter := r.counter(ctx)
	s.LengthsBy = r.counting.by
	out, err := r.make(plan, counter, nil)
	if err != nil && counter != nil && ctx.Err() == nil {
		s.warn("lengths-in-words", "the server did not count the prompts (%v): their lengths are in words", err)
		r.counting.by, s.LengthsBy = "words", "words"
		out, err = r.make(plan, nil, nil)
	}
	if ctx.Err() != nil {
		return out, context.Cause(ctx)
	}
	return out, err
}

// make makes the requests; less is by how many tokens the prompts of each load
// are to be shorter than wanted, since the server adds its own.
func (r *runner) make(plan stagePlan, counter workload.Counter, less []int) (out prompted, err error) {
	for i, l := range plan.loads {
		input := l.input
		if less != nil {
			input = max(input-less[i], 1)
		}
		spec := workload.Spec{Kind: workload.KindRandom, NumPrompts: l.warmups + l.probes, InputLen: input, OutputLen: l.output, Seed: r.q.Seed ^ uint64(len(plan.name)+i)<<32, Counter: counter}
		requests, err := spec.Requests()
		if err != nil {
			return out, err
		}
		for j := range requests {
			requests[j].InputLen = l.input
			if j < l.warmups {
				requests[j].OutputLen = l.warmOutput
			}
		}
		out.warm, out.probes = append(out.warm, requests[:l.warmups]...), append(out.probes, requests[l.warmups:]...)
	}
	renumber(out.warm)
	renumber(out.probes)
	return out, nil
}

func renumber(list []workload.Request) {
	for i := range list {
		list[i].Index, list[i].SharedLen = i, -1
	}
}

// counter asks the server how many tokens a text has. Where iterations are
// counted since the launch, nothing may be sent only to be counted.
func (r *runner) counter(ctx context.Context) workload.Counter {
	c, model := r.q.Server.Client, r.q.Server.Model
	switch {
	case r.e.Tokenize != nil && r.counting.by != "words":
		r.counting.by = "tokenize"
		return func(text string) (int, error) { return c.CountTokens(ctx, model, text) }
	case r.q.AtLaunch || r.counting.by == "words":
		r.counting.by = "words"
		return nil
	}
	r.counting.by = "usage"
	return func(text string) (int, error) {
		if r.counting.base == 0 {
			n, err := r.sent(ctx, countMark)
			if err != nil {
				return 0, err
			}
			r.counting.base = n
		}
		n, err := r.sent(ctx, countMark+" "+text)
		return n - r.counting.base, err
	}
}

// sent is the prompt tokens of a text, by the usage of a request with it.
func (r *runner) sent(ctx context.Context, text string) (int, error) {
	out, err := load.Run(ctx, r.trial([]workload.Request{{Prompt: text, OutputLen: 1, SharedLen: -1}}, "count"))
	if err != nil {
		return 0, err
	}
	rec := out.Records[0]
	switch {
	case !rec.OK():
		return 0, errors.New(rec.Error)
	case rec.InputTokens == 0:
		return 0, errors.New("its replies carry no count of prompt tokens")
	}
	return rec.InputTokens, nil
}

// trial sends requests one after the other.
func (r *runner) trial(requests []workload.Request, what string) load.Trial {
	zero := 0.0
	return load.Trial{
		Client: r.q.Server.Client, Wire: r.wire, Model: r.q.Server.Model, Requests: requests,
		Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}, MaxConcurrency: 1, IgnoreEOS: r.eos, Temperature: &zero,
		IDPrefix: "llmdyno-profile-" + what + "-",
	}
}

// warm sends the warm-up, and makes the prompts of the probes anew where the
// server adds tokens of its own to every prompt.
func (r *runner) warm(ctx context.Context, plan stagePlan, s *Stage, p prompted) (prompted, error) {
	if len(p.warm) == 0 {
		return p, nil
	}
	r.q.Say("%s: warming up with %d requests of the same shape", plan.name, len(p.warm))
	out, err := load.Run(ctx, r.trial(p.warm, "warm"))
	if err != nil {
		return p, fmt.Errorf("%s: warm-up: %w", plan.name, err)
	}
	if i := slices.IndexFunc(out.Records, func(rec sample.Record) bool { return !rec.OK() }); i >= 0 {
		return p, fmt.Errorf("%s: warm-up: request %d of %d failed: %s", plan.name, i+1, len(out.Records), out.Records[i].Error)
	}
	less, any := added(plan, out.Records)
	if !any || s.LengthsBy == "words" {
		return p, nil
	}
	again, err := r.make(plan, r.counter(ctx), less)
	if err != nil {
		s.warn("lengths-with-template", "the server adds %v tokens to each prompt, and prompts that are shorter by as many could not be made (%v)", less, err)
		return p, nil
	}
	return again, nil
}

// added is how many tokens the server added to the prompts of each load, where
// it was the same for all.
func added(plan stagePlan, records []sample.Record) (less []int, any bool) {
	less = make([]int, len(plan.loads))
	at := 0
	for i, l := range plan.loads {
		mine := records[at : at+l.warmups]
		at += l.warmups
		for j, rec := range mine {
			d := rec.InputTokens - rec.WantInput
			if rec.InputTokens == 0 || j > 0 && d != less[i] {
				less[i] = 0
				break
			}
			less[i] = d
		}
		if less[i] != 0 && l.input > 1 {
			any = true
		}
	}
	return less, any
}

// counters reads how many prompt tokens the server has found in its prefix
// cache; -1 = it does not tell.
func (r *runner) counters(ctx context.Context) float64 {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reading, _, err := r.q.Server.Client.Metrics(ctx)
	if v, ok := reading.Values[engine.QuantityCachedTokens]; err == nil && ok {
		return v
	}
	return -1
}
