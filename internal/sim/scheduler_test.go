package sim

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// deployed plans an engine of the test surface, or ends the test.
func deployed(t testing.TB, gpu, argv string) *deployment {
	t.Helper()
	d, err := tryDeploy(gpu, argv)
	if err != nil {
		t.Fatalf("%s on %s: %v", argv, gpu, err)
	}
	return d
}

func tryDeploy(gpu, argv string) (*deployment, error) {
	o := options(argv)
	o.GPU = gpu
	e, err := New(o)
	if err != nil {
		return nil, err
	}
	return e.d, nil
}

// replay drives a scheduler without a clock: requests arrive at their instants,
// steps follow each other. check sees every step before it is applied.
type replay struct {
	s      *scheduler
	epoch  time.Time
	tokens map[string]int
	first  []string // ids in the order of their first tokens
	order  []string // ids in the order of admission
	done   map[string]time.Time
}

func newReplay(d *deployment) *replay {
	return &replay{s: newScheduler(d), epoch: time.Unix(1000, 0), tokens: map[string]int{}, done: map[string]time.Time{}}
}

func (p *replay) run(t interface{ Fatalf(string, ...any) }, requests []*request, check func(*plan)) time.Duration {
	now := p.epoch
	started := map[string]bool{}
	for steps := 0; len(requests) > 0 || !p.s.idle(); steps++ {
		if steps > 2_000_000 {
			t.Fatalf("no end: %d running, %d waiting", len(p.s.running), len(p.s.waiting))
		}
		for len(requests) > 0 && !requests[0].arrived.After(now) {
			r := requests[0]
			requests = requests[1:]
			r.sink = func(n int, at time.Time, done bool) {
				if p.tokens[r.id] == 0 {
					p.first = append(p.first, r.id)
				}
				p.tokens[r.id] += n
				if done {
					p.done[r.id] = at
				}
			}
			p.s.submit(r)
		}
		plan := p.s.next(now.Add(1)) // an instant later, so that arrivals of now count
		for _, r := range p.s.running {
			if !started[r.id] {
				started[r.id] = true
				p.order = append(p.order, r.id)
			}
		}
		if plan.empty() {
			if len(requests) == 0 {
				t.Fatalf("stuck with %d running, %d waiting", len(p.s.running), len(p.s.waiting))
			}
			now = requests[0].arrived
			continue
		}
		if check != nil {
			check(plan)
		}
		now = now.Add(plan.duration)
		p.s.finish(now)
	}
	return now.Sub(p.epoch)
}

func requestOf(i, input, output int, at time.Time) *request {
	return &request{id: fmt.Sprintf("r%04d", i), key: uint64(i), input: input, output: output, arrived: at}
}

// Whatever is sent, tokens are conserved, the KV cache never holds more than its
// capacity, the limits of the batch hold, and the cache is empty at the end.
func TestSchedulerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		argv := "plain serve " + testModel +
			fmt.Sprintf(" --max-running %d --chunk %d --max-total %d --block %d --ctx 900", rapid.IntRange(1, 40).Draw(t, "running"),
				rapid.IntRange(1, 2000).Draw(t, "chunk"), rapid.IntRange(1000, 6000).Draw(t, "kv"), rapid.SampledFrom([]int{1, 16, 32, 64}).Draw(t, "block"))
		for _, flag := range []string{"--no-mixed", "--no-cont", "--no-prefix", "--policy lpm", "--eager", "--spec.n 2 --spec.method d"} {
			if rapid.Bool().Draw(t, flag) {
				argv += " " + flag
			}
		}
		d, err := tryDeploy("h100", argv)
		if err != nil {
			t.Fatalf("%s: %v", argv, err)
		}
		p := newReplay(d)
		var list []*request
		at := p.epoch
		total, wantOut := 0, map[string]int{}
		for i := range rapid.IntRange(1, 40).Draw(t, "requests") {
			at = at.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "gap")) * time.Millisecond)
			in, out := rapid.IntRange(1, 600).Draw(t, "in"), rapid.IntRange(1, 200).Draw(t, "out")
			r := requestOf(i, in, out, at)
			group := rapid.IntRange(0, 3).Draw(t, "group")
			for b := range in / d.granule() {
				r.hashes = append(r.hashes, uint64(group*10_000+b+1))
			}
			list = append(list, r)
			total += out
			wantOut[r.id] = out
		}
		p.run(t, list, func(plan *plan) {
			s := p.s
			if used := s.kv.used(); used > s.kv.total || s.kv.free < 0 || s.kv.private < 0 {
				t.Fatalf("KV cache: %d of %d blocks used, %d free, %d private", used, s.kv.total, s.kv.free, s.kv.private)
			}
			if n := s.kv.free + s.kv.private + len(s.kv.shared); n != s.kv.total {
				t.Fatalf("KV blocks do not add up: %d of %d", n, s.kv.total)
			}
			if len(s.running) > d.maxRunning {
				t.Fatalf("%d running, limit %d", len(s.running), d.maxRunning)
			}
			prefill := 0
			for _, c := range plan.prefills {
				prefill += c.tokens
			}
			if prefill > d.stepTokens {
				t.Fatalf("%d prefill tokens in a step, limit %d", prefill, d.stepTokens)
			}
			if !d.mixed && len(plan.prefills) > 0 && len(plan.decodes) > 0 {
				t.Fatalf("a mixed step without mixed batching")
			}
		})
		for id, want := range wantOut {
			if p.tokens[id] != want {
				t.Fatalf("%s: %d tokens of %d", id, p.tokens[id], want)
			}
		}
		if p.s.totals.generated != total || p.s.kv.used() != 0 || p.s.kv.private != 0 {
			t.Fatalf("generated %d of %d, %d blocks still in use", p.s.totals.generated, total, p.s.kv.used())
		}
	})
}

func TestQueueIsFirstInFirstOut(t *testing.T) {
	d := deployed(t, "h100", "plain serve "+testModel+" --max-running 3")
	p := newReplay(d)
	var list []*request
	var want []string
	for i := range 30 {
		r := requestOf(i, 10+i*37%200, 5+i*13%50, p.epoch.Add(time.Duration(i/3)*time.Millisecond))
		list, want = append(list, r), append(want, r.id)
	}
	p.run(t, list, nil)
	if !slices.Equal(p.order, want) {
		t.Errorf("admitted %q", p.order)
	}
}

func TestLongestPrefixFirst(t *testing.T) {
	d := deployed(t, "h100", "plain serve "+testModel+" --max-running 1 --policy lpm")
	p := newReplay(d)
	hashes := func(group, n int) (h []uint64) {
		for i := range n {
			h = append(h, uint64(group*1000+i+1))
		}
		return h
	}
	a := requestOf(0, 170, 3, p.epoch)
	a.hashes = hashes(1, 10)
	other := requestOf(1, 170, 3, p.epoch.Add(time.Millisecond))
	other.hashes = hashes(2, 10)
	same := requestOf(2, 170, 3, p.epoch.Add(2*time.Millisecond))
	same.hashes = hashes(1, 10)
	p.run(t, []*request{a, other, same}, nil)
	if want := []string{"r0000", "r0002", "r0001"}; !slices.Equal(p.order, want) {
		t.Errorf("admitted %q, expected the one with a cached prompt before the other: %q", p.order, want)
	}
	if same.cached != 160 {
		t.Errorf("%d tokens found, expected 160", same.cached)
	}
}

func TestPreemptionWhenTheCacheIsFull(t *testing.T) {
	d := deployed(t, "h100", "plain serve "+testModel+" --max-total 2048 --ctx 1500")
	p := newReplay(d)
	p.run(t, []*request{requestOf(0, 600, 800, p.epoch), requestOf(1, 600, 800, p.epoch)}, nil)
	if p.s.totals.preemptions == 0 {
		t.Error("two requests that outgrow the cache together ran without preemption")
	}
	if !p.done["r0000"].Before(p.done["r0001"]) {
		t.Error("the older request must keep its place")
	}
}

func TestWithoutContinuousBatchingABatchRunsToItsEnd(t *testing.T) {
	d := deployed(t, "h100", "plain serve "+testModel+" --no-cont")
	p := newReplay(d)
	p.run(t, []*request{requestOf(0, 10, 100, p.epoch), requestOf(1, 10, 5, p.epoch.Add(20*time.Millisecond))}, nil)
	if !p.done["r0000"].Before(p.done["r0001"]) {
		t.Error("the second request joined a batch that was already decoding")
	}
}

// stepTime is the cost of a decode step of n sequences with that context each.
func stepTime(d *deployment, n, context int) time.Duration {
	return d.cost(step{decodes: n, decodeContext: n * context})
}

func prefillTime(d *deployment, n int) time.Duration {
	return d.cost(step{prefillTokens: n, prefillPairs: float64(n) * float64(n) / 2})
}

// The model moves in the direction in which the real flags do.
func TestDirections(t *testing.T) {
	const dense, moe = "plain serve meta-llama/Llama-3.1-70B-Instruct", "plain serve Qwen/Qwen3-235B-A22B --ctx 8000"
	h := func(argv string) *deployment { return deployed(t, "h100", argv) }
	for _, c := range []struct {
		name         string
		less, bigger time.Duration
	}{
		{"a batch costs more than one sequence", stepTime(h(dense+" --tp 4"), 1, 1000), stepTime(h(dense+" --tp 4"), 64, 1000)},
		{"a long context costs more", stepTime(h(dense+" --tp 4"), 32, 500), stepTime(h(dense+" --tp 4"), 32, 8000)},
		{"tensor parallelism shortens a prefill", prefillTime(h(dense+" --tp 8"), 4000), prefillTime(h(dense+" --tp 4"), 4000)},
		{"eager steps are slower", stepTime(h(dense+" --tp 8"), 1, 100), stepTime(h(dense+" --tp 8 --eager"), 1, 100)},
		{"a batch above the largest graph is eager", stepTime(h("plain serve "+testModel+" --graph-max 32"), 32, 100), stepTime(h("plain serve "+testModel+" --graph-max 31"), 32, 100)},
		{"without overlap the host is in the way", stepTime(h(dense+" --tp 4"), 64, 100), stepTime(h(dense+" --tp 4 --no-overlap"), 64, 100)},
		{"FP8 weights are read faster", stepTime(h(dense+" --tp 4 --quant fp8"), 8, 100), stepTime(h(dense+" --tp 4"), 8, 100)},
		{"an FP8 cache is read faster", stepTime(h(dense+" --tp 4 --kv-dtype fp8"), 64, 4000), stepTime(h(dense+" --tp 4"), 64, 4000)},
		{"a better decode kernel", stepTime(h(dense+" --tp 4 --attention flashinfer"), 64, 8000), stepTime(h(dense+" --tp 4 --attention triton"), 64, 8000)},
		{"a better prefill kernel", prefillTime(h(dense+" --tp 4 --attention fa3"), 8000), prefillTime(h(dense+" --tp 4 --attention flashinfer"), 8000)},
		{"experts on ranks pay with many tokens", prefillTime(h(moe+" --tp 8 --ep 8"), 8000), prefillTime(h(moe+" --tp 8"), 8000)},
		{"and cost with few", stepTime(h(moe+" --tp 8"), 16, 1000), stepTime(h(moe+" --tp 8 --ep 8"), 16, 1000)},
		{"small passes through the model waste it", prefillTime(h(dense+" --tp 4"), 2048), prefillTime(h(dense+" --tp 4 --ubatch 128"), 2048)},
		{"threads help a CPU engine", prefillTime(h("plain serve "+testModel+" --threads 4"), 500), prefillTime(h("plain serve "+testModel+" --threads 1"), 500)},
		{"flash attention helps", prefillTime(h(dense+" --tp 4"), 8000), prefillTime(h(dense+" --tp 4 --fa off"), 8000)},
		{"a mixture reads fewer weights with few tokens", stepTime(h(moe+" --tp 8"), 1, 100), stepTime(h(moe+" --tp 8"), 64, 100)},
		{"the next generation is faster", stepTime(deployed(t, "b200", dense+" --tp 4"), 16, 1000), stepTime(h(dense+" --tp 4"), 16, 1000)},
	} {
		if c.less >= c.bigger {
			t.Errorf("%s: %v, not less than %v", c.name, c.less, c.bigger)
		}
	}
}

// A roofline: more bandwidth, flops or link speed never makes a step longer, and
// more work never makes it shorter.
func TestCostIsMonotone(t *testing.T) {
	base := deployed(t, "h100", "plain serve meta-llama/Llama-3.1-70B-Instruct --tp 4")
	rapid.Check(t, func(t *rapid.T) {
		d := *base
		st := step{prefillTokens: rapid.IntRange(0, 8192).Draw(t, "prefill"), decodes: rapid.IntRange(1, 512).Draw(t, "decodes")}
		st.prefillPairs = float64(st.prefillTokens) * 1000
		st.decodeContext = st.decodes * rapid.IntRange(1, 8000).Draw(t, "context")
		before := d.cost(st)
		factor := rapid.Float64Range(1, 10).Draw(t, "factor")
		d.gpu.BandwidthGBps *= factor
		if after := d.cost(st); after > before {
			t.Fatalf("bandwidth × %v: %v after %v", factor, after, before)
		}
		d.gpu.FP16TFLOPS *= factor
		d.gpu.LinkGBps *= factor
		if after := d.cost(st); after > before {
			t.Fatalf("everything × %v: %v after %v", factor, after, before)
		}
		more := st
		more.decodes++
		more.decodeContext += 100
		if base.cost(more) < base.cost(st) {
			t.Fatalf("one more sequence: %v after %v", base.cost(more), base.cost(st))
		}
	})
}

// The size of the figures is that of the roofline: a decode step of a dense
// model cannot be faster than reading its weights once.
func TestRooflineBounds(t *testing.T) {
	for gpu, c := range map[string]struct {
		tp         int
		from, upTo time.Duration
	}{"h100": {4, 10 * time.Millisecond, 20 * time.Millisecond}, "h200": {4, 7 * time.Millisecond, 14 * time.Millisecond}, "b200": {4, 4 * time.Millisecond, 10 * time.Millisecond}, "mi300x": {4, 6 * time.Millisecond, 14 * time.Millisecond}} {
		d := deployed(t, gpu, fmt.Sprintf("plain serve meta-llama/Llama-3.1-70B-Instruct --tp %d", c.tp))
		got := stepTime(d, 1, 1000)
		if least := time.Duration(141.2e9 / float64(c.tp) / d.gpu.BandwidthGBps); got < least || got < c.from || got > c.upTo {
			t.Errorf("%s: a decode step takes %v; expected %v to %v and no less than the weights' %v", gpu, got, c.from, c.upTo, least)
		}
	}
}

// A tiny model file on CPU threads has the speed that was measured on a real one.
func TestTinyModelOnCPU(t *testing.T) {
	file := t.TempDir() + "/tiny.gguf"
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := deployed(t, "h100", "plain serve "+file+" --threads 1")
	for n, want := range map[int]time.Duration{1: 600 * time.Microsecond, 2: 1300 * time.Microsecond, 4: 3200 * time.Microsecond, 8: 5700 * time.Microsecond} {
		if got := stepTime(d, n, 100); got < want*6/10 || got > want*2 {
			t.Errorf("%d sequences: a token takes %v, measured %v", n, got, want)
		}
	}
	if got, want := prefillTime(d, 512), 512*time.Second/3795; got < want*6/10 || got > want*2 {
		t.Errorf("a prompt of 512 tokens takes %v, measured %v", got, want)
	}
}

func TestMemoryAtStart(t *testing.T) {
	for _, c := range []struct {
		name, gpu, argv string
		exit            int
		text            string
	}{
		{"weights do not fit", "h100", "plain serve meta-llama/Llama-3.1-70B-Instruct", 1, "model weights"},
		{"nor on a small card", "l40s", "plain serve Qwen/Qwen3-32B", 1, "model weights"},
		{"too large a share", "h100", "plain serve " + testModel + " --mem 0.999", 1, "share of GPU memory"},
		{"too small a share", "h100", "plain serve " + testModel + " --mem 0.2", 5, "no memory is left"},
		{"static share leaves no room for activations", "h100", "plain serve " + testModel + " --mem 0.97 --mem-scope static --batch-tokens 65536", 1, "beside the static share"},
		{"a share of the free memory leaves none for graphs", "h100", "plain serve " + testModel + " --kv-share 0.999 --graph-max 1024 --max-running 1024", 1, "graph capture"},
		{"cache below one request", "h100", "plain serve " + testModel + " --max-total 4096 --ctx 8192", 5, "less than one request"},
		{"too many GPUs", "h100", "plain serve " + testModel + " --tp 8 --pp 2", 2, "larger than the number of available GPUs"},
	} {
		o := options(c.argv)
		o.GPU, o.GPUs = c.gpu, 8
		_, err := New(o)
		var end *Refusal
		if !errors.As(err, &end) || end.Exit != c.exit || !strings.Contains(string(end.Text), c.text) {
			t.Errorf("%s: got %v, expected exit %d with %q", c.name, err, c.exit, c.text)
		}
	}
	small := deployed(t, "h100", "plain serve "+testModel+" --mem 0.5")
	large := deployed(t, "h100", "plain serve "+testModel+" --mem 0.9")
	half := deployed(t, "h100", "plain serve "+testModel+" --mem 0.9 --kv-dtype fp8")
	if small.kvBlocks >= large.kvBlocks || half.kvBlocks < large.kvBlocks*19/10 {
		t.Errorf("KV blocks: %d at 0.5, %d at 0.9, %d at 0.9 in FP8", small.kvBlocks, large.kvBlocks, half.kvBlocks)
	}
	if d := deployed(t, "h100", "plain serve "+testModel+" --ctx 8192 --slots 4"); d.contextLen != 2048 || d.maxRunning != 4 {
		t.Errorf("4 slots share 8192 tokens: %d each, %d run", d.contextLen, d.maxRunning)
	}
	few, many := deployed(t, "h100", "plain serve "+testModel+" --batch-tokens 2048"), deployed(t, "h100", "plain serve "+testModel+" --batch-tokens 32768")
	if few.kvBlocks <= many.kvBlocks {
		t.Error("activations of a larger step must take from the KV cache")
	}
}

func TestModelFigures(t *testing.T) {
	f, err := figures()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range f.models {
		if m.TotalB < m.ActiveB || m.ActiveB <= 0 || m.Layers < m.AttentionLayers || m.AttentionLayers <= 0 || m.Hidden <= 0 || m.KVHeads <= 0 || m.HeadDim+m.KVValues <= 0 || m.Context <= 0 || m.Source == "" || m.Date == "" {
			t.Errorf("model %+v is not whole", m)
		}
	}
	for _, g := range f.gpus {
		if g.MemoryGB <= 0 || g.BandwidthGBps <= 0 || g.FP16TFLOPS <= 0 || g.FP8TFLOPS < g.FP16TFLOPS || g.LinkGBps <= 0 || g.Source == "" || g.Date == "" {
			t.Errorf("GPU %+v is not whole", g)
		}
	}
	file := t.TempDir() + "/m.gguf"
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		total, active float64
		dtype         string
	}{
		{"org/New-8B-Instruct", 8, 8, "bf16"}, {"org/New-30B-A3B-FP8", 30, 3, "fp8"}, {"org/tiny-500m", 0.5, 0.5, "bf16"}, {"org/Big-1T-A32B", 1000, 32, "bf16"},
		{"org/Mini-0.5B-AWQ", 0.5, 0.5, "awq"}, {"/models/Llama-3.1-70B-Instruct", 70.6, 70.6, "bf16"}, {"no-size", 8, 8, "bf16"}, {file, 0.004, 0.004, "fp16"},
		{"deepseek-ai/deepseek-v3", 671, 37, "fp8"},
	} {
		m, err := FindModel(c.name)
		if err != nil || m.TotalB != c.total || m.ActiveB != c.active || m.DType != c.dtype {
			t.Errorf("%s: %v B, %v B active, %s, %v; expected %v, %v, %s", c.name, m.TotalB, m.ActiveB, m.DType, err, c.total, c.active, c.dtype)
		}
	}
}

// measured is what a load met; latencies are medians.
type measured struct {
	ttft, tpot time.Duration
	rate       float64 // output tokens a second
}

// loadInBubble sends n requests of that shape at an even rate to a running
// engine, in a bubble.
func loadInBubble(t *testing.T, argv string, n, in, out int, rate float64) (m measured) {
	t.Helper()
	o := options(argv)
	o.GPU = "h200"
	inBubble(t, o, func(r *rig) {
		var wg sync.WaitGroup
		ttft, tpot := make([]time.Duration, n), make([]time.Duration, n)
		began := time.Now()
		for i := range n {
			wg.Go(func() {
				time.Sleep(time.Duration(float64(i) / rate * 1e9))
				q := requestOf(i, in, out, time.Now())
				ended := make(chan struct{})
				q.sink = func(_ int, _ time.Time, done bool) {
					if done {
						close(ended)
					}
				}
				r.e.submit(q)
				<-ended
				ttft[i] = q.firstToken.Sub(q.arrived)
				tpot[i] = q.lastToken.Sub(q.firstToken) / time.Duration(out-1)
			})
		}
		wg.Wait()
		slices.Sort(ttft)
		slices.Sort(tpot)
		m = measured{ttft[n/2], tpot[n/2], float64(n*out) / time.Since(began).Seconds()}
	})
	return m
}

// A search has a real optimum, and chat and summarisation have different ones:
// over the same settings and within the same limits, prompts of 1000 tokens are
// served best with large prefill chunks, prompts of 8000 with small ones.
func TestBestSettingsDifferByShape(t *testing.T) {
	best := func(in int, rates ...float64) (winner string) {
		top := 0.0
		for _, flags := range []string{"--chunk 512 --max-running 16", "--chunk 512 --max-running 256", "--chunk 8192 --max-running 16", "--chunk 8192 --max-running 256"} {
			for _, rate := range rates {
				m := loadInBubble(t, "plain serve meta-llama/Llama-3.1-70B-Instruct --tp 4 --ctx 12000 "+flags, 120, in, 1000, rate)
				t.Logf("%d in, %s, %v/s: TTFT %v, TPOT %v, %.0f tokens/s", in, flags, rate, m.ttft, m.tpot, m.rate)
				if m.ttft <= 1500*time.Millisecond && m.tpot <= 30*time.Millisecond && m.rate > top {
					winner, top = flags, m.rate
				}
			}
		}
		return winner
	}
	chat := best(1000, 1, 13, 17)
	summary := best(8000, 0.6, 0.74, 0.8)
	if chat != "--chunk 8192 --max-running 256" || summary != "--chunk 512 --max-running 256" {
		t.Errorf("chat is best with %q, summarisation with %q; expected large chunks for one and small ones for the other", chat, summary)
	}
}
